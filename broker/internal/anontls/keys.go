package anontls

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

const (
	masterLen   = 48
	macKeyLen   = 20
	keyLen      = 32
	finishedLen = 12
	scalarLen   = 48       // a private key on secp384r1
	pointLen    = 1 + 2*48 // an uncompressed point on secp384r1
)

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

// newPrivateKey returns a key generated from random. It does not use
// ecdh.Curve.GenerateKey, which ignores its reader, because replaying recorded
// handshakes requires the recorded keys.
func newPrivateKey(random io.Reader) (*ecdh.PrivateKey, error) {
	var scalar [scalarLen]byte
	// About one in 2^190 random scalars is out of range.
	for range 4 {
		if _, err := io.ReadFull(random, scalar[:]); err != nil {
			return nil, err
		}
		if key, err := ecdh.P384().NewPrivateKey(scalar[:]); err == nil {
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
