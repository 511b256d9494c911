package bin

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/zeekwire/zeekwire/broker"
)

// ErrMalformed is wrapped by all errors of this package.
var ErrMalformed = errors.New("malformed data")

// Decode returns the value encoded in b, which must contain nothing else. The
// value does not share memory with b. Errors wrap ErrMalformed and give the
// offset.
func Decode(b []byte) (broker.Value, error) {
	r := NewReader(b)
	v := r.Value()
	if err := r.Close(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// Decoder decodes many values. It allocates container elements in blocks,
// which saves allocations compared with the function Decode. Since values are
// immutable, memory is never reused. Each retained value, and the Decoder
// itself, can retain up to 2 MiB of other values decoded by it.
//
// A Decoder must not be used concurrently; its values may be. The zero Decoder
// is ready to use.
type Decoder struct {
	// MaxElements limits the elements in all containers of a value. Zero means
	// the constant MaxElements, which is also the largest limit.
	MaxElements int

	slab []broker.Value
	size int
}

// Size returns the memory of the value last decoded, in bytes. It can be 32 times as
// much as its encoding.
func (d *Decoder) Size() int { return d.size }

const (
	slabSize = 512 // elements per allocation

	// maxShared is the maximum size of an encoding whose elements share a slab
	// with others. An element retains its whole encoding, so a slab can retain
	// slabSize encodings. Without the limit, a peer could cause hundreds of
	// its largest messages to be retained.
	maxShared = 4 << 10
)

// Decode is like the function Decode.
func (d *Decoder) Decode(b []byte) (broker.Value, error) {
	r := NewReader(b)
	if d.MaxElements > 0 {
		r.limit = min(d.MaxElements, MaxElements)
	}
	if r.slab = &d.slab; len(b) > maxShared {
		r.slab = new([]broker.Value)
	}
	v := r.Value()
	d.size = len(b) + r.elements*int(unsafe.Sizeof(v))
	if err := r.Close(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// Reader decodes data piece by piece. After the first failure, all methods
// return zero values; Err and Close report the failure.
//
// A Reader must not be used concurrently.
type Reader struct {
	// Strings in results share this copy of the input.
	data     string
	pos      int
	elements int // read so far, in all containers
	limit    int // of elements
	err      error

	// slab holds preallocated elements. If nil, elements are allocated per
	// container.
	slab *[]broker.Value
}

// allocate returns n zero elements.
func (r *Reader) allocate(n int) []broker.Value {
	if r.slab == nil || n > slabSize/4 {
		return make([]broker.Value, n)
	}
	if len(*r.slab) < n {
		*r.slab = make([]broker.Value, slabSize)
	}
	elems := (*r.slab)[:n:n]
	*r.slab = (*r.slab)[n:]
	return elems
}

// NewReader returns a Reader for a copy of b.
func NewReader(b []byte) *Reader { return &Reader{data: string(b), limit: MaxElements} }

// Close returns the first failure. Unread bytes are a failure, too.
func (r *Reader) Close() error {
	if r.err == nil && r.pos < len(r.data) {
		r.fail("%d trailing bytes", len(r.data)-r.pos)
	}
	return r.err
}

// Err returns the first failure so far, or nil.
func (r *Reader) Err() error { return r.err }

// Len returns the number of unread bytes.
func (r *Reader) Len() int { return len(r.data) - r.pos }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("bin: %w at offset %d: %s", ErrMalformed, r.pos, fmt.Sprintf(format, args...))
	}
}

// Bytes reads n bytes. Here and below, name describes the item in errors.
func (r *Reader) Bytes(n int, name string) string {
	if r.err != nil {
		return ""
	}
	if n > r.Len() {
		r.fail("%s needs %d bytes, %d left", name, n, r.Len())
		return ""
	}
	s := r.data[r.pos : r.pos+n]
	r.pos += n
	return s
}

// Uint8 reads one byte.
func (r *Reader) Uint8(name string) uint8 {
	if r.err == nil && r.pos < len(r.data) {
		r.pos++
		return r.data[r.pos-1]
	}
	r.fail("%s needs 1 bytes, 0 left", name)
	return 0
}

// Uint16 reads a 16-bit integer.
func (r *Reader) Uint16(name string) uint16 {
	s := r.Bytes(2, name)
	if s == "" {
		return 0
	}
	return uint16(s[0])<<8 | uint16(s[1])
}

// Uint64 reads a 64-bit integer.
func (r *Reader) Uint64(name string) uint64 {
	s := r.Bytes(8, name)
	if s == "" {
		return 0
	}
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

// Varbyte reads a length or count. Like Broker it accepts overlong forms, here
// up to five bytes, if the number fits 32 bits.
func (r *Reader) Varbyte(name string) uint32 {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.Uint8(name)
		if r.err != nil {
			return 0
		}
		n |= uint64(c&0x7F) << shift
		if c&0x80 == 0 {
			if n > broker.MaxLen {
				r.fail("%s exceeds 32 bits", name)
				return 0
			}
			return uint32(n)
		}
	}
	r.fail("%s has more than 5 bytes", name)
	return 0
}

// Text reads a length and that number of bytes.
func (r *Reader) Text(name string) string {
	n := r.Varbyte(name)
	if r.err == nil && uint64(n) > uint64(r.Len()) {
		r.fail("length of %s is %d, %d bytes left", name, n, r.Len())
	}
	return r.Bytes(int(n), name)
}

// Count reads the number of the items that follow. It fails if that many items
// of at least minSize bytes cannot follow.
func (r *Reader) Count(minSize int, name string) int {
	n := r.Varbyte(name)
	if r.err == nil && uint64(n)*uint64(minSize) > uint64(r.Len()) {
		r.fail("count of %s is %d, %d bytes left", name, n, r.Len())
		return 0
	}
	return int(n)
}

// Value reads a value.
func (r *Reader) Value() broker.Value { return r.value(0) }

func (r *Reader) value(depth int) broker.Value {
	switch kind := broker.Kind(r.Uint8("tag")); kind {
	case broker.KindNone:
		return broker.Value{}
	case broker.KindBoolean:
		return broker.Boolean(r.Uint8("boolean") != 0)
	case broker.KindCount:
		return broker.Count(r.Uint64("count"))
	case broker.KindInteger:
		return broker.Integer(int64(r.Uint64("integer")))
	case broker.KindReal:
		return broker.Real(unpackReal(r.Uint64("real")))
	case broker.KindString:
		return broker.String(r.Text("string"))
	case broker.KindEnum:
		return broker.Enum(r.Text("enum value"))
	case broker.KindAddress:
		return broker.Address(r.address("address"))
	case broker.KindSubnet:
		return r.subnet()
	case broker.KindPort:
		p := broker.Port{Number: r.Uint16("port"), Protocol: broker.Protocol(r.Uint8("port protocol"))}
		if !p.Protocol.Valid() {
			r.fail("port protocol is %d, want 0 to 3", uint8(p.Protocol))
			return broker.Value{}
		}
		return broker.PortValue(p)
	case broker.KindTimestamp:
		return broker.TimestampNanos(int64(r.Uint64("timestamp")))
	case broker.KindTimespan:
		return broker.Timespan(time.Duration(r.Uint64("timespan")))
	case broker.KindSet, broker.KindTable, broker.KindVector:
		return r.container(kind, depth)
	default:
		r.fail("unknown tag %d", uint8(kind))
		return broker.Value{}
	}
}

func (r *Reader) address(name string) netip.Addr {
	s := r.Bytes(16, name)
	if s == "" {
		return netip.Addr{}
	}
	var b [16]byte
	copy(b[:], s)
	return netip.AddrFrom16(b)
}

func (r *Reader) subnet() broker.Value {
	a, bits := r.address("subnet").Unmap(), int(r.Uint8("subnet length"))
	if r.err != nil {
		return broker.Value{}
	}
	if a.Is4() {
		// The encoded length counts from the start of the 128-bit address.
		if bits < 96 || bits > 128 {
			r.fail("subnet length of an IPv4 network is %d, want 96 to 128", bits)
			return broker.Value{}
		}
		bits -= 96
	} else if bits > 128 {
		r.fail("subnet length is %d, want at most 128", bits)
		return broker.Value{}
	}
	return broker.Subnet(netip.PrefixFrom(a, bits))
}

func (r *Reader) container(kind broker.Kind, depth int) broker.Value {
	if depth == MaxDepth {
		r.fail("more than %d nested containers", MaxDepth)
		return broker.Value{}
	}
	perItem := 1
	if kind == broker.KindTable {
		perItem = 2
	}
	n := perItem * r.Count(perItem, kind.String())
	if r.elements += n; r.elements > r.limit {
		r.fail("more than %d elements", r.limit)
	}
	if r.err != nil {
		return broker.Value{}
	}
	elems := r.allocate(n)
	for i := range elems {
		elems[i] = r.value(depth + 1)
		if r.err != nil {
			return broker.Value{}
		}
	}
	var v broker.Value
	unique := true
	switch kind {
	case broker.KindSet:
		v, unique = broker.UniqueSet(elems)
	case broker.KindTable:
		v, unique = broker.UniqueTable(elems)
	default:
		v = broker.Vector(elems...)
	}
	if !unique {
		r.fail("%s contains a duplicate", kind)
	}
	return v
}
