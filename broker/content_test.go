package broker_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

func TestScalar(t *testing.T) {
	type content struct {
		kind      broker.Kind
		bits, low uint64
		aux       uint8
		text      string
	}
	const mapped = 0xffff<<32 | 192<<24 | 2<<8 | 1
	for _, tt := range []struct {
		v    broker.Value
		want content
	}{
		{broker.None(), content{}},
		{broker.Boolean(true), content{kind: broker.KindBoolean, bits: 1}},
		{broker.Count(7), content{kind: broker.KindCount, bits: 7}},
		{broker.Integer(-1), content{kind: broker.KindInteger, bits: math.MaxUint64}},
		{broker.Real(1), content{kind: broker.KindReal, bits: 0x3ff << 52}},
		{broker.String("a"), content{kind: broker.KindString, text: "a"}},
		{broker.Enum("A::B"), content{kind: broker.KindEnum, text: "A::B"}},
		{broker.Address(netip.MustParseAddr("192.0.2.1")), content{kind: broker.KindAddress, low: mapped}},
		{broker.Address(netip.MustParseAddr("1::2")), content{kind: broker.KindAddress, bits: 1 << 48, low: 2}},
		{broker.Subnet(netip.MustParsePrefix("192.0.2.1/32")), content{kind: broker.KindSubnet, low: mapped, aux: 128}},
		{broker.PortValue(broker.TCP(80)), content{kind: broker.KindPort, bits: 80, aux: uint8(broker.ProtocolTCP)}},
		{broker.TimestampNanos(5), content{kind: broker.KindTimestamp, bits: 5}},
		{broker.Timespan(time.Second), content{kind: broker.KindTimespan, bits: 1e9}},
	} {
		var got content
		if got.kind, got.bits, got.low, got.aux, got.text = broker.Scalar(&tt.v); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.v, got, tt.want)
		}
		if broker.Elements(&tt.v) != nil {
			t.Errorf("%v has elements", tt.v)
		}
	}
}

func TestElements(t *testing.T) {
	one, two := broker.Count(1), broker.Count(2)
	for _, v := range []broker.Value{
		broker.Vector(one, two), broker.Set(two, one), broker.Table(broker.Entry{Key: one, Value: two}),
	} {
		if got := broker.Elements(&v); len(got) != 2 || !broker.Equal(got[0], one) || !broker.Equal(got[1], two) {
			t.Errorf("%v: %v", v, got)
		}
	}
	if empty := broker.Vector(); len(broker.Elements(&empty)) != 0 {
		t.Error("an empty vector has elements")
	}
}
