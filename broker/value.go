package broker

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Value is a Broker value of any kind. The zero Value is none.
//
// A Value is immutable and small, and scalars need no allocation. Strings hold
// arbitrary bytes. Sets and tables are sorted and free of duplicates, so equal
// values have equal encodings, except for the sign of zeros and NaNs, which
// Equal ignores.
//
// Values cannot be compared with ==; use Equal or Compare.
type Value struct {
	_ [0]func() // forbids ==, which would compare pointers

	kind Kind
	aux  uint8  // port protocol, or subnet length relative to 128 bits
	n    uint32 // length of a string in bytes, or of a container in Values
	hi   uint64 // scalar, upper half of an address, or flags of a container
	lo   uint64 // lower half of an address

	// ptr points to the first byte of a string or the first element of a
	// container. A single pointer and n, instead of a string and a slice,
	// halve the size of a Value. Only bytes and elems convert it back.
	ptr unsafe.Pointer
}

// MaxLen is the maximum number of bytes in a string and of elements in a
// container. Broker encodes lengths in 32 bits.
const MaxLen = math.MaxUint32

// None returns the value without content. It also represents an unset record
// field.
func None() Value { return Value{} }

// Boolean returns a boolean value.
func Boolean(b bool) Value {
	v := Value{kind: KindBoolean}
	if b {
		v.hi = 1
	}
	return v
}

// Count returns a count, Zeek's unsigned integer.
func Count(n uint64) Value { return Value{kind: KindCount, hi: n} }

// Integer returns an integer, Zeek's int.
func Integer(n int64) Value { return Value{kind: KindInteger, hi: uint64(n)} }

// Real returns a real, Zeek's double. One of at most 2^-1023 becomes a zero of the same
// sign, because Broker's binary encoding has none that is smaller (CAF: pack754).
func Real(f float64) Value {
	const sign, tooSmall = 1 << 63, 1 << 51
	bits := math.Float64bits(f)
	if bits&^sign <= tooSmall {
		bits &= sign
	}
	return Value{kind: KindReal, hi: bits}
}

// String returns a string value, which may hold arbitrary bytes. It panics if
// s is longer than MaxLen.
func String(s string) Value { return text(KindString, s) }

// Enum returns an enum value with the given qualified label, such as
// "Conn::LOG". It panics if label is longer than MaxLen.
func Enum(label string) Value { return text(KindEnum, label) }

func text(k Kind, s string) Value {
	if uint64(len(s)) > MaxLen {
		panic(tooLong)
	}
	return Value{kind: k, n: uint32(len(s)), ptr: unsafe.Pointer(unsafe.StringData(s))}
}

// tooLong is a constant so that the functions that panic with it can be inlined.
const tooLong = "broker: value is longer than MaxLen"

// Address returns an address value. A zone is dropped and the zero Addr
// becomes "::", because Zeek has neither.
func Address(a netip.Addr) Value {
	v := Value{kind: KindAddress}
	v.hi, v.lo = split(a)
	return v
}

// Subnet returns a subnet value and clears the host bits of p. The zero Prefix
// becomes "::/0".
func Subnet(p netip.Prefix) Value {
	if !p.IsValid() {
		return Value{kind: KindSubnet}
	}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	v := Value{kind: KindSubnet, aux: uint8(bits)}
	v.hi, v.lo = split(p.Addr())
	switch {
	case bits == 0:
		v.hi, v.lo = 0, 0
	case bits <= 64:
		v.hi &= ^uint64(0) << (64 - bits)
		v.lo = 0
	default:
		v.lo &= ^uint64(0) << (128 - bits)
	}
	return v
}

