package bin

import (
	"net/netip"

	"github.com/zeekwire/zeekwire/broker"
)

// The methods below read a value of a known kind without making a broker.Value. If the
// next value is of another kind, or unusual in any way, they read nothing and return
// false: Value then reads it, or fails.

// begins returns what follows the tag of the next value. The result ok is false if that
// value is not of the given kind, or if less than size bytes follow.
func (r *Reader) begins(kind broker.Kind, size int) (rest string, ok bool) {
	rest = r.data[r.pos:]
	if len(rest) <= size || broker.Kind(rest[0]) != kind || r.err != nil {
		return "", false
	}
	return rest[1:], true
}

// Uint64 reads a count, integer, timestamp or timespan and returns its bits.
func (r *Reader) Uint64(kind broker.Kind) (bits uint64, ok bool) {
	rest, ok := r.begins(kind, 8)
	if !ok {
		return 0, false
	}
	r.pos += 9
	return uint64At(rest), true
}

// None reads none, the value of an unset field.
func (r *Reader) None() bool {
	_, ok := r.begins(broker.KindNone, 0)
	if ok {
		r.pos++
	}
	return ok
}

// Boolean reads a boolean.
func (r *Reader) Boolean() (b, ok bool) {
	rest, ok := r.begins(broker.KindBoolean, 1)
	if !ok {
		return false, false
	}
	r.pos += 2
	return rest[0] != 0, true
}

// ShortText reads a string or an enum value of less than 128 bytes. It shares the
// memory of the data.
func (r *Reader) ShortText(kind broker.Kind) (s string, ok bool) {
	rest, ok := r.begins(kind, 1)
	if !ok {
		return "", false
	}
	n := int(rest[0])
	if n >= 0x80 || n > len(rest)-1 {
		return "", false
	}
	r.pos += 2 + n
	return rest[1 : 1+n], true
}

// Address reads an address.
func (r *Reader) Address() (a netip.Addr, ok bool) {
	rest, ok := r.begins(broker.KindAddress, 16)
	if !ok {
		return netip.Addr{}, false
	}
	r.pos += 17
	return addressAt(rest).Unmap(), true
}

// Port reads a port.
func (r *Reader) Port() (p broker.Port, ok bool) {
	rest, ok := r.begins(broker.KindPort, 3)
	if !ok {
		return broker.Port{}, false
	}
	if p = portAt(rest); !p.Protocol.Valid() {
		return broker.Port{}, false
	}
	r.pos += 4
	return p, true
}

// Elements reads the beginning of a vector or set, and returns the number of its
// elements, which the caller reads next. The caller checks the order and uniqueness of
// the elements of a set.
func (r *Reader) Elements(kind broker.Kind) (n int, ok bool) {
	rest, ok := r.begins(kind, 1)
	if !ok || r.depth == MaxDepth {
		return 0, false
	}
	n = int(rest[0])
	if n >= 0x80 || n > len(rest)-1 || r.elements+n > r.limit {
		return 0, false
	}
	r.pos += 2
	r.elements += n
	r.depth++
	return n, true
}

// EndElements ends the vector or set whose beginning Elements has read.
func (r *Reader) EndElements() { r.depth-- }
