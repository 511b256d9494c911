package bus

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
)

var peer = broker.Peer{
	ID:   uuid.MustParse("11111111-1111-4111-8111-111111111111"),
	Addr: netip.MustParseAddrPort("10.0.0.1:9999"),
}

func announced(name string, t logs.Type) broker.Value {
	return broker.Vector(broker.String(name), broker.None(), broker.Count(uint64(t)), broker.Count(0), broker.Boolean(false))
}

var (
	conn = broker.LogCreate{
		Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", WriterInfo: broker.Vector(broker.String("conn")),
		Fields: broker.Vector(announced("uid", logs.TypeString), announced("note", logs.TypeString), announced("b", logs.TypeCount)),
	}
	record = broker.LogWrite{
		Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", Path: "conn", Data: "\x00\x00\x00\x03" +
			"\x00\x00\x00\x07\x00\x00\x00\x00\x01\x00\x00\x00\x03C\"7" +
			"\x00\x00\x00\x07\x00\x00\x00\x00\x00" +
			"\x00\x00\x00\x03\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x2a",
	}
)

func TestPrint(t *testing.T) {
	const head = "2026-11-22T10:00:00.000001Z 10.0.0.1:9999 zeek/x "
	const jsonHead = `{"time":"2026-11-22T10:00:00.000001Z","peer":"10.0.0.1:9999",` +
		`"endpoint":"11111111-1111-4111-8111-111111111111","topic":"zeek/x",`
	now := time.Date(2026, 11, 22, 10, 0, 0, 1000, time.UTC)
	event := broker.NewEvent("hello", broker.Count(1), broker.String("a\n"))
	event.Metadata = []broker.Metadata{{Key: broker.MetadataNetworkTimestamp, Value: broker.Timestamp(now)}}
	bad := record
	bad.Data = "x"
	unknown := record
	unknown.Path = "other"
	for _, tt := range []struct {
		name       string
		value      broker.Value
		text, json string // one line for each message
	}{
		{"event", event.Value(), `hello(1, "a\n")`,
			`"event":"hello","args":[{"@data-type":"count","data":1},{"@data-type":"string","data":"a\n"}],` +
				`"network_time":{"@data-type":"timestamp","data":"2026-11-22T10:00:00.000001"}}`},
		{"event with control characters", broker.NewEvent("a\x1b[2J\xff").Value(), "a\ufffd[2J\ufffd()", `"event":"a` + "\ufffd[2J\ufffd" + `","args":[]}`},
		{"value", broker.String("x"), `"x"`, `"value":{"@data-type":"string","data":"x"}}`},
		{"identifier update", broker.IdentifierUpdate{ID: "x", NewValue: broker.Count(1)}.Value(), "x = 1",
			`"id":"x","value":{"@data-type":"count","data":1}}`},
		{"logs", broker.Batch{conn, record}.Value(),
			"Conn::LOG conn has uid:string note:string b:count\n" + `Conn::LOG conn uid="C\"7" b=42`,
			`"log":"Conn::LOG","path":"conn","columns":[{"name":"uid","type":"string"},{"name":"note","type":"string"},{"name":"b","type":"count"}]}` + "\n" +
				`"log":"Conn::LOG","path":"conn","fields":{"uid":{"@data-type":"string","data":"C\"7"},"b":{"@data-type":"count","data":42}}}`},
		{"log of unknown columns", unknown.Value(), `Conn::LOG other ["C\"7", nil, 42]`,
			`"log":"Conn::LOG","path":"other","values":[{"@data-type":"string","data":"C\"7"},{"@data-type":"none","data":{}},{"@data-type":"count","data":42}]}`},
		{"malformed log", bad.Value(), "Conn::LOG conn (logs: unknown log stream: Conn::LOG by Log::WRITER_ASCII at conn)", `"log":"Conn::LOG","path":"conn"}`},
		{"empty batch", broker.Batch{}.Value(), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for asJSON, want := range map[bool]string{false: tt.text, true: tt.json} {
				var out, expected strings.Builder
				p := NewPrinter(&out)
				p.JSON, p.filter, p.now = asJSON, broker.NewFilter("zeek/"), func() time.Time { return now }
				n, err := p.print(broker.Received{Peer: peer, Message: broker.Message{Topic: "zeek/x", Value: tt.value}}, 0)
				if err != nil {
					t.Fatal(err)
				}
				lines := 0
				for line := range strings.Lines(want) {
					lines++
					if asJSON {
						expected.WriteString(jsonHead + strings.TrimSuffix(line, "\n") + "\n")
					} else {
						expected.WriteString(head + strings.TrimSuffix(line, "\n") + "\n")
					}
				}
				if diff := cmp.Diff(expected.String(), out.String()); diff != "" {
					t.Error(diff)
				}
				if n != lines {
					t.Errorf("%d lines, want %d", n, lines)
				}
			}
		})
	}
}

// TestPrintFilter checks that announcements of other log streams are noted but
// not printed, and that a batch is cut at the limit.
func TestPrintFilter(t *testing.T) {
	var out strings.Builder
	p := NewPrinter(&out)
	p.filter = broker.NewFilter("zeek/logs/Conn::LOG/other")
	receive := func(topic string, v broker.Value, limit int) int {
		n, err := p.print(broker.Received{Peer: peer, Message: broker.Message{Topic: topic, Value: v}}, limit)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := receive("zeek/logs/Conn::LOG", conn.Value(), 0); n != 0 || out.Len() != 0 {
		t.Errorf("%d lines: %s", n, out.String())
	}
	if n := receive("zeek/logs/Conn::LOG/other", broker.Batch{record, record, record}.Value(), 2); n != 2 ||
		strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), "b=42") {
		t.Errorf("%d lines: %s", n, out.String())
	}
}

// TestJSONRoundTrip checks that the JSON that subscribe prints can be published
// as an argument.
func TestJSONRoundTrip(t *testing.T) {
	scalars := []broker.Value{
		broker.None(), broker.Boolean(true), broker.Count(math.MaxUint64), broker.Integer(math.MinInt64),
		broker.Real(1), broker.Real(1e-9), broker.String("a\v\"\\<\u00e9\x00"), broker.Enum("Conn::LOG"),
		broker.Address(netip.MustParseAddr("::1")), broker.Subnet(netip.MustParsePrefix("10.0.0.0/8")),
		broker.PortValue(broker.TCP(80)), broker.TimestampNanos(1), broker.Timespan(-time.Second),
	}
	all := append(slices.Clone(scalars), broker.Set(), broker.Table(), broker.Vector(),
		broker.Vector(scalars...), broker.Set(slices.Clone(scalars)...),
		broker.Table(broker.Entry{Key: broker.Vector(scalars...), Value: broker.Set(slices.Clone(scalars)...)}))
	for _, v := range all {
		text, err := json.Marshal(jsonValue{v})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseArg("json:" + string(text))
		if err != nil || !broker.Equal(got, v) {
			t.Errorf("%v is encoded as %s, which is decoded as %v, error %v", v, text, got, err)
		}
	}
	for _, v := range []broker.Value{broker.String("\xff"), broker.Real(math.Inf(-1)), broker.Real(math.NaN())} {
		text, err := json.Marshal(jsonValue{v})
		if err != nil || !json.Valid(text) {
			t.Errorf("%v is encoded as %s, error %v", v, text, err)
		}
	}
}