func split(a netip.Addr) (hi, lo uint64) {
	if !a.IsValid() {
		return 0, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// Port is a port number and its protocol. The zero Port is Zeek's 0/unknown,
// which usually means "no port".
type Port struct {
	Number   uint16
	Protocol Protocol
}

// TCP returns the TCP port n.
func TCP(n uint16) Port { return Port{Number: n, Protocol: ProtocolTCP} }

// PortValue returns a port value. It panics if p.Protocol is invalid.
func PortValue(p Port) Value {
	if !p.Protocol.Valid() {
		panic("broker: port with an invalid protocol")
	}
	return Value{kind: KindPort, aux: uint8(p.Protocol), hi: uint64(p.Number)}
}

// Timestamp returns a point in time with nanosecond resolution. Times that do
// not fit 64-bit nanoseconds (before 1677 or after 2262) become the nearest
// representable time.
func Timestamp(t time.Time) Value {
	ns := t.UnixNano()
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		ns = math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		ns = math.MaxInt64
	}
	return Value{kind: KindTimestamp, hi: uint64(ns)}
}

// TimestampNanos returns the point in time that is ns nanoseconds after the
// Unix epoch.
func TimestampNanos(ns int64) Value { return Value{kind: KindTimestamp, hi: uint64(ns)} }

// Timespan returns a timespan, Zeek's interval.
func Timespan(d time.Duration) Value { return Value{kind: KindTimespan, hi: uint64(d)} }

// Vector returns a vector. Vectors also represent records. It keeps elems,
// which the caller must not change afterwards.
func Vector(elems ...Value) Value { return container(KindVector, elems) }

// Set returns a set of elems in Broker's order, without duplicates. It sorts
// and keeps elems, which the caller must not change afterwards.
func Set(elems ...Value) Value {
	if !ascending(elems) {
		slices.SortFunc(elems, Compare)
		elems = slices.CompactFunc(elems, Equal)
	}
	return container(KindSet, elems)
}

// Flags of a container.
const (
	// flagReordered: the decoded elements had another order.
	flagReordered = 1 << iota

	// flagEncoded: a string with the encoding precedes the first element.
	flagEncoded
)

// Entry is one entry of a table.
type Entry struct{ Key, Value Value }

// Table returns a table of entries in Broker's order. If several entries have
// the same key, the first is used.
func Table(entries ...Entry) Value {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return Compare(a.Key, b.Key) })
	sorted = slices.CompactFunc(sorted, func(a, b Entry) bool { return Equal(a.Key, b.Key) })
	flat := make([]Value, 0, 2*len(sorted))
	for _, e := range sorted {
		flat = append(flat, e.Key, e.Value)
	}
	return container(KindTable, flat)
}

// UniqueSet is like Set, but ok is false if an element occurs twice, because
// Zeek rejects such sets (Broker: format::bin::v1). It is meant for decoders.
// It sorts and keeps elems.
func UniqueSet(elems []Value) (v Value, ok bool) {
	var flags uint64
	if !ascending(elems) {
		slices.SortFunc(elems, Compare)
		if !ascending(elems) {
			return Value{}, false
		}
		flags = flagReordered
	}
	v = container(KindSet, elems)
	v.hi = flags
	return v, true
}

// UniqueTable is like Table, but ok is false if a key occurs twice. It is
// meant for decoders. The slice flat holds keys and values alternately;
// UniqueTable sorts and keeps it.
func UniqueTable(flat []Value) (v Value, ok bool) {
	if len(flat) == 0 {
		return container(KindTable, nil), true // flat may point to memory that has no room for an Entry
	}
	// An Entry has the memory layout of two Values, so the pairs can be sorted
	// in place.
	entries := unsafe.Slice((*Entry)(unsafe.Pointer(unsafe.SliceData(flat))), len(flat)/2)
	var flags uint64
	if !ascendingKeys(entries) {
		slices.SortFunc(entries, func(a, b Entry) int { return Compare(a.Key, b.Key) })
		if !ascendingKeys(entries) {
			return Value{}, false
		}
		flags = flagReordered
	}
	v = container(KindTable, flat[:2*len(entries)])
	v.hi = flags
	return v, true
}

// Reordered reports whether UniqueSet or UniqueTable had to sort the elements of
// v. It is meant for decoders.
func (v Value) Reordered() bool { return v.kind >= KindSet && v.hi&flagReordered != 0 }

// KeepEncoding keeps the binary encoding of the container v, which Encoding
// returns, so that a value that is forwarded need not be encoded again. It is meant
// for decoders. The elements of v must be those of block without the first, which
// KeepEncoding overwrites, and encoding must be what package bin would produce. An
// empty container keeps nothing.
func KeepEncoding(v *Value, block []Value, encoding string) {
	if v.kind < KindSet || v.n == 0 {
		return
	}
	if len(block) <= int(v.n) || v.ptr != unsafe.Pointer(&block[1]) {
		panic("broker: the value is not made of the block")
	}
	block[0] = String(encoding)
	v.hi |= flagEncoded
}

