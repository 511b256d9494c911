package record_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/record"
)

// twoSteps does what UnmarshalBinary does, with a value in between.
func twoSteps(data []byte, into any) error {
	v, err := bin.Decode(data)
	if err != nil {
		return err
	}
	return record.Unmarshal(v, into)
}

func encoded(t testing.TB, v any) []byte {
	value, err := record.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return bin.Append(nil, value)
}

func unset() everything {
	e := sample()
	e.Opt, e.OptText, e.OptList, e.Later, e.Ours, e.AlsoOurs = nil, "", nil, broker.Port{}, "x", 7
	return e
}

func TestUnmarshalBinary(t *testing.T) {
	many := sample()
	for i := range 1000 {
		many.V = append(many.V, uint64(i))
	}
	for name, want := range map[string]everything{"full": sample(), "unset": unset(), "long vector": many} {
		t.Run(name, func(t *testing.T) {
			got := everything{OptText: "old", OptList: []string{"old"}, Later: broker.TCP(1)}
			if err := record.UnmarshalBinary(encoded(t, want), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compareValues, cmp.AllowUnexported(everything{}, base{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnmarshalBinaryErrors(t *testing.T) {
	long := bin.Append(nil, broker.Vector(broker.Address(netip.IPv6Loopback()), broker.PortValue(broker.TCP(1)), broker.Count(1)))
	var in inner
	if err := record.UnmarshalBinary(long, &in); err != nil {
		t.Errorf("surplus field: %v", err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":           {nil, "0 left"},
		"another kind":    {bin.Append(nil, broker.Count(1)), "want vector, got count"},
		"another field":   {bin.Append(nil, broker.Vector(broker.Count(1), broker.Count(1))), "a: want address, got count"},
		"too short":       {bin.Append(nil, broker.Vector(broker.Count(1))), "want a record of 2 fields, got 1"},
		"truncated":       {long[:len(long)-1], "count needs 8 bytes, 7 left"},
		"trailing byte":   {append(long[:len(long):len(long)], 0), "1 trailing bytes"},
		"count too large": {[]byte{byte(broker.KindVector), 0xff, 0x7f}, "count of vector is 16383, 0 bytes left"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := record.UnmarshalBinary(tt.data, &in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err := twoSteps(tt.data, &in); err == nil {
				t.Error("two steps have no error")
			}
		})
	}
	if err := record.UnmarshalBinary(long, in); err == nil {
		t.Error("no error for a variable that is no pointer")
	}
}

// UnmarshalBinary accepts what two steps accept, with the same result.
func FuzzUnmarshalBinary(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add(encoded(f, unset()))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want, got everything
		wantErr, err := twoSteps(data, &want), record.UnmarshalBinary(data, &got)
		if (wantErr == nil) != (err == nil) {
			t.Fatalf("got error %v, two steps have %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(encoded(t, want), encoded(t, got)); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

// connection is the record of Broker's benchmark.
type connection struct {
	Time  time.Time `zeek:"ts"`
	UID   string    `zeek:"uid"`
	ID    connID    `zeek:"id"`
	Proto string    `zeek:"proto,enum"`
	Text1 string
	Span  time.Duration
	N1    uint64
	N2    uint64
	State string
	Yes   bool
	No    bool
	N3    uint64
	Text2 string
	N4    uint64
	N5    uint64
	N6    uint64
	N7    uint64
	Set   []string `zeek:"tunnels,set"`
}

type connID struct {
	Orig     netip.Addr
	OrigPort broker.Port
	Resp     netip.Addr
	RespPort broker.Port
}

func BenchmarkUnmarshalRecord(b *testing.B) {
	data := bin.Append(nil, brokertest.Messages()[1].Value)
	for name, unmarshal := range map[string]func([]byte, any) error{
		"two-steps": twoSteps, "binary": record.UnmarshalBinary,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var c connection
				if err := unmarshal(data, &c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
