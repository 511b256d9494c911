// Package decode implements zeekwire's command decode. It shows the contents of
// recordings and captures, and checks that decoding and encoding reproduces
// them.
package decode

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/recording/pcap"
)

// Options are the options of the command.
type Options struct {
	// Check compares every frame with its encoding after it was decoded. Without
	// JSON, only differences and a summary are printed.
	Check bool

	// JSON prints one JSON object per frame.
	JSON bool
}

// ErrProblems is wrapped by the error of Run if a file has problems. Run has
// printed them.
var ErrProblems = errors.New("problems found")

// Stdin is the file name that stands for standard input.
const Stdin = "-"

// Run decodes files. Frames and the summary of a check are written to out,
// problems to errOut. With JSON the summary is written to errOut as well.
func Run(files []string, stdin io.Reader, out, errOut io.Writer, o Options) error {
	buffered := bufio.NewWriter(out)
	r := &run{options: o, out: buffered, json: json.NewEncoder(buffered), errOut: errOut}
	r.json.SetEscapeHTML(false)
	for _, name := range files {
		if err := r.file(name, stdin); err != nil {
			r.problem("%v", err)
		}
		if r.outErr != nil {
			return fmt.Errorf("decode: %w", r.outErr)
		}
	}
	if o.Check {
		summary := io.Writer(r.out)
		if o.JSON {
			summary = errOut
		}
		fmt.Fprintln(summary, r.summary())
	}
	if err := r.flush(); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if r.problems > 0 {
		return fmt.Errorf("decode: %w: %d", ErrProblems, r.problems)
	}
	return nil
}

type run struct {
	options Options
	out     *bufio.Writer
	json    *json.Encoder // writes to out
	outErr  error         // first error of out
	errOut  io.Writer
	printed bool

	files, frames, equal, different, problems int
}

// problem prints a problem, after the output that precedes it.
func (r *run) problem(format string, args ...any) {
	r.problems++
	r.flush()
	fmt.Fprintln(r.errOut, strings.TrimPrefix(fmt.Sprintf(format, args...), "recording: "))
}

func (r *run) flush() error {
	if err := r.out.Flush(); r.outErr == nil {
		r.outErr = err
	}
	return r.outErr
}

// file decodes one file, a recording or a capture. The returned error concerns
// the file as a whole.
func (r *run) file(name string, stdin io.Reader) error {
	r.files++
	in := stdin
	if name == Stdin {
		name = "stdin"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	start := bufio.NewReader(in)
	if first, _ := start.Peek(pcap.MagicLen); pcap.IsCapture(first) {
		return r.capture(name, start)
	}
	return r.recording(name, start)
}

func (r *run) recording(name string, in io.Reader) error {
	rd, err := recording.NewReader(in, name)
	if err != nil {
		return err
	}
	c := &conversation{file: name, conn: rd.Connection()}
	r.header(c)
	for r.outErr == nil {
		e, err := rd.Next()
		if err == io.EOF {
			return nil
		}
		var bad *recording.LineError
		if errors.As(err, &bad) {
			r.problem("%v", err)
			continue
		}
		if err != nil {
			return err
		}
		c.line = rd.Line()
		r.frame(c.frame(e), fmt.Sprintf("%s:%d", name, c.line))
	}
	return nil
}

func (r *run) capture(name string, in io.Reader) error {
	conversations, err := pcap.Read(in)
	for _, v := range conversations {
		c := &conversation{file: name, conn: v.Connection}
		switch {
		case len(v.Entries) == 0 && v.Err != nil:
			// Captures may contain any other traffic.
			fmt.Fprintf(r.errOut, "%s: %s: skipped: %v\n", name, v.Connection.Name, v.Err)
			continue
		case len(v.Entries) == 0:
			continue
		}
		r.header(c)
		for _, e := range v.Entries {
			c.line++
			r.frame(c.frame(e), fmt.Sprintf("%s: %s: frame %d", name, v.Connection.Name, c.line))
		}
		if v.Err != nil {
			r.problem("%s: %s: %v", name, v.Connection.Name, v.Err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// header prints the connection of the following lines.
func (r *run) header(c *conversation) {
	if r.options.Check || r.options.JSON {
		return
	}
	if r.printed {
		fmt.Fprintln(r.out)
	}
	r.printed = true
	fmt.Fprintf(r.out, "%s: %s (%s, server port %d)\n", printable(c.file), printable(c.conn.Name), c.conn.Protocol, c.conn.ServerPort)
}

func (r *run) frame(f Frame, where string) {
	r.frames++
	if f.What == whatMalformed {
		r.problem("%s: %s", where, printable(f.broken.Error()))
	}
	if r.options.Check {
		switch f.Check {
		case VerdictEqual:
			r.equal++
		case VerdictDifferent:
			r.different++
			r.problem("%s: %s", where, f.mismatch)
		}
	} else {
		f.Check = ""
	}
	switch {
	case r.options.JSON:
		if err := r.json.Encode(f); err != nil && r.outErr == nil {
			r.outErr = err
		}
	case !r.options.Check:
		r.out.WriteString(f.String())
		r.out.WriteByte('\n')
	}
}

func (r *run) summary() string {
	s := count(r.files, "file") + ", " + count(r.frames, "frame")
	switch {
	case r.problems > 0:
		s += ", " + count(r.problems, "problem")
	case r.equal > 0:
		s += fmt.Sprintf(": %d identical, %d equal but spelled differently", r.frames-r.equal, r.equal)
	default:
		s += ", all identical"
	}
	return s
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
