package peering

import (
	"net"
	"os"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// tap is a connection that keeps the first bytes read, to recognize other
// protocols, and counts reads, to detect idle peers. Its errors contain no
// addresses.
type tap struct {
	net.Conn
	head  [wire.SniffLen]byte
	n     int           // bytes of head
	reads atomic.Uint64 // calls of Read that returned data
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if n > 0 {
		t.reads.Add(1)
		if t.n < len(t.head) {
			t.n += copy(t.head[t.n:], b[:n])
		}
	}
	return n, reason(err)
}

func (t *tap) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	return n, reason(err)
}

// first returns the first bytes read. Only the reading goroutine may call it.
func (t *tap) first() []byte { return t.head[:t.n] }

// reason removes the addresses from an error of a network connection. The log
// has them elsewhere, and without ports it can recognize repeated errors.
func reason(err error) error {
	op, ok := err.(*net.OpError) //nolint:errorlint // an error around it has text of its own
	if !ok || op.Addr == nil {
		return err
	}
	if call, ok := op.Err.(*os.SyscallError); ok { //nolint:errorlint // see above
		return call.Err
	}
	return op.Err
}
