// Package record implements zeekwire's command record. It forwards connections
// between two peers and records their traffic.
package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/recording"
)

// Limits of connections.
const (
	MaxConnections = 256 // at the same time; further connections wait to be accepted
	connectTimeout = 10 * time.Second
)

// maxNumber limits the search for an unused file name.
const maxNumber = 1 << 20

// Options configure the recording of connections to one address.
type Options struct {
	Connect string // address of the server
	Output  string // a directory, or a file whose name ends with .jsonl

	// Name is the name of the connections in their recordings. In a directory, it
	// is also the first part of the file names. The default is DefaultName.
	Name string

	// Start is the time that times in the recordings are relative to. If zero,
	// times are relative to the start of each connection.
	Start time.Time
}

// DefaultName is the default of Options.Name.
const DefaultName = "recording"

// extension is the extension of the file names of recordings.
const extension = ".jsonl"

// Run accepts connections at l, forwards and records them until ctx ends. It
// returns nil then. It closes l and all open connections. It writes to log the
// file name of each connection, and errors of recording.
func Run(ctx context.Context, l net.Listener, o Options, log io.Writer) error {
	defer l.Close()
	o.Name = cmp.Or(o.Name, DefaultName)
	p := &proxy{options: o, log: log}
	if strings.ContainsAny(o.Name, `/\`) {
		return fmt.Errorf("record: name %q contains a slash", o.Name)
	}
	if err := prepareOutput(o.Output); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	free := make(chan struct{}, MaxConnections)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		client, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				client.Close()
			}
			return nil
		case err != nil:
			return fmt.Errorf("record: %w", err)
		}
		connections.Go(func() {
			defer func() { <-free }()
			defer client.Close()
			if err := p.serve(ctx, client); err != nil && ctx.Err() == nil {
				p.report("%v: %v", client.RemoteAddr(), err)
			}
		})
	}
}

// prepareOutput creates the directory of recordings, or checks that the one of the first
// file exists, so that the error does not come with the first connection.
func prepareOutput(output string) error {
	if !strings.HasSuffix(output, extension) {
		return os.MkdirAll(output, 0o777)
	}
	dir := filepath.Dir(output)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	return err
}

type proxy struct {
	options Options

	mu  sync.Mutex
	log io.Writer
}

func (p *proxy) report(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.log, "record: "+format+"\n", args...)
}

// serve forwards and records one connection.
func (p *proxy) serve(ctx context.Context, client net.Conn) error {
	dialer := net.Dialer{Timeout: connectTimeout}
	server, err := dialer.DialContext(ctx, "tcp", p.options.Connect)
	if err != nil {
		return err
	}
	defer server.Close()
	out, err := p.create()
	if err != nil {
		return err
	}
	c := recording.Connection{Name: p.options.Name}
	c.Client, c.Server = address(client.RemoteAddr()), address(server.RemoteAddr())
	c.ServerPort = c.Server.Port()
	start := p.options.Start
	if start.IsZero() {
		start = time.Now()
	}
	recorder := recording.NewRecorder(out, c, start, func(err error) {
		p.report("%s: %s", out.Name(), strings.TrimPrefix(err.Error(), "recording: "))
	})
	p.report("%v -> %v to %s", client.RemoteAddr(), server.RemoteAddr(), out.Name())

	stop := context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { forward(recorder, recording.Client, client, server) })
	both.Go(func() { forward(recorder, recording.Server, server, client) })
	both.Wait()
	recorder.Close()
	if recorder.Protocol() == "" {
		p.report("%s: nothing to record", out.Name())
		return os.Remove(out.Name())
	}
	return nil
}

// address returns the address of one end of a TCP connection.
func address(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// forward copies one direction until it ends. The end of one direction is
// forwarded as such; an error closes both directions.
func forward(r *recording.Recorder, from recording.Side, src, dst net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, readErr := src.Read(buf)
		r.Write(from, buf[:n])
		_, writeErr := dst.Write(buf[:n])
		switch {
		case readErr == io.EOF && writeErr == nil:
			r.CloseSide(from)
			if half, ok := dst.(*net.TCPConn); ok {
				half.CloseWrite()
			}
			return
		case readErr != nil || writeErr != nil:
			src.Close()
			dst.Close()
			return
		}
	}
}

// create creates the first file of the sequence that does not exist.
func (p *proxy) create() (*os.File, error) {
	for i := range maxNumber {
		f, err := os.OpenFile(p.fileName(i+1), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("all files from %s to %s exist", p.fileName(1), p.fileName(maxNumber))
}

// fileName returns the name of the nth file. Numbers begin at 1. If Output is
// the name of a file, it is the name of the first file.
func (p *proxy) fileName(n int) string {
	if base, ok := strings.CutSuffix(p.options.Output, extension); ok {
		if n == 1 {
			return p.options.Output
		}
		return fmt.Sprintf("%s-%02d%s", base, n, extension)
	}
	return filepath.Join(p.options.Output, fmt.Sprintf("%s-%02d%s", p.options.Name, n, extension))
}
