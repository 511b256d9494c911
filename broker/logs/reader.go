package logs

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// reader decodes the data of a record. Numbers are big endian and doubles have
// the IEEE 754 format, unlike in Broker values (Zeek:
// BinarySerializationFormat). After the first failure, it returns zero values.
type reader struct {
	data string
	pos  int
	err  error
}

// minValue is the size of the smallest value, an unset one, in bytes.
const minValue = 4 + 4 + 1

// failAt reports a failure at the given offset.
func (r *reader) failAt(at int, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: %s", at, fmt.Sprintf(format, args...))
	}
}

// record decodes a record of s, or a record with values of any types if s is
// nil.
func (r *reader) record(s *Stream) []broker.Value {
	n := int64(int32(r.uint32("number of fields")))
	switch {
	case r.err != nil:
		return nil
	case s != nil && n != int64(len(s.Fields)):
		r.failAt(0, "record of %d fields, want %d", n, len(s.Fields))
		return nil
	case n < 0 || n > MaxFields:
		r.failAt(0, "record of %d fields, limit is %d", n, MaxFields)
		return nil
	case n*minValue > int64(len(r.data)-r.pos):
		r.failAt(0, "record of %d fields in %d bytes", n, len(r.data)-r.pos)
		return nil
	}
	values := make([]broker.Value, n)
	for i := range values {
		var f *Field
		if s != nil {
			f = &s.Fields[i]
		}
		values[i] = r.field(f)
		if r.err != nil {
			name := fmt.Sprint(i)
			if f != nil {
				name = f.Name
			}
			r.err = fmt.Errorf("field %.80s: %w", name, r.err)
			return nil
		}
	}
	if r.pos < len(r.data) {
		r.failAt(r.pos, "%d trailing bytes", len(r.data)-r.pos)
	}
	return values
}

// field decodes a value of a record. It must have the type of f unless f is
// nil.
func (r *reader) field(f *Field) broker.Value {
	at := r.pos
	typ, present := r.head()
	if !present {
		return broker.None()
	}
	if f != nil && typ != f.Type {
		r.failAt(at, "type is %s, want %s", typ, f.Type)
		return broker.None()
	}
	if !typ.isContainer() {
		return r.atom(at, typ)
	}
	count := r.uint64("number of elements")
	if r.err == nil && count > uint64(len(r.data)-r.pos)/minValue {
		r.failAt(at, "%s of %d elements in %d bytes", typ, int64(count), len(r.data)-r.pos)
	}
	if r.err != nil {
		return broker.None()
	}
	elems := make([]broker.Value, count)
	for i := range elems {
		at := r.pos
		elem, present := r.head()
		if present && f != nil && elem != f.Subtype {
			r.failAt(at, "type of element %d is %s, want %s", i, elem, f.Subtype)
		}
		if present {
			elems[i] = r.atom(at, elem)
		}
		if r.err != nil {
			return broker.None()
		}
	}
	if typ == TypeSet {
		return broker.Set(elems...)
	}
	return broker.Vector(elems...)
}

// head decodes the beginning of a value: type, subtype and presence. The
// subtype is ignored, because Zeek uses it only for reading files.
func (r *reader) head() (Type, bool) {
	at := r.pos
	typ := r.uint32("type")
	r.uint32("subtype")
	present := r.uint8("presence")
	switch {
	case r.err != nil:
	case typ > 255:
		r.failAt(at, "type is %d", typ)
	case present > 1:
		r.failAt(r.pos-1, "presence is %d, want 0 or 1", present)
	}
	return Type(typ), present == 1 && r.err == nil
}

