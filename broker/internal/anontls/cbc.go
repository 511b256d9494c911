package anontls

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
)

// This file opens MAC-then-encrypt records. The length of the padding is
// secret until the MAC has been checked. If an alert or the response time
// showed whether the padding or the MAC was wrong, a peer could decrypt
// records byte by byte (Vaudenay 2002, "Lucky Thirteen" 2013). So the code
// below accesses the same bytes and hashes the same number of blocks for every
// padding that a record of the given length could have.

// maxPadding is the maximum length of the padding, including its length byte.
const maxPadding = 256

// paddingLen returns the number of padding bytes in plain, including the
// length byte, and good = 1 if the padding is well-formed. Otherwise good is 0
// and n is the length of an empty padding, so that the MAC is computed over
// the maximum of data, and does not match. len(plain) is public and must be
// greater than macLen.
func paddingLen(plain []byte, macLen int) (n, good int) {
	last := len(plain) - 1
	pad := int(plain[last])
	good = subtle.ConstantTimeLessOrEq(pad+1+macLen, len(plain))
	for i := range min(maxPadding, len(plain)) {
		inPadding := subtle.ConstantTimeLessOrEq(i, pad)
		same := subtle.ConstantTimeByteEq(plain[last-i], byte(pad))
		good &= same | (inPadding ^ 1)
	}
	return subtle.ConstantTimeSelect(good, pad, 0) + 1, good
}

// extractMAC copies the sha1.Size bytes at the secret offset start to out. The
// offset must be one of the last maxPadding possible ones.
func extractMAC(out *[sha1.Size]byte, plain []byte, start int) {
	// Collect the bytes in a ring and rotate it afterwards. Indexing with
	// start would reveal it through the cache.
	first := max(0, len(plain)-sha1.Size-maxPadding)
	var ring [sha1.Size]byte
	turn, at := 0, 0
	for i := first; i < len(plain); i++ {
		isStart := subtle.ConstantTimeEq(int32(i), int32(start))
		in := subtle.ConstantTimeLessOrEq(start, i) & subtle.ConstantTimeLessOrEq(i, start+sha1.Size-1)
		turn = subtle.ConstantTimeSelect(isStart, at, turn)
		ring[at] |= plain[i] & byte(-in)
		if at++; at == len(ring) {
			at = 0
		}
	}
	for i := range out {
		out[i] = 0
		for j := range ring {
			// turn+i is less than twice the size of the ring.
			isIt := subtle.ConstantTimeEq(int32(turn+i), int32(j)) |
				subtle.ConstantTimeEq(int32(turn+i), int32(j+len(ring)))
			out[i] |= ring[j] & byte(-isIt)
		}
	}
}

// secretLenMAC computes HMAC-SHA1 over data whose length is secret.
type secretLenMAC struct {
	inner, outer [sha1.BlockSize]byte // initial blocks of the two hashes, derived from the key
	hash         sha1State

	// Scratch space.
	state             []byte
	digest, want, got [sha1.Size]byte
}

// sha1State is the documented interface of the result of sha1.New. A marshaled
// state is a magic of sha1MagicLen bytes followed by the five words of the
// hash.
type sha1State interface {
	hash.Hash
	encoding.BinaryAppender
}

const sha1MagicLen = 4

func newSecretLenMAC(key []byte) *secretLenMAC {
	m := &secretLenMAC{hash: sha1.New().(sha1State)}
	copy(m.inner[:], key)
	copy(m.outer[:], key)
	for i := range m.inner {
		m.inner[i] ^= 0x36
		m.outer[i] ^= 0x5c
	}
	return m
}

// sum writes the MAC over header and data[:n] to out. The value of n is
// secret. len(data) is public, and so is the fact that n is not smaller than
// least.
func (m *secretLenMAC) sum(out *[sha1.Size]byte, header, data []byte, n, least int) {
	const size = sha1.BlockSize
	length := len(header) + n // secret
	longest := len(header) + len(data)

	m.hash.Reset()
	m.hash.Write(m.inner[:])

	// Blocks that contain data for every possible n are hashed normally.
	whole := (len(header) + least) / size
	var block [size]byte
	at := func(i int) byte {
		switch {
		case i < len(header):
			return header[i]
		case i < longest:
			return data[i-len(header)]
		}
		return 0
	}
	if whole > 0 {
		k := size - len(header)
		copy(block[copy(block[:], header):], data[:k])
		m.hash.Write(block[:])
		m.hash.Write(data[k : whole*size-len(header)])
	}

	// The remaining bytes are computed one by one, with SHA-1's own padding at
	// the end of the data. All possible blocks are hashed; the digest is the
	// state after the block in which the padding ends.
	final := (length + 8) / size
	var bits [8]byte
	binary.BigEndian.PutUint64(bits[:], uint64(size+length)*8)
	for b := whole; b <= (longest+8)/size; b++ {
		isFinal := subtle.ConstantTimeEq(int32(b), int32(final))
		for j := range block {
			i := b*size + j
			isData := subtle.ConstantTimeLessOrEq(i+1, length)
			isEnd := subtle.ConstantTimeEq(int32(i), int32(length))
			block[j] = at(i)&byte(-isData) | 0x80&byte(-isEnd)
			if k := j - (size - len(bits)); k >= 0 {
				block[j] |= bits[k] & byte(-isFinal)
			}
		}
		m.hash.Write(block[:])
		m.state, _ = m.hash.AppendBinary(m.state[:0])
		subtle.ConstantTimeCopy(isFinal, m.digest[:], m.state[sha1MagicLen:sha1MagicLen+sha1.Size])
	}

	m.hash.Reset()
	m.hash.Write(m.outer[:])
	m.hash.Write(m.digest[:])
	m.hash.Sum(out[:0])
}

// open checks the padding and the MAC at the end of a decrypted record, and
// returns the data. It writes the length of the data to the end of header; the
// length is secret until the check succeeds. len(plain) is public and must be
// greater than sha1.Size.
func (m *secretLenMAC) open(header *[macHeaderLen]byte, plain []byte) ([]byte, bool) {
	padding, good := paddingLen(plain, sha1.Size)
	n := len(plain) - padding - sha1.Size
	header[macHeaderLen-2] = byte(n >> 8)
	header[macHeaderLen-1] = byte(n)

	// The data is longest if the padding is empty.
	data := plain[:len(plain)-1-sha1.Size]
	least := max(0, len(plain)-maxPadding-sha1.Size)
	m.sum(&m.want, header[:], data, n, least)
	extractMAC(&m.got, plain, n)
	good &= subtle.ConstantTimeCompare(m.want[:], m.got[:])
	if good != 1 {
		return nil, false
	}
	return plain[:n], true
}
