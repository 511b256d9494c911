package peering

import (
	"net"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// tap is a connection that remembers how its stream began and counts what is
// read, to tell strangers and the dead.
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
	return n, err
}

// first returns what has been read of the first bytes. Only who reads may call
// it.
func (t *tap) first() []byte { return t.head[:t.n] }