// atom decodes the content of a value that is not a container. The value
// begins at offset at.
func (r *reader) atom(at int, typ Type) broker.Value {
	switch typ {
	case TypeBool:
		return broker.Boolean(r.uint64("bool") != 0)
	case TypeInt:
		return broker.Integer(int64(r.uint64("int")))
	case TypeCount:
		return broker.Count(r.uint64("count"))
	case TypeDouble:
		return broker.Real(r.double())
	case TypeTime:
		return broker.TimestampNanos(r.seconds())
	case TypeInterval:
		return broker.Timespan(time.Duration(r.seconds()))
	case TypeEnum:
		return broker.Enum(r.text())
	case TypeString, TypeFunc, TypeFile:
		return broker.String(r.text())
	case TypePort:
		number, protocol := r.uint64("port"), r.uint32("protocol")
		if r.err == nil && (number > math.MaxUint16 || protocol > uint32(broker.ProtocolICMP)) {
			r.failAt(at, "port %d with protocol %d", number, protocol)
		}
		if r.err != nil {
			return broker.None()
		}
		return broker.PortValue(broker.Port{Number: uint16(number), Protocol: broker.Protocol(protocol)})
	case TypeAddr:
		return broker.Address(r.address())
	case TypeSubnet:
		return r.subnet(at)
	default:
		r.failAt(at, "%s is not valid here", typ)
		return broker.None()
	}
}

// subnet decodes a length and an address. The length counts from the start of
// the 128-bit address, even for IPv4.
func (r *reader) subnet(at int) broker.Value {
	bits, a := int(r.uint8("subnet length")), r.address()
	if r.err != nil {
		return broker.None()
	}
	if a.Is4() {
		bits -= 96
	}
	p, err := a.Prefix(bits)
	if err != nil {
		r.failAt(at, "subnet %s with a length of %d bits", a, bits)
		return broker.None()
	}
	return broker.Subnet(p)
}

func (r *reader) address() netip.Addr {
	at := r.pos
	switch family := r.uint8("address family"); {
	case r.err != nil:
	case family == 4:
		if s := r.bytes(4, "IPv4 address"); s != "" {
			return netip.AddrFrom4([4]byte([]byte(s)))
		}
	case family == 6:
		if s := r.bytes(16, "IPv6 address"); s != "" {
			return netip.AddrFrom16([16]byte([]byte(s)))
		}
	default:
		r.failAt(at, "address family is %d, want 4 or 6", family)
	}
	return netip.Addr{}
}

func (r *reader) text() string {
	at := r.pos
	n := r.uint32("length")
	if r.err == nil && uint64(n) > uint64(len(r.data)-r.pos) {
		r.failAt(at, "text of %d bytes, %d left", n, len(r.data)-r.pos)
	}
	return r.bytes(int(n), "text")
}

func (r *reader) double() float64 { return math.Float64frombits(r.uint64("double")) }

// seconds decodes a time or an interval, which Zeek stores in seconds, and
// returns the nearest number of nanoseconds.
func (r *reader) seconds() int64 {
	at := r.pos
	f := r.double()
	whole, fraction := math.Modf(f)
	const limit = math.MaxInt64 / 1_000_000_000
	if !(whole > -limit && whole < limit) { // also excludes NaN
		r.failAt(at, "%v seconds do not fit 64 bits of nanoseconds", f)
		return 0
	}
	return int64(whole)*1e9 + int64(math.Round(fraction*1e9))
}

func (r *reader) bytes(n int, name string) string {
	if r.err != nil {
		return ""
	}
	if n > len(r.data)-r.pos {
		r.failAt(r.pos, "%s needs %d bytes, %d left", name, n, len(r.data)-r.pos)
		return ""
	}
	r.pos += n
	return r.data[r.pos-n : r.pos]
}

func (r *reader) uint8(name string) uint8 {
	if s := r.bytes(1, name); s != "" {
		return s[0]
	}
	return 0
}

func (r *reader) uint32(name string) uint32 {
	if s := r.bytes(4, name); s != "" {
		return binary.BigEndian.Uint32([]byte(s))
	}
	return 0
}

func (r *reader) uint64(name string) uint64 {
	if s := r.bytes(8, name); s != "" {
		return binary.BigEndian.Uint64([]byte(s))
	}
	return 0
}
