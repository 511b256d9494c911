package bin

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// ErrMalformed is wrapped by every error of Decode and Reader.
var ErrMalformed = errors.New("malformed data")

// Decode returns the value that b encodes. All of b must belong to it. The
// value does not refer to b. Errors wrap ErrMalformed and name the offset.
func Decode(b []byte) (broker.Value, error) {
	r := NewReader(b)
	v := r.Value()
	if err := r.Close(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// Decoder is Decode for many values: it allocates the elements of containers
// many at a time. As values are immutable it never uses memory again that it
// gave away; instead, a value that is kept, and the Decoder itself, keep up to
// 2 MiB of values that were decoded with it.
//
// A Decoder is for one goroutine, the values are for all.
type Decoder struct{ slab []broker.Value }

const (
	slabSize = 512 // elements that are allocated together

	// maxShared is the size of an encoding up to which its elements stand
	// beside those of others. They hold on to all of it, and a slab to up to
	// slabSize such encodings: without a limit a peer could have us keep
	// hundreds of its largest messages.
	maxShared = 4 << 10
)

// Decode is the function Decode.
func (d *Decoder) Decode(b []byte) (broker.Value, error) {
	r := NewReader(b)
	if r.slab = &d.slab; len(b) > maxShared {
		r.slab = new([]broker.Value)
	}
	v := r.Value()
	if err := r.Close(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// Reader takes apart what is encoded with the functions of this package. After
// the first failure it returns zero values; Close tells.
//
// A Reader is for one goroutine.
type Reader struct {
	// Strings of the result share this one copy of the input.
	data     string
	pos      int
	elements int // so far, of all containers
	err      error

	// slab has elements to be given away; nil to allocate them one by one.
	slab *[]broker.Value
}

// allocate returns n elements.
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

// NewReader returns a Reader of a copy of b.
func NewReader(b []byte) *Reader { return &Reader{data: string(b)} }

// Close returns the first failure. Bytes that nobody read are one.
func (r *Reader) Close() error {
	if r.err == nil && r.pos < len(r.data) {
		r.fail("%d bytes left over", len(r.data)-r.pos)
	}
	return r.err
}

// Err returns the first failure so far.
func (r *Reader) Err() error { return r.err }

// Len returns the number of bytes not yet read.
func (r *Reader) Len() int { return len(r.data) - r.pos }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("bin: %w at offset %d: %s", ErrMalformed, r.pos, fmt.Sprintf(format, args...))
	}
}

// Bytes reads n bytes; what names them in the error.
func (r *Reader) Bytes(n int, what string) string {
	if r.err != nil {
		return ""
	}
	if n > r.Len() {
		r.fail("%s needs %d bytes, %d left", what, n, r.Len())
		return ""
	}
	s := r.data[r.pos : r.pos+n]
	r.pos += n
	return s
}

// Uint8 reads one byte.
func (r *Reader) Uint8(what string) uint8 {
	if r.err == nil && r.pos < len(r.data) {
		r.pos++
		return r.data[r.pos-1]
	}
	r.fail("%s needs 1 bytes, 0 left", what)
	return 0
}

// Uint16 reads two bytes.
func (r *Reader) Uint16(what string) uint16 {
	s := r.Bytes(2, what)
	if s == "" {
		return 0
	}
	return uint16(s[0])<<8 | uint16(s[1])
}

// Uint64 reads eight bytes.
func (r *Reader) Uint64(what string) uint64 {
	s := r.Bytes(8, what)
	if s == "" {
		return 0
	}
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

// Varbyte reads a length or count. Broker takes overlong forms; so do we, up
// to five bytes, as long as the number fits 32 bits.
func (r *Reader) Varbyte(what string) uint32 {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.Uint8(what)
		if r.err != nil {
			return 0
		}
		n |= uint64(c&0x7F) << shift
		if c&0x80 == 0 {
			if n > broker.MaxLen {
				r.fail("%s exceeds 32 bits", what)
				return 0
			}
			return uint32(n)
		}
	}
	r.fail("%s has more than 5 bytes", what)
	return 0
}

// Text reads a length and as many bytes.
func (r *Reader) Text(what string) string {
	n := r.Varbyte(what)
	if r.err == nil && uint64(n) > uint64(r.Len()) {
		r.fail("length of %s is %d, %d bytes left", what, n, r.Len())
	}
	return r.Bytes(int(n), what)
}

// Count reads the number of items that follow, each of at least minSize bytes.
func (r *Reader) Count(minSize int, what string) int {
	n := r.Varbyte(what)
	if r.err == nil && uint64(n)*uint64(minSize) > uint64(r.Len()) {
		r.fail("count of %s is %d, %d bytes left", what, n, r.Len())
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

func (r *Reader) address(what string) netip.Addr {
	s := r.Bytes(16, what)
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
		// On the wire the length counts from the start of the 128 bits.
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
	if r.elements += n; r.elements > MaxElements {
		r.fail("more than %d elements", MaxElements)
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
		r.fail("%s holds a duplicate", kind)
	}
	return v
}
