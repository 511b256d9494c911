package bridge_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nkeys"
)

// relay passes connections on to a server, and can keep back what the server sends.
type relay struct {
	address, server string

	mu      sync.Mutex
	changed *sync.Cond
	held    bool
	refused bool
	conns   []net.Conn
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), server: server}
	r.changed = sync.NewCond(&r.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.hold(false)
		r.cut()
		running.Wait()
	})
	return r
}

func (r *relay) pass(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	refused := r.refused
	r.conns = append(r.conns, conn, server)
	r.mu.Unlock()
	if refused {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, conn)
		server.Close()
	})
	both.Go(func() {
		defer conn.Close()
		piece := make([]byte, 32<<10)
		for {
			n, err := server.Read(piece)
			r.mu.Lock()
			for r.held {
				r.changed.Wait()
			}
			r.mu.Unlock()
			if _, writeErr := conn.Write(piece[:n]); err != nil || writeErr != nil {
				return
			}
		}
	})
	both.Wait()
}

// hold begins, or ends, to keep back what the server sends.
func (r *relay) hold(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.changed.Broadcast()
}

// refuse makes new connections end at once.
func (r *relay) refuse(refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = refused
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		conn.Close()
	}
	r.conns = nil
}

// nkey returns the seed of a user, and the public key.
func nkey(t *testing.T) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return string(secret), public
}
