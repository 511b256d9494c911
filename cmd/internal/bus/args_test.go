package bus

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

func TestParseArg(t *testing.T) {
	addr := func(s string) broker.Value { return broker.Address(netip.MustParseAddr(s)) }
	for arg, want := range map[string]broker.Value{
		"none:":                       broker.None(),
		"bool:T":                      broker.Boolean(true),
		"count:42":                    broker.Count(42),
		"int:-7":                      broker.Integer(-7),
		"double:1.5":                  broker.Real(1.5),
		"real:1.5":                    broker.Real(1.5),
		"string:":                     broker.String(""),
		"string:a:b,c":                broker.String("a:b,c"),
		"enum:Conn::LOG":              broker.Enum("Conn::LOG"),
		"addr:::1":                    addr("::1"),
		"subnet:10.0.0.0/8":           broker.Subnet(netip.MustParsePrefix("10.0.0.0/8")),
		"port:80/tcp":                 broker.PortValue(broker.TCP(80)),
		"time:2026-11-22T10:00:00Z":   broker.Timestamp(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)),
		"interval:90s":                broker.Timespan(90 * time.Second),
		"enum-value:x":                broker.Enum("x"),
		"set[addr]:10.0.0.2,10.0.0.1": broker.Set(addr("10.0.0.1"), addr("10.0.0.2")),
		"set[count]:":                 broker.Set(),
		"vector[int]:2,1":             broker.Vector(broker.Integer(2), broker.Integer(1)),
		`json:{"@data-type":"vector","data":[{"@data-type":"count","data":1}]}`: broker.Vector(broker.Count(1)),
	} {
		got, err := ParseArg(arg)
		if err != nil || !broker.Equal(got, want) {
			t.Errorf("%s: got %v, error %v; want %v", arg, got, err, want)
		}
	}
}

func TestParseArgErrors(t *testing.T) {
	for arg, want := range map[string]string{
		"42":             `argument "42" has no type; write it as one of`,
		"conut:42":       `argument "conut:42": unknown type "conut"`,
		"count:x":        `argument "count:x": broker: "x" is not a valid count`,
		"set:":           `unknown type "set"`,
		"set[set]:1":     `unknown type "set"`,
		"set[count:1":    `unknown type "set[count"`,
		"set[count]:1,x": `"x" is not a valid count`,
		"list[count]:1":  `unknown type "list[count]"`,
		"vector[]:1":     `unknown type ""`,
		"json:{":         "malformed JSON",
	} {
		if _, err := ParseArg(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", arg, err, want)
		}
	}
}
