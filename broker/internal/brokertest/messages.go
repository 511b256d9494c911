package brokertest

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// Messages returns the three messages of Broker's own benchmarks
// (tests/benchmarks/serialization), in this order: two values ("small"), a record
// like a line of conn.log ("record"), and a table of 100 sets ("table"). They are
// the same for each call. Numbers and strings are random, as in Broker.
func Messages() []NamedValue {
	r := random{rand.New(rand.NewPCG(0xB7E57, 0))}
	return []NamedValue{
		{"small", broker.Vector(broker.Integer(42), broker.String("test"))},
		{"record", r.record()},
		{"table", broker.Vector(broker.Timestamp(time.Unix(100, 0)), r.table())},
	}
}

// NamedValue is a value with a name for a sub-benchmark.
type NamedValue struct {
	Name  string
	Value broker.Value
}

type random struct{ *rand.Rand }

func (r random) record() broker.Value {
	vector := broker.Vector(
		broker.Address(netip.AddrFrom4([4]byte{1, 2, 3, 4})), broker.PortValue(broker.TCP(4567)),
		broker.Address(netip.AddrFrom4([4]byte{3, 4, 5, 6})), broker.PortValue(broker.TCP(80)),
	)
	return broker.Vector(
		broker.Timestamp(time.Unix(100, 0)), r.text(10), vector, broker.Enum("tcp"), r.text(10),
		broker.Timespan(3140*time.Millisecond), r.count(), r.count(), r.text(5),
		broker.Boolean(true), broker.Boolean(false), r.count(), r.text(10),
		r.count(), r.count(), r.count(), r.count(), broker.Set(r.text(10), r.text(10)),
	)
}

func (r random) table() broker.Value {
	entries := make([]broker.Entry, 100)
	for i := range entries {
		set := make([]broker.Value, 10)
		for j := range set {
			set[j] = r.text(5)
		}
		entries[i] = broker.Entry{Key: r.text(15), Value: broker.Set(set...)}
	}
	return broker.Table(entries...)
}

func (r random) count() broker.Value { return broker.Count(r.Uint64()) }

func (r random) text(n int) broker.Value {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return broker.String(string(b))
}
