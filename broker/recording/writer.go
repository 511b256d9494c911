package recording

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf16"
)

// Writer writes a recording. It may be used concurrently. A write error ends
// the recording, and need not end the recorded connection.
type Writer struct {
	mu       sync.Mutex
	out      *bufio.Writer
	protocol Protocol
	start    time.Time
	line     []byte
	err      error
}

// NewWriter returns a Writer to w and writes the first line. Times are
// relative to this call. The caller must call Flush and then close w.
func NewWriter(w io.Writer, c Connection) (*Writer, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	wr := &Writer{out: bufio.NewWriter(w), protocol: c.Protocol, start: time.Now()}
	b := appendText([]byte(`{"connection": {"name": `), c.Name)
	b = fmt.Appendf(b, `, "protocol": "%s", "server_port": %d`, c.Protocol, c.ServerPort)
	if c.Client.IsValid() {
		b = appendText(append(b, `, "client": `...), c.Client.String())
	}
	if c.Server.IsValid() {
		b = appendText(append(b, `, "server": `...), c.Server.String())
	}
	b = append(b, "}}\n"...)
	return wr, wr.write(b)
}

// Record writes an entry with the current time. It returns the errors of
// Write.
func (w *Writer) Record(from Side, kind Kind, data []byte) error {
	return w.add(Entry{From: from, Kind: kind, Data: data}, true)
}

// Write writes an entry. It does not keep the entry's data. If the entry is
// not valid in a recording, nothing is written and the error wraps ErrFormat.
// Any other error ends the recording: Write returns it once, Flush returns it
// as well, and later entries are dropped.
func (w *Writer) Write(e Entry) error { return w.add(e, false) }

func (w *Writer) add(e Entry, now bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil
	}
	if now {
		// The time is taken with the lock held, so that times of entries
		// ascend.
		e.T = At(time.Since(w.start))
	}
	if err := e.check(w.protocol); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	b := append(append(w.line[:0], `{"t": `...), e.T...)
	b = append(append(b, `, "from": "`...), e.From...)
	b = append(append(b, `", "kind": "`...), e.Kind...)
	if e.Kind == KindHTTP {
		b = appendText(append(b, `", "text": `...), latin1(e.Data))
	} else {
		b = hex.AppendEncode(append(b, `", "hex": "`...), e.Data)
		b = append(b, '"')
	}
	b = append(b, "}\n"...)
	if w.line = b; cap(b) > keepLine {
		w.line = nil
	}
	return w.write(b)
}

// keepLine is the maximum size of a line whose memory is kept for reuse, in
// bytes.
const keepLine = 1 << 20

func (w *Writer) write(b []byte) error {
	if _, err := w.out.Write(b); err != nil {
		w.err = fmt.Errorf("recording: %w", err)
	}
	return w.err
}

// Flush writes all buffered data to the underlying writer. It returns the
// error that ended the recording, if any.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Flush(); err != nil { // even if an earlier write failed
		w.err = fmt.Errorf("recording: %w", err)
	}
	return w.err
}

// latin1 returns a string with one character for each byte of b.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// appendText appends s as a JSON string that contains only ASCII characters.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r >= ' ' && r <= '~':
			b = append(b, byte(r))
		case r > 0xFFFF:
			hi, lo := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
