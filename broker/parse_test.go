package broker_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

// plain returns the text that ParseValue converts to v.
func plain(v broker.Value) string {
	if s, ok := v.Text(); ok {
		return s
	}
	return v.String()
}

func TestParseValueIsInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := brokertest.Values().Filter(func(v broker.Value) bool { return v.Kind() < broker.KindSet }).Draw(t, "value")
		got, err := broker.ParseValue(v.Kind(), plain(v))
		if err != nil {
			t.Fatal(err)
		}
		if !broker.Equal(got, v) {
			t.Fatalf("%v became %v", v, got)
		}
	})
}

func TestParseValue(t *testing.T) {
	for _, tt := range []struct {
		kind broker.Kind
		text string
		want broker.Value
	}{
		{broker.KindNone, "", broker.None()},
		{broker.KindBoolean, "true", broker.Boolean(true)},
		{broker.KindBoolean, "F", broker.Boolean(false)},
		{broker.KindReal, "1", broker.Real(1)},
		{broker.KindReal, "-1e-7", broker.Real(-1e-7)},
		{broker.KindString, `"quoted"`, broker.String(`"quoted"`)},
		{broker.KindString, "", broker.String("")},
		{broker.KindSubnet, "10.1.2.3/8", broker.Subnet(prefix("10.0.0.0/8"))},
		{broker.KindPort, "0/unknown", broker.PortValue(broker.Port{})},
		{broker.KindTimestamp, "2026-11-22T11:00:00+01:00", broker.Timestamp(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))},
		{broker.KindTimespan, "1h30m", broker.Timespan(90 * time.Minute)},
	} {
		got, err := broker.ParseValue(tt.kind, tt.text)
		if err != nil || !broker.Equal(got, tt.want) {
			t.Errorf("ParseValue(%s, %q) = %v, error %v; want %v", tt.kind, tt.text, got, err, tt.want)
		}
	}
}

func TestParseValueErrors(t *testing.T) {
	for _, tt := range []struct {
		kind       broker.Kind
		text, want string
	}{
		{broker.KindNone, "x", "want empty text"},
		{broker.KindBoolean, "yes", `"yes" is not a valid boolean: want T or F`},
		{broker.KindCount, "-1", `"-1" is not a valid count: invalid syntax`},
		{broker.KindCount, "18446744073709551616", "value out of range"},
		{broker.KindInteger, "1.0", "invalid syntax"},
		{broker.KindReal, "1e999", "value out of range"},
		{broker.KindAddress, "fe80::1%eth0", "no zone"},
		{broker.KindAddress, "10.0.0.256", "not a valid address"},
		{broker.KindSubnet, "10.0.0.0", "no '/'"},
		{broker.KindPort, "80", "lacks a protocol"},
		{broker.KindTimestamp, "yesterday", "as in 2026-11-22T10:00:00Z"},
		{broker.KindTimestamp, "1500-01-01T00:00:00Z", "1677 to 2262"},
		{broker.KindTimespan, "90", "with a unit"},
		{broker.KindEnum, "", "want a label"},
		{broker.KindVector, "[]", "no text form"},
		{broker.Kind(15), "", "no text form"},
	} {
		_, err := broker.ParseValue(tt.kind, tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseValue(%s, %q): error %v, want %q", tt.kind, tt.text, err, tt.want)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	for _, text := range []string{"", "T", "42", "-7", "1.5", "10.0.0.1", "::/0", "80/tcp", "2026-11-22T10:00:00Z", "90s", "Conn::LOG"} {
		for k := broker.KindNone; k < broker.KindSet; k++ {
			f.Add(uint8(k), text)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		v, err := broker.ParseValue(broker.Kind(kind), text)
		if err != nil {
			return
		}
		again, err := broker.ParseValue(v.Kind(), plain(v))
		if err != nil || !broker.Equal(v, again) {
			t.Fatalf("%q is %v, which became %v, error %v", text, v, again, err)
		}
	})
}
