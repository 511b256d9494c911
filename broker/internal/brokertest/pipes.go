package brokertest

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Pipes is a listener in memory. Its connections come from the addresses that a
// test chooses.
type Pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipes returns a listener without connections.
func NewPipes() *Pipes {
	return &Pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// DialFrom opens a connection that comes from an IP address. It waits until the
// connection is accepted, and returns net.ErrClosed after Close.
func (p *Pipes) DialFrom(from string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))
	accepted := newPipe(theirs, remote)
	select {
	case p.conns <- accepted:
		return newPipe(ours, p.Addr()), nil
	case <-p.closed:
		accepted.Close()
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 254), Port: 1} }

// pipe is an end of a connection. Writes wait in a queue, as in a socket.
type pipe struct {
	net.Conn
	remote net.Addr
	queue  chan []byte
	closed chan struct{}
	once   sync.Once
}

// pipeQueue is the number of writes that wait for the other end.
const pipeQueue = 1024

func newPipe(c net.Conn, remote net.Addr) *pipe {
	p := &pipe{Conn: c, remote: remote, queue: make(chan []byte, pipeQueue), closed: make(chan struct{})}
	go p.send()
	return p
}

// send writes the queue. After Close, it writes what is left for a second.
func (p *pipe) send() {
	defer p.Conn.Close()
	for closed := false; !closed; {
		select {
		case b := <-p.queue:
			if _, err := p.Conn.Write(b); err != nil {
				return
			}
		case <-p.closed:
			closed = true
		}
	}
	for len(p.queue) > 0 {
		if _, err := p.Conn.Write(<-p.queue); err != nil {
			return
		}
	}
}

func (p *pipe) RemoteAddr() net.Addr { return p.remote }

func (p *pipe) Write(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case p.queue <- bytes.Clone(b):
		return len(b), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	select {
	case <-p.closed:
		return n, net.ErrClosed
	default:
		return n, err
	}
}

func (p *pipe) SetDeadline(t time.Time) error {
	select {
	case <-p.closed:
		return net.ErrClosed
	default:
		return p.Conn.SetReadDeadline(t)
	}
}

func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

func (p *pipe) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.Conn.SetReadDeadline(time.Unix(1, 0))
		p.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	})
	return nil
}
