package peering

import (
	"net"
	"os"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// tap is a connection that remembers how its stream began and counts what is
// read, to tell strangers and the dead. Its errors are without addresses.
type tap struct {
	net.Conn
	head  [wire.SniffLen]byte
	n     int           // bytes of head
	reads atomic.Uint64 // calls of Read that returned something
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

// first returns what has been read of the first bytes. Only who reads may call
// it.
func (t *tap) first() []byte { return t.head[:t.n] }

// reason reduces an error of a network connection to what happened. The
// addresses are known, and without the ports the log can tell whether an error
// is news.
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
