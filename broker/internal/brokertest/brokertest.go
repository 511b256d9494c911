// Package brokertest generates random values for property tests and reads the
// frames of recordings.
package brokertest

import (
	"encoding/binary"
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
)

// Values returns a generator of values of all 15 kinds, with containers nested
// a few levels deep.
func Values() *rapid.Generator[broker.Value] { return values(3) }

func values(depth int) *rapid.Generator[broker.Value] {
	scalars := []*rapid.Generator[broker.Value]{
		rapid.Just(broker.None()),
		rapid.Map(rapid.Bool(), broker.Boolean),
		rapid.Map(rapid.Uint64(), broker.Count),
		rapid.Map(rapid.Int64(), broker.Integer),
		rapid.Map(rapid.Float64(), broker.Real),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) broker.Value { return broker.String(string(b)) }),
		rapid.Map(addresses(), broker.Address),
		rapid.Custom(func(t *rapid.T) broker.Value {
			a := addresses().Draw(t, "address")
			return broker.Subnet(netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "length")))
		}),
		rapid.Custom(func(t *rapid.T) broker.Value {
			return broker.PortValue(broker.Port{
				Number:   rapid.Uint16().Draw(t, "number"),
				Protocol: broker.Protocol(rapid.Uint8Range(0, 3).Draw(t, "protocol")),
			})
		}),
		rapid.Map(rapid.Int64(), broker.TimestampNanos),
		rapid.Map(rapid.Int64(), func(n int64) broker.Value { return broker.Timespan(time.Duration(n)) }),
		rapid.Map(rapid.StringMatching(`[A-Z][a-z]*::[A-Z_]+`), broker.Enum),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	elems := rapid.SliceOfN(values(depth-1), 0, 4)
	return rapid.OneOf(append(scalars,
		rapid.Map(elems, func(v []broker.Value) broker.Value { return broker.Vector(v...) }),
		rapid.Map(elems, func(v []broker.Value) broker.Value { return broker.Set(v...) }),
		rapid.Map(elems, func(v []broker.Value) broker.Value {
			var entries []broker.Entry
			for i := 1; i < len(v); i += 2 {
				entries = append(entries, broker.Entry{Key: v[i-1], Value: v[i]})
			}
			return broker.Table(entries...)
		}),
	)...)
}

func addresses() *rapid.Generator[netip.Addr] {
	return rapid.OneOf(
		rapid.Map(rapid.Uint32(), func(n uint32) netip.Addr {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr {
			return netip.AddrFrom16([16]byte(b)).Unmap()
		}),
	)
}
