package record

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
)

// maxShared is the size of the largest encoding, in bytes, whose strings share one copy
// of it. In a larger one each string is copied, so that it does not retain the others.
const maxShared = 4 << 10

// UnmarshalBinary stores the value encoded in data in the variable that into points to;
// into must be a non-nil pointer. It has the result of bin.Decode and Unmarshal, but
// makes no broker.Value of most values. The variable does not share memory with data; its
// strings share a copy of data if that has at most 4 KiB. The error is that of bin.Decode
// or an *Error, and then the variable may be partly written.
func UnmarshalBinary(data []byte, into any) error {
	r := bin.NewReader(data)
	if err := Read(r, into); err != nil {
		return err
	}
	return r.Close()
}

// Read reads one value from r and stores it like UnmarshalBinary.
func Read(r *bin.Reader, into any) error {
	rv, err := variable(into)
	if err != nil {
		return err
	}
	m, err := mapperOf(rv.Type())
	if err != nil {
		return err
	}
	merr := m.decode(r, rv.Addr().UnsafePointer())
	if err := r.Err(); err != nil {
		return err
	}
	if merr != nil {
		return merr
	}
	return nil
}

// reader reads a value and stores it at p, in a variable of the mapper's type. The
// result ok is false if the value is of another kind, or unusual; then nothing was read.
type reader func(r *bin.Reader, p unsafe.Pointer) (ok bool, err *Error)

// reads sets the mapper's reader.
func (m *mapper) reads(read reader) *mapper {
	m.read = read
	return m
}

// decode reads a value and stores it at p, in a variable of the mapper's type. If the
// mapper's reader cannot read it, it does so by way of a broker.Value.
func (m *mapper) decode(r *bin.Reader, p unsafe.Pointer) *Error {
	if m.read != nil {
		if ok, err := m.read(r, p); ok || err != nil {
			return err
		}
	}
	v := r.Value()
	if r.Err() != nil {
		return &Error{Reason: "malformed"} // the error of r has the details
	}
	return m.unmarshal(v, reflect.NewAt(m.typ, p).Elem())
}

func readBoolean(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
	b, ok := r.Boolean()
	if ok {
		*(*bool)(p) = b
	}
	return ok, nil
}

// reads64 sets the reader of a count or an integer if t has 64 bits. Others may overflow.
func (m *mapper) reads64(t reflect.Type, kind broker.Kind) *mapper {
	if t.Size() != 8 {
		return m
	}
	return m.reads(read64(kind))
}

// read64 returns the reader of a kind that Go represents by the same 64 bits.
func read64(kind broker.Kind) reader {
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		n, ok := r.Uint64(kind)
		if ok {
			*(*uint64)(p) = n
		}
		return ok, nil
	}
}

func readTime(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
	n, ok := r.Uint64(broker.KindTimestamp)
	if ok {
		*(*time.Time)(p), _ = broker.TimestampNanos(int64(n)).Timestamp()
	}
	return ok, nil
}

func readAddress(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
	a, ok := r.Address()
	if ok {
		*(*netip.Addr)(p) = a
	}
	return ok, nil
}

func readPort(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
	port, ok := r.Port()
	if ok {
		*(*broker.Port)(p) = port
	}
	return ok, nil
}

// readText returns the reader of a string or of an enum of any label.
func readText(kind broker.Kind) reader {
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		s, ok := r.ShortText(kind)
		if !ok {
			return false, nil
		}
		if r.Size() > maxShared {
			s = strings.Clone(s)
		}
		*(*string)(p) = s
		return true, nil
	}
}

// readLabel returns the reader of an enum that reads labels in known.
func readLabel(known *memo) reader {
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		start := *r
		label, ok := r.ShortText(broker.KindEnum)
		if ok {
			if *(*string)(p), ok = known.get(label); !ok {
				*r = start
			}
		}
		return ok, nil
	}
}

func readPointer(t reflect.Type, elem *mapper) reader {
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		pointer := reflect.NewAt(t, p).Elem()
		if r.None() {
			pointer.SetZero()
			return true, nil
		}
		pointer.Set(reflect.New(t.Elem()))
		return true, elem.decode(r, pointer.UnsafePointer())
	}
}

// readSlice returns the reader of a vector, or of a set of strings in their order. It is
// nil for other sets.
func readSlice(t reflect.Type, elem *mapper, o fieldOptions) reader {
	kind := broker.KindVector
	if o.set {
		if kind = broker.KindSet; t.Elem().Kind() != reflect.String || o.enum {
			return nil
		}
	}
	size := t.Elem().Size()
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		start := *r
		n, ok := r.Elements(kind)
		if !ok {
			return false, nil
		}
		s := reflect.MakeSlice(t, n, n)
		for i := range n {
			if err := elem.decode(r, unsafe.Add(s.UnsafePointer(), uintptr(i)*size)); err != nil {
				return false, err.at(i)
			}
		}
		if o.set && !ascending(s) {
			*r = start
			return false, nil
		}
		r.EndElements()
		reflect.NewAt(t, p).Elem().Set(s)
		return true, nil
	}
}

// ascending reports whether the strings of s are in the order of a set.
func ascending(s reflect.Value) bool {
	for i := 1; i < s.Len(); i++ {
		if s.Index(i-1).String() >= s.Index(i).String() {
			return false
		}
	}
	return true
}

func readStruct(fields []field, required int) reader {
	return func(r *bin.Reader, p unsafe.Pointer) (bool, *Error) {
		start := *r
		n, ok := r.Elements(broker.KindVector)
		if !ok || n < required {
			*r = start
			return false, nil
		}
		for i := range fields {
			f := &fields[i]
			at := unsafe.Add(p, f.offset)
			if i >= n || f.optional && r.None() {
				reflect.NewAt(f.typ, at).Elem().SetZero()
				continue
			}
			if err := f.decode(r, at); err != nil {
				return false, err.in(f.name)
			}
		}
		for i := len(fields); i < n && r.Err() == nil; i++ {
			r.Value() // a field that the struct does not have
		}
		r.EndElements()
		return true, nil
	}
}