// Encoding returns the binary encoding with which v was decoded. The result ok is
// false if v has none.
func (v Value) Encoding() (encoding string, ok bool) {
	if v.kind < KindSet || v.hi&flagEncoded == 0 {
		return "", false
	}
	// KeepEncoding has checked that an element precedes the first one.
	return (*Value)(unsafe.Add(v.ptr, -int(unsafe.Sizeof(v)))).bytes(), true
}

func ascendingKeys(entries []Entry) bool {
	for i := 1; i < len(entries); i++ {
		if compare(&entries[i-1].Key, &entries[i].Key) >= 0 {
			return false
		}
	}
	return true
}

func ascending(vs []Value) bool {
	for i := 1; i < len(vs); i++ {
		if compare(&vs[i-1], &vs[i]) >= 0 {
			return false
		}
	}
	return true
}

func container(k Kind, elems []Value) Value {
	if uint64(len(elems)) > MaxLen {
		panic(tooLong)
	}
	return Value{kind: k, n: uint32(len(elems)), ptr: unsafe.Pointer(unsafe.SliceData(elems))}
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// IsNone reports whether v is none.
func (v Value) IsNone() bool { return v.kind == KindNone }

// Memory returns the memory that v takes, in bytes, without that of v itself. It
// includes the encoding that a decoded value keeps.
func (v Value) Memory() int { return v.memory(true) }

// memory is Memory, with or without the bytes of strings and enum values.
func (v Value) memory(withText bool) int {
	switch v.kind {
	case KindString, KindEnum:
		if withText {
			return int(v.n)
		}
	case KindSet, KindTable, KindVector:
		elems := v.elems()
		n := len(elems) * int(unsafe.Sizeof(v))
		if encoding, ok := v.Encoding(); ok {
			n += int(unsafe.Sizeof(v)) + len(encoding)
			withText = false // the text is part of the encoding
		}
		for i := range elems {
			n += elems[i].memory(withText)
		}
		return n
	}
	return 0
}

// Boolean returns the content of a boolean. The result ok is false for other
// kinds.
func (v Value) Boolean() (b, ok bool) { return v.hi != 0, v.kind == KindBoolean }

// Count returns the content of a count. The result ok is false for other
// kinds.
func (v Value) Count() (n uint64, ok bool) { return v.hi, v.kind == KindCount }

// Integer returns the content of an integer. The result ok is false for other
// kinds.
func (v Value) Integer() (n int64, ok bool) { return int64(v.hi), v.kind == KindInteger }

// Real returns the content of a real. The result ok is false for other kinds.
func (v Value) Real() (f float64, ok bool) {
	return math.Float64frombits(v.hi), v.kind == KindReal
}

// Text returns the bytes of a string. The result ok is false for other kinds.
func (v Value) Text() (s string, ok bool) { return v.bytes(), v.kind == KindString }

// Enum returns the label of an enum value. The result ok is false for other
// kinds.
func (v Value) Enum() (label string, ok bool) {
	if v.kind != KindEnum {
		return "", false
	}
	return v.bytes(), true
}

// bytes returns the content of a string or enum value, and "" for other kinds.
func (v *Value) bytes() string {
	if v.kind != KindString && v.kind != KindEnum {
		return ""
	}
	return unsafe.String((*byte)(v.ptr), int(v.n))
}

// Address returns the content of an address. IPv4 addresses are not mapped to
// IPv6. The result ok is false for other kinds.
func (v Value) Address() (a netip.Addr, ok bool) {
	if v.kind != KindAddress {
		return netip.Addr{}, false
	}
	return v.addr(), true
}

func (v Value) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], v.hi)
	binary.BigEndian.PutUint64(b[8:], v.lo)
	return netip.AddrFrom16(b).Unmap()
}

// Subnet returns the content of a subnet. The result ok is false for other
// kinds.
func (v Value) Subnet() (p netip.Prefix, ok bool) {
	if v.kind != KindSubnet {
		return netip.Prefix{}, false
	}
	a, bits := v.addr(), int(v.aux)
	if a.Is4() {
		bits -= 96
	}
	return netip.PrefixFrom(a, bits), true
}

