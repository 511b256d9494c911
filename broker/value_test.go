package broker_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

func TestValueIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(broker.Value{}); size > 32 {
		t.Errorf("a Value has %d bytes", size)
	}
}

func TestScalarsDoNotAllocate(t *testing.T) {
	a := addr("10.0.0.1")
	now := time.Now()
	var sink broker.Value
	if n := testing.AllocsPerRun(100, func() {
		sink = broker.Count(1)
		sink = broker.Real(1.5)
		sink = broker.String("text")
		sink = broker.Address(a)
		sink = broker.PortValue(broker.TCP(80))
		sink = broker.Timestamp(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = sink
}

// The order is Broker's: first by kind, then by content.
func TestOrder(t *testing.T) {
	ascending := []broker.Value{
		broker.None(),
		broker.Boolean(false), broker.Boolean(true),
		broker.Count(0), broker.Count(math.MaxUint64),
		broker.Integer(math.MinInt64), broker.Integer(-1), broker.Integer(0), broker.Integer(math.MaxInt64),
		broker.Real(math.NaN()), broker.Real(math.Inf(-1)), broker.Real(-1), broker.Real(0), broker.Real(math.Inf(1)),
		broker.String(""), broker.String("\x00"), broker.String("a"), broker.String("aa"), broker.String("b"), broker.String("\xff"),
		broker.Address(addr("::")), broker.Address(addr("0.0.0.0")), broker.Address(addr("10.0.0.2")), broker.Address(addr("2001:db8::")),
		broker.Subnet(prefix("::/0")), broker.Subnet(prefix("10.0.0.0/8")), broker.Subnet(prefix("10.0.0.0/16")), broker.Subnet(prefix("11.0.0.0/8")),
		broker.PortValue(broker.Port{}), broker.PortValue(broker.TCP(53)), broker.PortValue(broker.Port{Number: 53, Protocol: broker.ProtocolUDP}), broker.PortValue(broker.TCP(80)),
		broker.TimestampNanos(-1), broker.TimestampNanos(0), broker.TimestampNanos(1),
		broker.Timespan(-1), broker.Timespan(0), broker.Timespan(time.Second),
		broker.Enum("A"), broker.Enum("B"),
		broker.Set(), broker.Set(broker.Count(1)), broker.Set(broker.Count(1), broker.Count(2)), broker.Set(broker.Count(2)),
		broker.Table(), broker.Table(broker.Entry{Key: broker.Count(1), Value: broker.Count(1)}), broker.Table(broker.Entry{Key: broker.Count(1), Value: broker.Count(2)}),
		broker.Vector(), broker.Vector(broker.None()), broker.Vector(broker.None(), broker.None()), broker.Vector(broker.Count(1)),
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := broker.Compare(a, b); got != want {
				t.Errorf("Compare(%v, %v) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := brokertest.Values()
		a, b, c := g.Draw(t, "a"), g.Draw(t, "b"), g.Draw(t, "c")
		if broker.Compare(a, a) != 0 {
			t.Fatalf("%v differs from itself", a)
		}
		if broker.Compare(a, b) != -broker.Compare(b, a) {
			t.Fatalf("%v and %v: order is not antisymmetric", a, b)
		}
		if broker.Compare(a, b) <= 0 && broker.Compare(b, c) <= 0 && broker.Compare(a, c) > 0 {
			t.Fatalf("%v, %v, %v: order is not transitive", a, b, c)
		}
	})
}

func TestSetsAreCanonical(t *testing.T) {
	s := broker.Set(broker.Count(2), broker.Boolean(true), broker.Count(1), broker.Count(2))
	if got, want := s.String(), "{T, 1, 2}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	table := broker.Table(
		broker.Entry{Key: broker.Count(2), Value: broker.String("b")},
		broker.Entry{Key: broker.Count(1), Value: broker.String("a")},
		broker.Entry{Key: broker.Count(2), Value: broker.String("c")},
	)
	if got, want := table.String(), `{1 -> "a", 2 -> "b"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, ok := broker.UniqueSet([]broker.Value{broker.Count(2), broker.Count(1), broker.Count(2)}); ok {
		t.Error("UniqueSet accepts a duplicate")
	}
	if _, ok := broker.UniqueTable([]broker.Value{broker.Count(2), broker.None(), broker.Count(1), broker.None(), broker.Count(2), broker.None()}); ok {
		t.Error("UniqueTable accepts a duplicate")
	}
}

func TestSubnetIsMasked(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"10.1.2.3/32", "10.1.2.3/32"},
		{"10.1.2.3/0", "0.0.0.0/0"},
		{"2001:db8::1/32", "2001:db8::/32"},
		{"2001:db8::1/64", "2001:db8::/64"},
		{"2001:db8::1/128", "2001:db8::1/128"},
		{"2001:db8::1/0", "::/0"},
	} {
		if got := broker.Subnet(prefix(tt.in)).String(); got != tt.want {
			t.Errorf("Subnet(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestTimestampSaturates(t *testing.T) {
	for _, tt := range []struct {
		in   time.Time
		want int64
	}{
		{time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), math.MinInt64},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64},
		{time.Unix(1, 5), 1_000_000_005},
	} {
		if got := broker.Timestamp(tt.in); !broker.Equal(got, broker.TimestampNanos(tt.want)) {
			t.Errorf("Timestamp(%v) = %v", tt.in, got)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		value broker.Value
		want  string
	}{
		{broker.None(), "nil"},
		{broker.Boolean(true), "T"},
		{broker.Count(42), "42"},
		{broker.Integer(-7), "-7"},
		{broker.Real(1), "1.0"},
		{broker.Real(1e-9), "1e-09"},
		{broker.Real(math.Inf(-1)), "-inf"},
		{broker.Real(math.NaN()), "nan"},
		{broker.String("a\"\xff\n"), `"a\"\xff\n"`},
		{broker.Address(addr("10.0.0.1")), "10.0.0.1"},
		{broker.PortValue(broker.Port{}), "0/?"},
		{broker.TimestampNanos(1234567890), "1970-01-01T00:00:01.23456789Z"},
		{broker.Timespan(90 * time.Second), "1m30s"},
		{broker.Enum("Conn::LOG"), "Conn::LOG"},
		{broker.Vector(broker.Count(1), broker.None()), "[1, nil]"},
		{broker.NewEvent("M::e", broker.Count(1)).Value(), `[1, 1, ["M::e", [1]]]`},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestParsePort(t *testing.T) {
	for _, s := range []string{"80/tcp", "53/udp", "8/icmp", "0/?"} {
		p, err := broker.ParsePort(s)
		if err != nil || p.String() != s {
			t.Errorf("ParsePort(%q) = %v, %v", s, p, err)
		}
	}
	if p, err := broker.ParsePort("0/unknown"); err != nil || p != (broker.Port{}) {
		t.Errorf("0/unknown = %v, %v", p, err)
	}
	for _, s := range []string{"", "80", "80/", "65536/tcp", "-1/tcp", "80/sctp"} {
		if p, err := broker.ParsePort(s); err == nil {
			t.Errorf("ParsePort(%q) = %v, want an error", s, p)
		}
	}
}

func TestFilter(t *testing.T) {
	f := broker.NewFilter("zeek/b", "zeek/a/x", "zeek/a", "zeek/b", "zeek/ab")
	if want := (broker.Filter{"zeek/a", "zeek/b"}); !f.Equal(want) {
		t.Errorf("got %v, want %v", f, want)
	}
	for topic, want := range map[string]bool{"zeek/a": true, "zeek/abc": true, "zeek/c": false, "": false} {
		if got := f.Matches(topic); got != want {
			t.Errorf("Matches(%q) = %v", topic, got)
		}
	}
	if !broker.NewFilter("").Matches("anything") || broker.NewFilter().Matches("") {
		t.Error("the empty prefix must match every topic, the empty filter none")
	}
}

// Matches looks at a single entry of a long filter, so that its cost does not
// grow with the number of subscriptions. The test compares it with a search of
// all entries.
func TestFilterMatchesAnyPrefix(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab/")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		prefixes, topic := rapid.SliceOf(text).Draw(t, "prefixes"), text.Draw(t, "topic")
		want := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(topic, p) })
		if got := broker.NewFilter(prefixes...).Matches(topic); got != want {
			t.Fatalf("Matches(%q) of %q = %v", topic, prefixes, got)
		}
	})
}

func TestMemory(t *testing.T) {
	const value = 32
	for _, tt := range []struct {
		v    broker.Value
		want int
	}{
		{broker.None(), 0},
		{broker.Count(1), 0},
		{broker.String("text"), 4},
		{broker.Vector(make([]broker.Value, 1000)...), 1000 * value},
		{broker.Vector(broker.Vector(broker.String("abc")), broker.Count(1)), 3*value + 3},
		{broker.Set(broker.Count(1), broker.Count(2)), 2 * value},
	} {
		if got := tt.v.Memory(); got != tt.want {
			t.Errorf("%.50s takes %d bytes, want %d", tt.v, got, tt.want)
		}
	}
}
