package security

import (
	"crypto/x509"
	"net"
	"sync"
)

// verified are the open connections to peers with a verified certificate. The zero value
// has none.
type verified struct {
	mu      sync.Mutex
	revoked revoked
	conns   map[closer][]*x509.Certificate // the peer's chain
}

// closer is a connection that can be closed because of its certificate.
type closer interface{ revoke() }

// add adds a connection, unless its certificate has been revoked.
func (v *verified) add(c closer, chain []*x509.Certificate) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.revoked.check(chain); err != nil {
		return err
	}
	if v.conns == nil {
		v.conns = make(map[closer][]*x509.Certificate)
	}
	v.conns[c] = chain
	return nil
}

func (v *verified) remove(c closer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

// set replaces the revoked certificates, and closes the connections that have one.
func (v *verified) set(r revoked) {
	v.mu.Lock()
	v.revoked = r
	var ended []closer
	for c, chain := range v.conns {
		if r.check(chain) != nil {
			ended = append(ended, c)
		}
	}
	v.mu.Unlock()
	for _, c := range ended {
		c.revoke()
	}
}

// check returns an error if one of the certificates has been revoked.
func (v *verified) check(chain []*x509.Certificate) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revoked.check(chain)
}

// peers returns the first certificate of each connection.
func (v *verified) peers() []*x509.Certificate {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]*x509.Certificate, 0, len(v.conns))
	for _, chain := range v.conns {
		all = append(all, chain[0])
	}
	return all
}

// netConn returns c, or the first connection below it, that has type T.
func netConn[T net.Conn](c net.Conn) (found T, ok bool) {
	for c != nil {
		if found, ok = c.(T); ok {
			return found, true
		}
		outer, wrapped := c.(interface{ NetConn() net.Conn })
		if !wrapped {
			return found, false
		}
		c = outer.NetConn()
	}
	return found, false
}
