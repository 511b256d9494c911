package logs_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

// unhex decodes hex with comments: on each line, it ignores a # and the text
// after it.
func unhex(t testing.TB, text string) string {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func field(name string, typ, subtype logs.Type) logs.Field {
	return logs.Field{Name: name, Type: typ, Subtype: subtype}
}

// create returns the announcement of fields in Zeek's form.
func create(fields ...logs.Field) broker.LogCreate {
	var list []broker.Value
	for _, f := range fields {
		list = append(list, broker.Vector(broker.String(f.Name), broker.None(),
			broker.Count(uint64(f.Type)), broker.Count(uint64(f.Subtype)), broker.Boolean(f.Optional)))
	}
	return broker.LogCreate{
		Stream: "Test::LOG", Writer: "Log::WRITER_ASCII",
		WriterInfo: broker.Vector(broker.String("test"), broker.Real(0), broker.Real(0), broker.Real(0),
			broker.Table(), broker.String("")),
		Fields: broker.Vector(list...),
	}
}

func write(data string) broker.LogWrite {
	return broker.LogWrite{Stream: "Test::LOG", Writer: "Log::WRITER_ASCII", Path: "test", Data: data}
}

var types = []struct {
	name  string
	field logs.Field
	hex   string
	want  broker.Value
}{
	{"bool", field("f", logs.TypeBool, 0), "00000001 00000000 01 0000000000000001", broker.Boolean(true)},
	{"int", field("f", logs.TypeInt, 0), "00000002 00000000 01 fffffffffffffffe", broker.Integer(-2)},
	{"count", field("f", logs.TypeCount, 0), "00000003 00000000 01 ffffffffffffffff", broker.Count(math.MaxUint64)},
	{"double", field("f", logs.TypeDouble, 0), "00000004 00000000 01 3ff8000000000000", broker.Real(1.5)},
	{"infinite double", field("f", logs.TypeDouble, 0), "00000004 00000000 01 7ff0000000000000", broker.Real(math.Inf(1))},
	{"time", field("f", logs.TypeTime, 0), "00000005 00000000 01 41d65a0bc0100000",
		broker.Timestamp(time.Date(2017, 7, 14, 2, 40, 0, 250e6, time.UTC))},
	{"interval", field("f", logs.TypeInterval, 0), "00000006 00000000 01 bff8000000000000", broker.Timespan(-1500 * time.Millisecond)},
	{"string", field("f", logs.TypeString, 0), "00000007 00000000 01 00000003 61ff00", broker.String("a\xff\x00")},
	{"enum", field("f", logs.TypeEnum, 0), "00000009 00000000 01 00000003 746370", broker.Enum("tcp")},
	{"port", field("f", logs.TypePort, 0), "0000000a 00000000 01 0000000000000035 00000002",
		broker.PortValue(broker.Port{Number: 53, Protocol: broker.ProtocolUDP})},
	{"IPv4 address", field("f", logs.TypeAddr, 0), "0000000b 00000016 01 04 01020304", broker.Address(addr("1.2.3.4"))},
	{"IPv6 address", field("f", logs.TypeAddr, 0), "0000000b 00000000 01 06 0102030405060708090a0b0c0d0e0f10",
		broker.Address(addr("102:304:506:708:90a:b0c:d0e:f10"))},
	{"IPv4 subnet", field("f", logs.TypeSubnet, 0), "0000000c 00000000 01 70 04 01020000", broker.Subnet(prefix("1.2.0.0/16"))},
	{"IPv6 subnet", field("f", logs.TypeSubnet, 0), "0000000c 00000000 01 40 06 01020304050607080000000000000000",
		broker.Subnet(prefix("102:304:506:708::/64"))},
	{"func", field("f", logs.TypeFunc, 0), "00000011 00000000 01 00000001 66", broker.String("f")},
	{"file", field("f", logs.TypeFile, 0), "00000012 00000000 01 00000001 67", broker.String("g")},
	{"set", field("f", logs.TypeSet, logs.TypeCount), `
		0000000e 00000000 01 0000000000000002
		00000003 00000000 01 0000000000000002
		00000003 00000000 01 0000000000000001`, broker.Set(broker.Count(1), broker.Count(2))},
	{"empty set", field("f", logs.TypeSet, logs.TypeString), "0000000e 00000000 01 0000000000000000", broker.Set()},
	{"vector with an unset element", field("f", logs.TypeVector, logs.TypeString), `
		00000013 00000000 01 0000000000000002
		00000007 00000000 01 00000001 62
		00000007 00000000 00`, broker.Vector(broker.String("b"), broker.None())},
	{"unset", field("f", logs.TypeString, 0), "00000007 00000000 00", broker.None()},
}

func TestTypes(t *testing.T) {
	for _, tt := range types {
		t.Run(tt.name, func(t *testing.T) {
			var c logs.Catalog
			if _, err := c.Add(create(tt.field)); err != nil {
				t.Fatal(err)
			}
			data := write(unhex(t, "00000001"+tt.hex))
			row, err := c.Row(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := row.Get("f"); !broker.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			untyped, err := logs.Values(data)
			if err != nil || len(untyped) != 1 || !broker.Equal(untyped[0], tt.want) {
				t.Errorf("decoded without the stream: got %v, error %v", untyped, err)
			}
			for n := range len(data.Data) {
				if _, err := c.Row(write(data.Data[:n])); !errors.Is(err, logs.ErrMalformed) {
					t.Errorf("cut to %d bytes: error %v", n, err)
				}
			}
		})
	}
}

func TestRow(t *testing.T) {
	var c logs.Catalog
	stream, err := c.Add(create(
		field("ts", logs.TypeTime, 0), field("id.orig_h", logs.TypeAddr, 0),
		logs.Field{Name: "note", Type: logs.TypeString, Optional: true},
		field("tags", logs.TypeSet, logs.TypeEnum)))
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Fields[3].TypeName() + " " + stream.Fields[1].TypeName(); got != "set[enum] addr" || !stream.Fields[2].Optional {
		t.Errorf("fields are %v", stream.Fields)
	}
	row, err := c.Row(write(unhex(t, `
		00000004
		00000005 00000000 01 3ff0000000000000       # ts
		0000000b 00000000 01 04 0a000001            # id.orig_h
		00000007 00000000 00                        # note
		0000000e 00000000 01 0000000000000001       # tags
		    00000009 00000000 01 00000004 413a3a42  # one of them`)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "ts=1970-01-01T00:00:01Z id.orig_h=10.0.0.1 tags={A::B}"
	if diff := cmp.Diff(want, row.String()); diff != "" {
		t.Error(diff)
	}
	if !row.Get("note").IsNone() || !row.Get("no such field").IsNone() {
		t.Error("an unset or missing field has a value")
	}
}

func TestMalformedRows(t *testing.T) {
	for _, tt := range []struct {
		name  string
		field logs.Field
		hex   string
		want  string
	}{
		{"empty", field("f", logs.TypeBool, 0), "", "offset 0: number of fields needs 4 bytes"},
		{"too few fields", field("f", logs.TypeBool, 0), "00000000", "record of 0 fields, want 1"},
		{"negative number of fields", field("f", logs.TypeBool, 0), "ffffffff", "record of -1 fields, want 1"},
		{"trailing bytes", field("f", logs.TypeBool, 0), "00000001 00000001 00000000 00 ff", "offset 13: 1 trailing bytes"},
		{"another type", field("f", logs.TypeBool, 0), "00000001 00000002 00000000 01 0000000000000001",
			"stream Test::LOG: field f: offset 4: type is int, want bool"},
		{"huge type", field("f", logs.TypeBool, 0), "00000001 00000101 00000000 01 0000000000000001", "type is 257"},
		{"pattern", field("f", 8, 0), "00000001 00000008 00000000 01 00000000", "type(8) is not valid here"},
		{"invalid presence", field("f", logs.TypeBool, 0), "00000001 00000001 00000000 02 0000000000000001", "offset 12: presence is 2"},
		{"time that is NaN", field("f", logs.TypeTime, 0), "00000001 00000005 00000000 01 7ff8000000000000", "offset 13: NaN seconds"},
		{"time out of range", field("f", logs.TypeTime, 0), "00000001 00000005 00000000 01 42012e0be8260000", "do not fit"},
		{"port number", field("f", logs.TypePort, 0), "00000001 0000000a 00000000 01 0000000000010000 00000001", "port 65536 with protocol 1"},
		{"port protocol", field("f", logs.TypePort, 0), "00000001 0000000a 00000000 01 0000000000000001 00000004", "port 1 with protocol 4"},
		{"unknown address family", field("f", logs.TypeAddr, 0), "00000001 0000000b 00000000 01 05 01020304", "address family is 5"},
		{"IPv4 subnet of 8 bits", field("f", logs.TypeSubnet, 0), "00000001 0000000c 00000000 01 08 04 01020000", "subnet 1.2.0.0 with a length of -88 bits"},
		{"long text", field("f", logs.TypeString, 0), "00000001 00000007 00000000 01 ffffffff 61", "offset 13: text of 4294967295 bytes, 1 left"},
		{"huge set", field("f", logs.TypeSet, logs.TypeCount), "00000001 0000000e 00000000 01 7fffffffffffffff", "set of 9223372036854775807 elements in 0 bytes"},
		{"negative set", field("f", logs.TypeSet, logs.TypeCount), "00000001 0000000e 00000000 01 ffffffffffffffff", "set of -1 elements"},
		{"element of another type", field("f", logs.TypeSet, logs.TypeCount), `00000001
			0000000e 00000000 01 0000000000000001 00000002 00000000 01 0000000000000001`, "offset 21: type of element 0 is int, want count"},
		{"set of sets", field("f", logs.TypeSet, logs.TypeSet), `00000001
			0000000e 00000000 01 0000000000000001 0000000e 00000000 01 0000000000000000`, "set is not valid here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream, err := logs.ParseStream(create(tt.field))
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Row(write(unhex(t, tt.hex)))
			if !errors.Is(err, logs.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := new(logs.Stream).Row(write(unhex(t, "00000001 00000001 00000000 00"))); !errors.Is(err, logs.ErrMalformed) {
		t.Errorf("a record with a field of a stream without fields: error %v", err)
	}
	if _, err := logs.Values(write(unhex(t, "7fffffff"))); !errors.Is(err, logs.ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func TestMalformedStreams(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*broker.LogCreate)
		want   string
	}{
		{"writer info not a vector", func(m *broker.LogCreate) { m.WriterInfo = broker.None() }, "does not begin with a path"},
		{"path not a string", func(m *broker.LogCreate) { m.WriterInfo = broker.Vector(broker.Count(1)) }, "does not begin with a path"},
		{"fields not a vector", func(m *broker.LogCreate) { m.Fields = broker.Set() }, "fields have kind set"},
		{"field not a vector", func(m *broker.LogCreate) { m.Fields = broker.Vector(broker.Count(1)) }, "got a count of length 0"},
		{"name", func(m *broker.LogCreate) {
			m.Fields = broker.Vector(broker.Vector(broker.None(), broker.None(), broker.Count(1), broker.Count(0), broker.Boolean(false)))
		}, "field 0: not [string"},
		{"type", func(m *broker.LogCreate) {
			m.Fields = broker.Vector(broker.Vector(broker.String("f"), broker.None(), broker.Count(256), broker.Count(0), broker.Boolean(false)))
		}, "f has invalid type 256"},
		{"too many fields", func(m *broker.LogCreate) {
			m.Fields = broker.Vector(make([]broker.Value, logs.MaxFields+1)...)
		}, "1025 fields"},
		{"long path", func(m *broker.LogCreate) {
			m.WriterInfo = broker.Vector(broker.String(strings.Repeat("p", logs.MaxNames)))
		}, "bytes of names"},
		{"long names", func(m *broker.LogCreate) {
			*m = create(field(strings.Repeat("a", logs.MaxNames/2), 0, 0), field(strings.Repeat("b", logs.MaxNames/2), 0, 0))
		}, "bytes of names"},
		{"long stream", func(m *broker.LogCreate) {
			m.Stream, m.Fields = strings.Repeat("s", 1<<20), broker.None()
		}, "fields have kind none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := create(field("f", logs.TypeBool, 0))
			tt.change(&m)
			_, err := new(logs.Catalog).Add(m)
			if !errors.Is(err, logs.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// A Catalog must not retain the memory of the message that contained an
// announcement.
func TestStreamIsACopy(t *testing.T) {
	const size, streams = 1 << 20, 32
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var c logs.Catalog
	before := memory()
	for i := range streams {
		frame := strings.Repeat("a", size)
		m := create(field(frame[:10], logs.TypeBool, 0))
		m.Stream, m.Writer = frame[:10], frame[10:20]
		m.WriterInfo = broker.Vector(broker.String(frame[:i]))
		if _, err := c.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	if grown := memory() - before; grown > streams*size/4 {
		t.Errorf("%d announcements retain %d bytes", streams, grown)
	}
	runtime.KeepAlive(&c)
}

func TestCatalog(t *testing.T) {
	var c logs.Catalog
	if _, err := c.Row(write("")); !errors.Is(err, logs.ErrUnknownStream) {
		t.Errorf("error %v", err)
	}
	m := create(field("f", logs.TypeBool, 0))
	for i := range logs.MaxStreams {
		m.WriterInfo = broker.Vector(broker.String("path" + string(rune('0'+i))))
		if _, err := c.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Add(m); err != nil {
		t.Errorf("second announcement: error %v", err)
	}
	if _, err := c.Add(create()); !errors.Is(err, logs.ErrTooManyStreams) {
		t.Errorf("error %v", err)
	}
}

// appendHead and appendAtom write Zeek's encoding.
func appendHead(b []byte, typ logs.Type, present bool) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(typ))
	b = binary.BigEndian.AppendUint32(b, 0)
	if present {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// atoms maps each type to a function that draws a value and appends its
// encoding.
var atoms = map[logs.Type]func(*rapid.T, []byte) (broker.Value, []byte){
	logs.TypeInt: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		n := rapid.Int64().Draw(t, "int")
		return broker.Integer(n), binary.BigEndian.AppendUint64(b, uint64(n))
	},
	logs.TypeDouble: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		f := rapid.Float64().Draw(t, "double")
		return broker.Real(f), binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	},
	logs.TypeInterval: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		us := rapid.Int64Range(-1e12, 1e12).Draw(t, "interval")
		return broker.Timespan(time.Duration(us) * time.Microsecond),
			binary.BigEndian.AppendUint64(b, math.Float64bits(float64(us)/1e6))
	},
	logs.TypeString: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		s := rapid.String().Draw(t, "string")
		return broker.String(s), appendText(b, s)
	},
	logs.TypePort: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		n, p := rapid.Uint16().Draw(t, "port"), rapid.Uint8Range(0, 3).Draw(t, "protocol")
		b = binary.BigEndian.AppendUint64(b, uint64(n))
		return broker.PortValue(broker.Port{Number: n, Protocol: broker.Protocol(p)}), binary.BigEndian.AppendUint32(b, uint32(p))
	},
	logs.TypeSubnet: func(t *rapid.T, b []byte) (broker.Value, []byte) {
		raw := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")
		bits := rapid.IntRange(0, 32).Draw(t, "length")
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(raw)), bits)
		return broker.Subnet(p), append(append(b, byte(96+bits), 4), raw...)
	},
}

func TestRoundTrip(t *testing.T) {
	kinds := []logs.Type{logs.TypeInt, logs.TypeDouble, logs.TypeInterval, logs.TypeString, logs.TypePort, logs.TypeSubnet}
	rapid.Check(t, func(t *rapid.T) {
		var fields []logs.Field
		var want []broker.Value
		n := rapid.IntRange(0, 8).Draw(t, "fields")
		data := binary.BigEndian.AppendUint32(nil, uint32(n))
		for range n {
			f := field("f", rapid.SampledFrom(kinds).Draw(t, "type"), 0)
			present := rapid.Bool().Draw(t, "present")
			var v broker.Value
			if rapid.Bool().Draw(t, "vector") {
				f.Type, f.Subtype = logs.TypeVector, f.Type
			}
			data = appendHead(data, f.Type, present)
			switch {
			case present && f.Type == logs.TypeVector:
				elems := make([]broker.Value, rapid.IntRange(0, 3).Draw(t, "elements"))
				data = binary.BigEndian.AppendUint64(data, uint64(len(elems)))
				for i := range elems {
					elems[i], data = atoms[f.Subtype](t, appendHead(data, f.Subtype, true))
				}
				v = broker.Vector(elems...)
			case present:
				v, data = atoms[f.Type](t, data)
			}
			fields, want = append(fields, f), append(want, v)
		}
		stream, err := logs.ParseStream(create(fields...))
		if err != nil {
			t.Fatal(err)
		}
		row, err := stream.Row(write(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, row.Values, cmp.Comparer(broker.Equal)); diff != "" && n > 0 {
			t.Fatal(diff)
		}
	})
}

func FuzzRow(f *testing.F) {
	var fields []logs.Field
	all := ""
	for _, tt := range types {
		f.Add([]byte(unhex(f, "00000001"+tt.hex)))
		fields = append(fields, tt.field)
		all += tt.hex + "\n"
	}
	f.Add([]byte(unhex(f, hex.EncodeToString([]byte{0, 0, 0, byte(len(fields))})+all)))
	stream, err := logs.ParseStream(create(fields...))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := logs.Values(write(string(data)))
		row, rowErr := stream.Row(write(string(data)))
		switch {
		case err != nil && rowErr == nil:
			t.Fatalf("the record can be decoded with its stream, but not without: %v", err)
		case rowErr == nil && !cmp.Equal(values, row.Values, cmp.Comparer(broker.Equal)):
			t.Fatalf("%v with the stream, %v without", row.Values, values)
		}
	})
}
