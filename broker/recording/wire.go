package recording

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// AppendWire appends the wire form of e to b and returns the result: a native
// frame with its length, an HTTP head unchanged, or an unfragmented WebSocket
// frame. The frame is masked if e.From is Client.
func (e Entry) AppendWire(b []byte) []byte {
	switch e.Kind {
	case KindFrame:
		return wire.AppendFrame(b, e.Data)
	case KindHTTP:
		return append(b, e.Data...)
	}
	for op, kind := range opKinds {
		if kind == e.Kind {
			b = append(b, bitFin|byte(op))
		}
	}
	masked := byte(0)
	if e.From == Client {
		masked = bitMasked
	}
	switch n := len(e.Data); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if masked == 0 {
		return append(b, e.Data...)
	}
	// The mask is zero. Masking only protects proxies from scripts in
	// browsers.
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32())
	b = append(b, mask[:]...)
	for i, c := range e.Data {
		b = append(b, c^mask[i%4])
	}
	return b
}

// wireLen returns the length of the result of AppendWire.
func (e Entry) wireLen() int {
	n := len(e.Data)
	switch {
	case e.Kind == KindFrame:
		return 4 + n
	case e.Kind == KindHTTP:
		return n
	}
	header := 2
	if n >= 1<<16 {
		header += 8
	} else if n >= 126 {
		header += 2
	}
	if e.From == Client {
		header += 4
	}
	return header + n
}
