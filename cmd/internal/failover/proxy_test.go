package failover

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gates let the bytes of connections pass, in one direction or both, or hold them, as a
// network does that loses all packets: the bytes arrive when it works again.
type gates struct {
	mu       sync.Mutex
	toServer chan struct{} // closed while bytes pass
	toClient chan struct{}
}

func newGates() *gates { return &gates{toServer: open(), toClient: open()} }

// open returns a gate that lets bytes pass.
func open() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// hold stops the bytes in the given directions.
func (g *gates) hold(toServer, toClient bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if toServer && passes(g.toServer) {
		g.toServer = make(chan struct{})
	}
	if toClient && passes(g.toClient) {
		g.toClient = make(chan struct{})
	}
}

// release lets all bytes pass, also those that were held.
func (g *gates) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gate := range []chan struct{}{g.toServer, g.toClient} {
		if !passes(gate) {
			close(gate)
		}
	}
}

func passes(gate chan struct{}) bool {
	select {
	case <-gate:
		return true
	default:
		return false
	}
}

// gate returns the present gate of a direction.
func (g *gates) gate(toServer bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if toServer {
		return g.toServer
	}
	return g.toClient
}

// proxy forwards connections to a server, through gates.
type proxy struct {
	*gates
	target   string
	listener net.Listener

	// route, if non-nil, returns the gates of a connection on which a client sends these
	// bytes, nil if they do not decide it.
	route func(sent []byte) *gates

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	group  sync.WaitGroup
}

// newProxy starts a proxy that ends with the test.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	return newProxyWith(t, target, nil)
}

func newProxyWith(t *testing.T, target string, route func([]byte) *gates) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{gates: newGates(), target: target, listener: l, route: route, conns: make(map[net.Conn]bool)}
	p.group.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// drop ends all connections, and loses the bytes that are held.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.release()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.group.Wait()
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && p.add(c) {
			p.group.Go(func() { p.serve(c) })
		}
	}
}

// add takes note of a connection. It returns false if the proxy is closed.
func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) remove(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve(client net.Conn) {
	defer p.remove(client)
	<-p.gate(true)
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !p.add(server) {
		return
	}
	defer p.remove(server)
	l := link{client: client, server: server, route: p.route}
	l.gates.Store(p.gates)
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, true) })
	both.Go(func() { l.copy(client, server, false) })
	both.Wait()
}

// link is a connection through a proxy.
type link struct {
	client, server net.Conn
	gates          atomic.Pointer[gates]
	route          func(sent []byte) *gates // nil: the gates are known
}

// copy forwards the bytes of one direction. It ends both connections.
func (l *link) copy(to, from net.Conn, toServer bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if toServer && l.route != nil {
			if g := l.route(buf[:n]); g != nil {
				l.gates.Store(g)
				l.route = nil
			}
		}
		<-l.gates.Load().gate(toServer)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A proxy holds bytes in one direction, and delivers them later.
func TestProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	p := newProxy(t, l.Addr().String())
	c, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	received := make(chan string)
	go func() {
		defer close(received)
		buf := make([]byte, 1)
		for {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			received <- string(buf)
		}
	}()
	io.WriteString(c, "a")
	if got := <-received; got != "a" {
		t.Fatalf("received %q", got)
	}
	for _, hold := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		p.hold(hold[0], hold[1])
		io.WriteString(c, "b")
		select {
		case got := <-received:
			t.Errorf("received %q while the bytes are held", got)
		case <-time.After(20 * time.Millisecond):
		}
		p.release()
		if got := <-received; got != "b" {
			t.Errorf("received %q", got)
		}
	}
	p.drop()
	if got, open := <-received; open {
		t.Errorf("received %q from a connection that was dropped", got)
	}
}
