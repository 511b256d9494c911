// Package replay is the command that plays one side of a recording to a live
// peer.
package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/zeekwire/zeekwire/broker/recording"
)

// Options are those of the command.
type Options struct {
	As      recording.Side
	Connect string // address of the server, for the client
	Listen  string // address to wait at for the client, for the server

	// Patience is how long the peer may take to go on; how long a client takes
	// to connect does not matter.
	Patience time.Duration
}

// MaxEntries bounds what is read of a recording.
const MaxEntries = 1 << 20

// Run plays one side of a recording and tells on out how it went. That the
// peer says other things than recorded is normal, as long as they are of the
// same kind.
func Run(ctx context.Context, file string, o Options, out io.Writer) error {
	if err := o.Check(); err != nil {
		return err
	}
	entries, err := read(file)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	conn, err := o.connect(ctx, out)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	fmt.Fprintf(out, "replaying the %s of %s to %v\n", o.As, file, conn.RemoteAddr())
	heard, same := 0, 0
	err = recording.NewReplay(entries, o.As).Play(ctx, conn, o.Patience, func(live, recorded recording.Entry) {
		heard++
		if bytes.Equal(live.Data, recorded.Data) {
			same++
		}
	})
	fmt.Fprintf(out, "the peer said %d things, %d of them to the byte as recorded\n", heard, same)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// Check says, in words of the command line, whether the options make sense. Run
// does that, too.
func (o Options) Check() error {
	switch {
	case o.As != recording.Client && o.As != recording.Server:
		return fmt.Errorf("--as %q: want client or server", o.As)
	case o.As == recording.Client && (o.Connect == "" || o.Listen != ""):
		return errors.New("--as client: want --connect HOST:PORT, and no --listen")
	case o.As == recording.Server && (o.Listen == "" || o.Connect != ""):
		return errors.New("--as server: want --listen HOST:PORT, and no --connect")
	case o.Patience <= 0:
		return fmt.Errorf("--timeout %s: want more than 0", o.Patience)
	}
	return nil
}

func (o Options) connect(ctx context.Context, out io.Writer) (net.Conn, error) {
	if o.As == recording.Client {
		dialer := net.Dialer{Timeout: o.Patience}
		return dialer.DialContext(ctx, "tcp", o.Connect)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	fmt.Fprintf(out, "listening at %v\n", l.Addr())
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	conn, err := l.Accept()
	if ctx.Err() != nil {
		if err == nil {
			conn.Close()
		}
		return nil, context.Cause(ctx)
	}
	return conn, err
}

func read(file string) ([]recording.Entry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := recording.NewReader(f, file)
	if err != nil {
		return nil, err
	}
	var entries []recording.Entry
	for {
		e, err := r.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if len(entries) == MaxEntries {
			return nil, fmt.Errorf("%s: more than %d entries", file, MaxEntries)
		}
		entries = append(entries, e)
	}
}
