// Package bin implements the binary encoding of Broker values that native
// peers use (Broker: format::bin::v1, identical to the CAF serializer before
// Zeek 6.2).
//
// The encoding is canonical: equal values have equal bytes, except for the
// sign of zeros. Functions may be called concurrently.
package bin

import (
	"encoding/binary"
	"math"

	"github.com/zeekwire/zeekwire/broker"
)

// Limits of Decode. Zeek has no limits; these are far above its needs, and
// bound the memory and stack that a peer can consume.
const (
	MaxDepth    = 128     // nesting of containers
	MaxElements = 1 << 22 // total elements in all containers of a value
)

// CAF encodes the infinities with their signs swapped, and has a single NaN
// (CAF: detail/ieee_754.hpp).
const (
	wirePosInf = 0xFFF0_0000_0000_0000
	wireNegInf = 0x7FF0_0000_0000_0000
	wireNaN    = 0xFFFF_FFFF_FFFF_FFFF

	exponentMask = 0x7FF0_0000_0000_0000
	mantissaMask = 0x000F_FFFF_FFFF_FFFF
	signMask     = 0x8000_0000_0000_0000
)

// Append appends the encoding of v to b and returns the result. It copies the
// encoding that a decoded value keeps.
func Append(b []byte, v broker.Value) []byte { return appendValue(b, &v) }

func appendValue(b []byte, v *broker.Value) []byte {
	kind, bits, low, aux, text := broker.Scalar(v)
	switch kind {
	case broker.KindNone:
		return append(b, byte(kind))
	case broker.KindBoolean:
		return append(b, byte(kind), byte(bits))
	case broker.KindCount, broker.KindInteger, broker.KindTimestamp, broker.KindTimespan:
		return appendNumber(b, kind, bits)
	case broker.KindReal:
		return appendNumber(b, kind, packReal(math.Float64frombits(bits)))
	case broker.KindString, broker.KindEnum:
		return appendText(b, kind, text)
	case broker.KindAddress:
		return binary.BigEndian.AppendUint64(appendNumber(b, kind, bits), low)
	case broker.KindSubnet:
		return append(binary.BigEndian.AppendUint64(appendNumber(b, kind, bits), low), aux)
	case broker.KindPort:
		return append(b, byte(kind), byte(bits>>8), byte(bits), aux)
	}
	if encoding, ok := v.Encoding(); ok {
		return append(b, encoding...)
	}
	b = AppendVarbyte(append(b, byte(kind)), uint32(v.Len()))
	elements := broker.Elements(v)
	if len(elements) > 0 && elements[0].Kind() == broker.KindString {
		return appendTexts(b, elements)
	}
	for i := range elements {
		b = appendValue(b, &elements[i])
	}
	return b
}

// appendTexts appends elements that are probably strings. It copies short ones by two words,
// which may overlap: the call of a copy takes longer than the copy.
func appendTexts(b []byte, elements []broker.Value) []byte {
	for i := range elements {
		kind, _, _, _, text := broker.Scalar(&elements[i])
		n := len(text)
		if kind != broker.KindString || n >= 0x80 || cap(b)-len(b) < n+2 {
			b = appendValue(b, &elements[i])
			continue
		}
		b = append(b, byte(kind), byte(n))
		to := b[len(b) : len(b)+n]
		b = b[:len(b)+n]
		switch {
		case n >= 4 && n <= 8:
			binary.BigEndian.PutUint32(to, uint32At(text))
			binary.BigEndian.PutUint32(to[n-4:], uint32At(text[n-4:]))
		case n > 8 && n <= 16:
			binary.BigEndian.PutUint64(to, uint64At(text))
			binary.BigEndian.PutUint64(to[n-8:], uint64At(text[n-8:]))
		default:
			copy(to, text)
		}
	}
	return b
}

func appendNumber(b []byte, kind broker.Kind, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(kind)), n)
}

func appendText(b []byte, kind broker.Kind, s string) []byte {
	if len(s) < 0x80 {
		return append(append(b, byte(kind), byte(len(s))), s...)
	}
	return AppendString(append(b, byte(kind)), s)
}

// AppendVarbyte appends n in base 128, least significant digit first. Bit 7 of
// a byte is set if more bytes follow. Broker encodes all lengths and counts
// like this.
func AppendVarbyte(b []byte, n uint32) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// AppendString appends the length of s as a varbyte, then s. Handshake
// messages and filters use this form outside of values.
func AppendString(b []byte, s string) []byte {
	return append(AppendVarbyte(b, uint32(len(s))), s...)
}

func packReal(f float64) uint64 {
	bits := math.Float64bits(f)
	switch {
	case math.IsInf(f, 1):
		return wirePosInf
	case math.IsInf(f, -1):
		return wireNegInf
	case math.IsNaN(f):
		return wireNaN
	case bits&exponentMask == 0:
		// CAF writes a subnormal f as if it were normal: 1+mantissa/2^52 is f/2^-1023.
		// Those of at most 2^-1023 are not values, see broker.Real.
		return bits&signMask | bits<<1&mantissaMask
	}
	return bits
}

func unpackReal(bits uint64) float64 {
	switch {
	case bits == wirePosInf:
		return math.Inf(1)
	case bits == wireNegInf:
		return math.Inf(-1)
	case bits == wireNaN:
		return math.NaN()
	case bits&exponentMask == exponentMask:
		// CAF decodes these bits by arithmetic that overflows, even for NaNs
		// of IEEE 754.
		return math.Inf(1 - 2*int(bits>>63))
	case bits&exponentMask == 0 && bits&mantissaMask != 0:
		// CAF adds the hidden bit that subnormals do not have.
		f := math.Ldexp(1+float64(bits&mantissaMask)/(1<<52), -1023)
		return math.Copysign(f, math.Float64frombits(bits&signMask))
	}
	return math.Float64frombits(bits)
}
