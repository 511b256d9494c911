package admission

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/internal/backoff"
)

// Listener returns a listener whose Accept returns the connections that the Gate
// admits. Each is a *Conn, whose Close gives its place back.
//
// Accept returns an error only if the listener is closed. Other errors pass, such
// as that of a process that is out of file descriptors: Accept then closes an
// arriving or anonymous connection, and tries again after a pause.
func (g *Gate) Listener(l net.Listener) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &listener{Listener: l, gate: g, ctx: ctx, cancel: cancel}
}

type listener struct {
	net.Listener
	gate   *Gate
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

func (l *listener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

func (l *listener) Accept() (net.Conn, error) {
	retry := backoff.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			closed := l.gate.shed()
			l.gate.notices.Warn("accept").Err(err).Stringer("at", l.Addr()).Bool("closed-another", closed).Msg("cannot accept a connection, trying again")
			if !retry.Wait(l.ctx, nil) {
				return nil, net.ErrClosed
			}
			continue
		}
		retry.Reset()
		conn := &Conn{Conn: c}
		if conn.ticket, err = l.gate.Arrive(c.RemoteAddr(), func() { c.Close() }); err != nil {
			c.Close()
			continue
		}
		return conn, nil
	}
}

// Conn is a connection that a Listener of a Gate has accepted. Reading from it
// counts as activity until it is established.
type Conn struct {
	net.Conn
	ticket *Ticket
	spoken sync.Once
}

// Ticket returns the place of the connection.
func (c *Conn) Ticket() *Ticket { return c.ticket }

// NetConn returns the connection that the underlying listener has accepted.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.spoken.Do(c.ticket.Touch)
	}
	return n, err
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.ticket.Leave()
	return c.Conn.Close()
}

// TicketOf returns the ticket of a connection that was accepted by a Listener of a
// Gate, possibly with TLS on top, or nil.
func TicketOf(c net.Conn) *Ticket {
	for c != nil {
		if admitted, ok := c.(*Conn); ok {
			return admitted.ticket
		}
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = outer.NetConn()
	}
	return nil
}

// Track moves a connection of an HTTP server, whose listener is a Listener, through the
// stages of admission. The connection is established with the headers of its first
// request. It is for the field ConnState of http.Server.
func Track(c net.Conn, state http.ConnState) {
	ticket := TicketOf(c)
	if state != http.StateActive {
		return
	}
	ticket.Touch() // not after Establish, which others may delay: the connection would seem younger
	if ticket.Establish("") != nil {
		c.Close()
	}
}
