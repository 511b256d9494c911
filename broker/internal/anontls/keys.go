package anontls

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
)

const (
	masterLen   = 48
	macKeyLen   = 20
	keyLen      = 32
	finishedLen = 12
)

// group is a group of points for the exchange of keys (RFC 8422).
type group struct {
	id        uint16
	name      string
	curve     ecdh.Curve
	scalarLen int // of a private key
}

var (
	x25519    = &group{29, "x25519", ecdh.X25519(), 32}
	secp384r1 = &group{24, "secp384r1", ecdh.P384(), 48}
)

// groups returns the groups that an end supports, the preferred one first. The
// keys of x25519 take a fraction of the time of those of secp384r1, the only group
// of Broker.
func (c config) groups() []*group {
	if c.noX25519 {
		return []*group{secp384r1}
	}
	return []*group{x25519, secp384r1}
}

// groupFor returns the group for the client, or nil if there is none in common.
func (c config) groupFor(hello *clientHello) *group {
	if hello.groups == nil {
		return secp384r1 // the client leaves the choice to the server
	}
	return find(c.groups(), hello.groups...)
}

// find returns the first group with one of the IDs, or nil if there is none.
func find(groups []*group, ids ...uint16) *group {
	for _, g := range groups {
		if slices.Contains(ids, g.id) {
			return g
		}
	}
	return nil
}

// prf is the pseudo-random function of TLS 1.2 with SHA-256 (RFC 5246,
// section 5). It returns n bytes.
func prf(secret []byte, label string, seed []byte, n int) []byte {
	mac := hmac.New(sha256.New, secret)
	labelled := append([]byte(label), seed...)
	var out []byte
	a := labelled
	for len(out) < n {
		mac.Reset()
		mac.Write(a)
		a = mac.Sum(nil)
		mac.Reset()
		mac.Write(a)
		mac.Write(labelled)
		out = mac.Sum(out)
	}
	return out[:n]
}

// newKey returns a key of the group generated from random. It does not use
// ecdh.Curve.GenerateKey, which ignores its reader, because replaying recorded
// handshakes requires the recorded keys.
func (g *group) newKey(random io.Reader) (*ecdh.PrivateKey, error) {
	scalar := make([]byte, g.scalarLen)
	// About one in 2^190 random scalars of secp384r1 is out of range, and none of x25519.
	for range 4 {
		if _, err := io.ReadFull(random, scalar); err != nil {
			return nil, err
		}
		if key, err := g.curve.NewPrivateKey(scalar); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("anontls: the random source does not produce a private key")
}

// directionKeys holds the keys of one direction.
type directionKeys struct {
	mac, cipher []byte
}

// expand derives the keys of both directions from the master secret.
func expand(master, clientRandom, serverRandom []byte) (client, server directionKeys) {
	seed := append(append([]byte(nil), serverRandom...), clientRandom...)
	block := prf(master, "key expansion", seed, 2*macKeyLen+2*keyLen)
	take := func(n int) []byte {
		var b []byte
		b, block = block[:n], block[n:]
		return b
	}
	client.mac, server.mac = take(macKeyLen), take(macKeyLen)
	client.cipher, server.cipher = take(keyLen), take(keyLen)
	return client, server
}

// transcript is the running hash of all handshake messages.
type transcript struct{ hash.Hash }

func newTranscript() transcript { return transcript{sha256.New()} }

// finished returns the content of the Finished message that follows the hashed
// messages.
func (t transcript) finished(master []byte, fromClient bool) []byte {
	label := "server finished"
	if fromClient {
		label = "client finished"
	}
	return prf(master, label, t.Sum(nil), finishedLen)
}
