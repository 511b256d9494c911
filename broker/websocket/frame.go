package websocket

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// appendText appends the frame of a text message (RFC 6455, section 5.2). The
// library would write each message with a separate system call, and large
// messages in fragments, which Zeek before 6.0 misreads.
func appendText(b, text []byte, masked bool) []byte {
	start := len(b)
	b = appendTextHeader(b, len(text))
	if !masked {
		return append(b, text...)
	}
	b[start+1] |= bitMask
	var key [64]byte // repeated, to mask many bytes at a time
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	for n := 4; n < len(key); n *= 2 {
		copy(key[n:], key[:n])
	}
	b = append(b, key[:4]...)
	start = len(b)
	b = append(b, text...)
	for rest := b[start:]; len(rest) > 0; {
		n := subtle.XORBytes(rest, rest, key[:])
		rest = rest[n:]
	}
	return b
}

// maxTextHeader is the length of the longest header of a frame that is not masked.
const maxTextHeader = 10

// appendTextHeader appends the header of the frame of a text message with n bytes that
// is not masked.
func appendTextHeader(b []byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, bitFinal|opText, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, bitFinal|opText, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, bitFinal|opText, 127), uint64(n))
	}
}
