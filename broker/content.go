package broker

// Scalar returns the kind of v and its content, in the form that encodings need:
//
//   - bits has the bits of a number, IEEE 754 for a real, nanoseconds for times, 0 or 1 for a
//     boolean, the number of a port, or the upper half of an address in the form of IPv6.
//   - low is the lower half of an address.
//   - aux is the protocol of a port, or the length of a subnet, relative to 128 bits.
//   - text is a string, or the label of an enum value.
//
// Everything else is zero. Only the kind of a container has a meaning. Scalar takes a
// pointer because encoders would otherwise spend most of their time on copies of values.
func Scalar(v *Value) (kind Kind, bits, low uint64, aux uint8, text string) {
	return v.kind, v.hi, v.lo, v.aux, v.bytes()
}

// Elements returns the elements of a set or vector, or alternately the keys and values of a
// table, in order, and nil for other kinds. It does not copy them, so the caller must not
// change them.
func Elements(v *Value) []Value { return v.elems() }
