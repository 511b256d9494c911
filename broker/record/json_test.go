package record_test

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
)

type jsonColor string

func (c jsonColor) Valid() bool { return c == "RED" || c == "BLUE" }

type jsonInner struct {
	N uint64 `zeek:"n"`
}

type jsonOuter struct {
	jsonEmbedded
	Text     string            `zeek:"text"`
	Raw      string            `zeek:"raw,base64"`
	Color    jsonColor         `zeek:"color,enum=Paint"`
	Addr     netip.Addr        `zeek:"addr"`
	Net      netip.Prefix      `zeek:"net,optional"`
	Port     broker.Port       `zeek:"p"`
	Other    broker.Port       `zeek:"other"`
	When     time.Time         `zeek:"when"`
	Never    time.Time         `zeek:"never"`
	Long     time.Duration     `zeek:"long"`
	Real     float64           `zeek:"real"`
	Whole    int64             `zeek:"whole"`
	Yes      bool              `zeek:"yes"`
	Inner    *jsonInner        `zeek:"inner,optional"`
	Missing  *jsonInner        `zeek:"missing,optional"`
	Set      []string          `zeek:"set,set"`
	List     []jsonInner       `zeek:"list"`
	Table    map[string]string `zeek:"table"`
	Omitted  int               `zeek:"-"`
	Optional uint64            `zeek:"optional,optional"`
}

type jsonEmbedded struct {
	ID string `zeek:"id"`
}

func TestJSON(t *testing.T) {
	v := jsonOuter{
		jsonEmbedded: jsonEmbedded{"x"},
		Text:         "a\"b<\x00é", Raw: "\xff\x00", Color: "RED",
		Addr: netip.MustParseAddr("192.0.2.1"), Net: netip.MustParsePrefix("192.0.2.0/24"),
		Port: broker.TCP(80), Other: broker.Port{Number: 53, Protocol: broker.ProtocolUDP},
		When: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Long: 90 * time.Second, Real: 1.5, Whole: math.MinInt64, Yes: true,
		Inner: &jsonInner{math.MaxUint64}, Set: []string{"a", "b"}, List: []jsonInner{{1}, {2}}, Table: map[string]string{"b": "2", "a": "1"},
	}
	text, err := record.AppendJSON(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"x","text":"a\"b\u003c\u0000é","raw":"/wA=","color":"RED","addr":"192.0.2.1","net":"192.0.2.0/24","p":80,` +
		`"other":"53/udp","when":"2026-01-02T03:04:05.000000006Z","never":null,"long":"1m30s","real":1.5,"whole":-9223372036854775808,` +
		`"yes":true,"inner":{"n":18446744073709551615},"set":["a","b"],"list":[{"n":1},{"n":2}],"table":{"a":"1","b":"2"}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	var back jsonOuter
	if err := record.FromJSON(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, v) {
		t.Errorf("read back %+v\nwant %+v", back, v)
	}
}

func TestFromJSONFaults(t *testing.T) {
	for text, want := range map[string]record.Fault{
		`{"text":1}`:                      {Path: "text", Value: "1", Reason: "want a string"},
		`{"txet":"x"}`:                    {Path: "txet", Value: `"x"`, Reason: "unknown field"},
		`{"list":[{"n":1},{"n":-2}]}`:     {Path: "list[1].n", Value: "-2", Reason: "want a whole number that is not negative"},
		`{"inner":{"m":{}}}`:              {Path: "inner.m", Value: "{}", Reason: "unknown field"},
		`{"color":"GREEN"}`:               {Path: "color", Value: `"GREEN"`, Reason: "unknown value"},
		`{"addr":"localhost"}`:            {Path: "addr", Value: `"localhost"`, Reason: "want an IP address, such as 192.0.2.1"},
		`{"p":65536}`:                     {Path: "p", Value: "65536", Reason: "want a port: a number from 0 to 65535, or text such as 53/udp"},
		`{"raw":"?"}`:                     {Path: "raw", Reason: "want a string with base64"},
		`{"long":90}`:                     {Path: "long", Value: "90", Reason: "want a string with a duration, such as 1m30s"},
		`{"table":{"` + long + `":1}}`:    {Path: "table." + long[:100] + "...", Value: "1", Reason: "want a string"},
		`[]`:                              {Path: "", Value: "[]", Reason: "want an object"},
		`{"yes":true} {}`:                 {Reason: "invalid JSON: more text after the end"},
		``:                                {Reason: "invalid JSON: there is no text"},
		strings.Repeat(`{"inner":`, 5000): {Reason: "invalid JSON: unexpected EOF"},
	} {
		var v jsonOuter
		var faulty *record.JSONError
		if err := record.FromJSON([]byte(text), &v); !errors.As(err, &faulty) || faulty.Faults[0] != want {
			t.Errorf("%.80s: %+v, want %+v", text, err, want)
		}
	}
	var faulty *record.JSONError
	err := record.FromJSON([]byte(`{"list":[`+strings.Repeat(`"x",`, 100)+`"x"]}`), new(jsonOuter))
	if !errors.As(err, &faulty) || len(faulty.Faults) != record.MaxFaults {
		t.Errorf("%v, want %d faults", err, record.MaxFaults)
	}
	if err := record.ReadJSON([]byte(`{"id":"x","new":1}`), new(jsonOuter)); err != nil {
		t.Errorf("a field of a newer program: %v", err)
	}
	if _, err := record.AppendJSON(nil, struct{ V broker.Value }{}); err == nil {
		t.Error("a broker.Value has no error")
	}
}

var long = strings.Repeat("x", 200)

// FuzzFromJSON checks that no text makes FromJSON panic, and that what it reads can be
// written and read again.
func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"id":"x","list":[{"n":1}],"table":{"a":"b"},"p":"53/udp","when":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var v, again jsonOuter
		if record.FromJSON(text, &v) != nil {
			return
		}
		first, err := record.AppendJSON(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if err := record.FromJSON(first, &again); err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		second, err := record.AppendJSON(nil, again)
		if err != nil || string(first) != string(second) {
			t.Errorf("%s\nbecame %s, %v", first, second, err)
		}
	})
}
