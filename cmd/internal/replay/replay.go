// Package replay implements zeekwire's command replay. It replays one side of a
// recording to a live peer.
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
	"github.com/zeekwire/zeekwire/cmd/internal/listening"
)

// Options are the options of the command.
type Options struct {
	As      recording.Side // the side to replay
	Connect string         // address of the server, if As is the client
	Listen  string         // address to listen at for the client, if As is the server

	// Patience limits the time until the peer sends its next frame, and the time
	// to connect to a server. Waiting for a client to connect has no limit.
	Patience time.Duration
}

// Limits of a recording, which is held in memory.
const (
	MaxEntries = 1 << 20
	MaxBytes   = 1 << 30 // data of all entries
)

// Run replays one side of a recording and writes a summary to out. The peer's
// messages may differ from the recorded ones if they are of the same kind.
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
	received, same := 0, 0
	err = recording.NewReplay(entries, o.As).Play(ctx, conn, o.Patience, func(live, recorded recording.Entry) {
		received++
		if bytes.Equal(live.Data, recorded.Data) {
			same++
		}
	})
	fmt.Fprintf(out, "received %d frames from the peer, %d of them identical to the recorded frames\n", received, same)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// Check returns an error if the options are invalid. The error names the flags
// of the command. Run calls Check.
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

// connect connects to the server, or waits for the client.
func (o Options) connect(ctx context.Context, out io.Writer) (net.Conn, error) {
	if o.As == recording.Client {
		dialer := net.Dialer{Timeout: o.Patience}
		return dialer.DialContext(ctx, "tcp", o.Connect)
	}
	l, err := listening.Purpose{For: "the client", Flag: "--listen"}.Listen(ctx, o.Listen)
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
	size := 0
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
		if size += len(e.Data); size > MaxBytes {
			return nil, fmt.Errorf("%s: more than %d bytes", file, MaxBytes)
		}
		entries = append(entries, e)
	}
}
