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
	return NewReader(b).whole()
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
	if len(b) <= maxShared {
		r.shared = &d.slab
	}
	v, err := r.whole()
	d.size = len(b) + (1+r.elements)*int(unsafe.Sizeof(v))
	return v, err
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
	depth    int // of the containers whose beginning Elements has read
	limit    int // of elements
	err      error

	// keep is set if the data is a single value, which keeps its encoding.
	// unusual is set if Append would encode it in another way.
	keep, unusual bool

	// shared holds preallocated elements, as own does if shared is nil.
	shared *[]broker.Value
	own    []broker.Value
}

// whole reads the value that is all of the data. The value keeps the data as its
// encoding.
func (r *Reader) whole() (broker.Value, error) {
	r.keep = true
	v := r.Value()
	if err := r.Close(); err != nil {
		return broker.Value{}, err
	}
	return v, nil
}

// typicalSize is the usual size of an encoded element of a record, in bytes.
const typicalSize = 8

// allocate returns n zero elements.
func (r *Reader) allocate(n int) []broker.Value {
	if n > slabSize/4 {
		return make([]broker.Value, n)
	}
	slab, size := r.shared, slabSize
	if slab == nil {
		slab, size = &r.own, max(n, min(slabSize, r.Len()/typicalSize))
	}
	if len(*slab) < n {
		*slab = make([]broker.Value, size)
	}
	elems := (*slab)[:n:n]
	*slab = (*slab)[n:]
	return elems
}

// NewReader returns a Reader for a copy of b.
func NewReader(b []byte) *Reader {
	return &Reader{data: string(b), limit: MaxElements}
}

// Close returns the first failure. Unread bytes are a failure, too.
func (r *Reader) Close() error {
	if r.err == nil && r.pos < len(r.data) {
		r.fail("%d trailing bytes", len(r.data)-r.pos)
	}
	return r.err
}

// Err returns the first failure so far, or nil.
func (r *Reader) Err() error { return r.err }

// Size returns the number of bytes of the data.
func (r *Reader) Size() int { return len(r.data) }

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
			r.unusual = r.unusual || c == 0 && shift > 0 // overlong
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
func (r *Reader) Value() broker.Value {
	if r.err != nil {
		return broker.Value{}
	}
	return r.value(r.depth)
}

// minSizes holds the minimum size of the content of each kind, in bytes without
// the tag. It is the exact size for all kinds without a length or count.
var minSizes = [...]int{
	broker.KindNone: 0, broker.KindBoolean: 1, broker.KindCount: 8, broker.KindInteger: 8, broker.KindReal: 8,
	broker.KindString: 1, broker.KindAddress: 16, broker.KindSubnet: 17, broker.KindPort: 3,
	broker.KindTimestamp: 8, broker.KindTimespan: 8, broker.KindEnum: 1,
	broker.KindSet: 1, broker.KindTable: 1, broker.KindVector: 1,
}

// value reads a value that is nested in depth containers. There must have been no
// failure.
func (r *Reader) value(depth int) broker.Value {
	if r.pos >= len(r.data) {
		r.fail("tag needs 1 bytes, 0 left")
		return broker.Value{}
	}
	kind := broker.Kind(r.data[r.pos])
	r.pos++
	s := r.data[r.pos:]
	if int(kind) >= len(minSizes) {
		r.fail("unknown tag %d", uint8(kind))
		return broker.Value{}
	}
	size := minSizes[kind]
	if len(s) < size {
		r.fail("%s needs %d bytes, %d left", kind, size, len(s))
		return broker.Value{}
	}
	switch kind {
	case broker.KindString:
		return broker.String(r.text("string"))
	case broker.KindEnum:
		return broker.Enum(r.text("enum value"))
	case broker.KindSet, broker.KindTable, broker.KindVector:
		return r.container(kind, depth)
	}
	r.pos += size
	switch kind {
	case broker.KindSubnet:
		return r.subnet(s)
	case broker.KindPort:
		return r.port(s)
	case broker.KindBoolean:
		r.unusual = r.unusual || s[0] > 1
		return broker.Boolean(s[0] != 0)
	case broker.KindCount:
		return broker.Count(uint64At(s))
	case broker.KindInteger:
		return broker.Integer(int64(uint64At(s)))
	case broker.KindReal:
		f := unpackReal(uint64At(s))
		r.unusual = r.unusual || packReal(f) != uint64At(s)
		return broker.Real(f)
	case broker.KindAddress:
		return broker.Address(addressAt(s))
	case broker.KindTimestamp:
		return broker.TimestampNanos(int64(uint64At(s)))
	case broker.KindTimespan:
		return broker.Timespan(time.Duration(uint64At(s)))
	}
	return broker.Value{} // none
}