// Port returns the content of a port. The result ok is false for other kinds.
func (v Value) Port() (p Port, ok bool) {
	if v.kind != KindPort {
		return Port{}, false
	}
	return Port{Number: uint16(v.hi), Protocol: Protocol(v.aux)}, true
}

// Timestamp returns the content of a timestamp, in UTC. The result ok is false
// for other kinds.
func (v Value) Timestamp() (t time.Time, ok bool) {
	return time.Unix(0, int64(v.hi)).UTC(), v.kind == KindTimestamp
}

// TimestampNanos returns the content of a timestamp, in nanoseconds since the Unix
// epoch. The result ok is false for other kinds.
func (v Value) TimestampNanos() (ns int64, ok bool) {
	return int64(v.hi), v.kind == KindTimestamp
}

// Timespan returns the content of a timespan. The result ok is false for other
// kinds.
func (v Value) Timespan() (d time.Duration, ok bool) {
	return time.Duration(v.hi), v.kind == KindTimespan
}

// Len returns the number of elements of a set or vector, of entries of a
// table, or of bytes of a string or enum value. It returns 0 for other kinds.
func (v Value) Len() int {
	if v.kind == KindTable {
		return int(v.n) / 2
	}
	return int(v.n)
}

// At returns element i of a set or vector. It panics unless 0 <= i < v.Len(),
// and for other kinds.
func (v Value) At(i int) Value {
	if v.kind != KindVector && v.kind != KindSet {
		panic("broker: At on a value that is neither vector nor set")
	}
	return unsafe.Slice((*Value)(v.ptr), int(v.n))[i]
}

// EntryAt returns entry i of a table. It panics unless 0 <= i < v.Len(), and
// for other kinds.
func (v Value) EntryAt(i int) Entry {
	if v.kind != KindTable {
		panic("broker: EntryAt on " + v.kind.String())
	}
	e := v.elems()
	return Entry{e[2*i], e[2*i+1]}
}

// Elements returns an iterator over the elements of a set or vector in order.
// It yields nothing for other kinds.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.kind != KindVector && v.kind != KindSet {
			return
		}
		for _, e := range v.elems() {
			if !yield(e) {
				return
			}
		}
	}
}

// Entries returns an iterator over the keys and values of a table in order. It
// yields nothing for other kinds.
func (v Value) Entries() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.kind != KindTable {
			return
		}
		e := v.elems()
		for i := 0; i+1 < len(e); i += 2 {
			if !yield(e[i], e[i+1]) {
				return
			}
		}
	}
}

// elems returns the elements of a container, and nil for other kinds. For a
// table these are alternately keys and values.
func (v Value) elems() []Value {
	if v.kind < KindSet {
		return nil
	}
	return unsafe.Slice((*Value)(v.ptr), int(v.n))
}

// Equal reports whether a and b have the same kind and content, as defined by
// Compare.
func Equal(a, b Value) bool { return Compare(a, b) == 0 }

// Compare returns a negative number if a sorts before b, a positive number if
// it sorts after b, and 0 if the two are equal. The order is Broker's: by
// kind, then false before true, numbers by size, strings and labels bytewise,
// addresses and subnets by address and length, ports by number and protocol,
// containers lexicographically. To make the order total, all NaNs are equal
// and sort before other reals; Broker leaves that undefined.
func Compare(a, b Value) int { return compare(&a, &b) }

func compare(a, b *Value) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	switch a.kind {
	case KindNone:
		return 0
	case KindString, KindEnum:
		return strings.Compare(a.bytes(), b.bytes())
	case KindInteger, KindTimestamp, KindTimespan:
		return cmp.Compare(int64(a.hi), int64(b.hi))
	case KindReal:
		return cmp.Compare(math.Float64frombits(a.hi), math.Float64frombits(b.hi))
	case KindSet, KindTable, KindVector:
		return compareElems(a.elems(), b.elems())
	default: // boolean, count, address, subnet, port
		return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.aux, b.aux))
	}
}

func compareElems(a, b []Value) int {
	for i := range min(len(a), len(b)) {
		if c := compare(&a[i], &b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