// fill reads elements that are nested in depth containers. It reads the most
// frequent kinds itself: writing them in place, instead of returning them, takes
// half of the time.
func (r *Reader) fill(elems []broker.Value, depth int) {
	data, pos := r.data, r.pos
	for i := range elems {
		if rest := data[pos:]; len(rest) > 8 {
			switch number := uint64At(rest[1:]); broker.Kind(rest[0]) {
			case broker.KindCount:
				elems[i] = broker.Count(number)
				pos += 9
				continue
			case broker.KindInteger:
				elems[i] = broker.Integer(int64(number))
				pos += 9
				continue
			case broker.KindTimestamp:
				elems[i] = broker.TimestampNanos(int64(number))
				pos += 9
				continue
			case broker.KindTimespan:
				elems[i] = broker.Timespan(time.Duration(number))
				pos += 9
				continue
			case broker.KindString:
				if n := int(rest[1]); n < 0x80 && n <= len(rest)-2 {
					elems[i] = broker.String(rest[2 : 2+n])
					pos += 2 + n
					continue
				}
			case broker.KindBoolean:
				if rest[1] <= 1 {
					elems[i] = broker.Boolean(rest[1] == 1)
					pos += 2
					continue
				}
			}
		}
		r.pos = pos
		if elems[i] = r.value(depth); r.err != nil {
			return
		}
		pos = r.pos
	}
	r.pos = pos
}

// uint64At returns the integer in the first 8 bytes of s.
func uint64At(s string) uint64 {
	_ = s[7]
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

// uint32At returns the integer in the first 4 bytes of s.
func uint32At(s string) uint32 {
	_ = s[3]
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// text is Text without failure so far, and with at least one byte left.
func (r *Reader) text(name string) string {
	if n, start := int(r.data[r.pos]), r.pos+1; n < 0x80 && n <= len(r.data)-start {
		r.pos = start + n
		return r.data[start:r.pos]
	}
	return r.Text(name)
}

// count is Count without failure so far, and with at least one byte left.
func (r *Reader) count(minSize int, kind broker.Kind) int {
	if n, start := int(r.data[r.pos]), r.pos+1; n < 0x80 && n*minSize <= len(r.data)-start {
		r.pos = start
		return n
	}
	return r.Count(minSize, kind.String())
}

// addressAt returns the address in the first 16 bytes of s.
func addressAt(s string) netip.Addr { return netip.AddrFrom16([16]byte([]byte(s[:16]))) }

// portAt returns the port in the first 3 bytes of s, whose protocol may be invalid.
func portAt(s string) broker.Port {
	return broker.Port{Number: uint16(s[0])<<8 | uint16(s[1]), Protocol: broker.Protocol(s[2])}
}

// port returns the port that s begins with.
func (r *Reader) port(s string) broker.Value {
	p := portAt(s)
	if !p.Protocol.Valid() {
		r.fail("port protocol is %d, want 0 to 3", s[2])
		return broker.Value{}
	}
	return broker.PortValue(p)
}

// subnet returns the subnet that s begins with.
func (r *Reader) subnet(s string) broker.Value {
	a, bits := addressAt(s).Unmap(), int(s[16])
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
	p := netip.PrefixFrom(a, bits)
	r.unusual = r.unusual || p != p.Masked()
	return broker.Subnet(p)
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
	n := perItem * r.count(perItem, kind)
	if r.elements += n; r.elements > r.limit {
		r.fail("more than %d elements", r.limit)
	}
	if r.err != nil {
		return broker.Value{}
	}
	whole := r.keep && depth == 0 && n > 0
	if whole {
		n++ // room for the encoding
	}
	block := r.allocate(n)
	elems := block
	if whole {
		elems = block[1:]
	}
	if r.fill(elems, depth+1); r.err != nil {
		return broker.Value{}
	}
	var v broker.Value
	if kind == broker.KindVector {
		v = broker.Vector(elems...)
	} else {
		v = r.sorted(kind, elems)
	}
	if whole && !r.unusual && r.err == nil {
		broker.KeepEncoding(&v, block, r.data)
	}
	return v
}

// sorted returns the set or table of the elements.
func (r *Reader) sorted(kind broker.Kind, elems []broker.Value) broker.Value {
	make := broker.UniqueSet
	if kind == broker.KindTable {
		make = broker.UniqueTable
	}
	v, unique := make(elems)
	if !unique {
		r.fail("%s contains a duplicate", kind)
	}
	r.unusual = r.unusual || v.Reordered()
	return v
}
