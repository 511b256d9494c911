package bin_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

// The vectors are those of the protocol specification. They agree with
// Broker's unit tests and with recordings of Zeek 8.0.10.
var vectors = []struct {
	name  string
	value broker.Value
	hex   string
}{
	{"none", broker.None(), "00"},
	{"true", broker.Boolean(true), "0101"},
	{"false", broker.Boolean(false), "0100"},
	{"count 0", broker.Count(0), "020000000000000000"},
	{"count 42", broker.Count(42), "02000000000000002a"},
	{"count max", broker.Count(math.MaxUint64), "02ffffffffffffffff"},
	{"integer 42", broker.Integer(42), "03000000000000002a"},
	{"integer -1", broker.Integer(-1), "03ffffffffffffffff"},
	{"integer -1234567890", broker.Integer(-1234567890), "03ffffffffb669fd2e"},
	{"integer min", broker.Integer(math.MinInt64), "038000000000000000"},
	{"real 1", broker.Real(1), "043ff0000000000000"},
	{"real -1", broker.Real(-1), "04bff0000000000000"},
	{"real 12.48", broker.Real(12.48), "044028f5c28f5c28f6"},
	{"real +inf", broker.Real(math.Inf(1)), "04fff0000000000000"},
	{"real -inf", broker.Real(math.Inf(-1)), "047ff0000000000000"},
	{"real nan", broker.Real(math.NaN()), "04ffffffffffffffff"},
	{"string empty", broker.String(""), "0500"},
	{"string", broker.String("hello world"), "050b68656c6c6f20776f726c64"},
	{"string 200", broker.String(strings.Repeat("a", 200)), "05c801" + strings.Repeat("61", 200)},
	{"string not UTF-8", broker.String("\xff\x00"), "0502ff00"},
	{"address v4", broker.Address(addr("192.168.9.8")), "0600000000000000000000ffffc0a80908"},
	{"address v6", broker.Address(addr("2001:db8::")), "0620010db8000000000000000000000000"},
	{"subnet v4", broker.Subnet(prefix("192.168.9.0/24")), "0700000000000000000000ffffc0a8090078"},
	{"subnet v6", broker.Subnet(prefix("2001:db8::/32")), "0720010db800000000000000000000000020"},
	{"subnet ::/0", broker.Subnet(prefix("::/0")), "070000000000000000000000000000000000"},
	{"subnet 0.0.0.0/0", broker.Subnet(prefix("0.0.0.0/0")), "0700000000000000000000ffff0000000060"},
	{"port tcp", broker.PortValue(broker.TCP(8080)), "081f9001"},
	{"port udp", broker.PortValue(broker.Port{Number: 53, Protocol: broker.ProtocolUDP}), "08003502"},
	{"port icmp", broker.PortValue(broker.Port{Number: 8, Protocol: broker.ProtocolICMP}), "08000803"},
	{"port unknown", broker.PortValue(broker.Port{}), "08000000"},
	{"timestamp", broker.TimestampNanos(1234567890), "0900000000499602d2"},
	{"timestamp 2014", broker.Timestamp(time.Date(2014, 7, 9, 10, 16, 44, 0, time.UTC)), "09137f360508027800"},
	{"timespan", broker.Timespan(1500 * time.Millisecond), "0a0000000059682f00"},
	{"timespan -1ns", broker.Timespan(-1), "0affffffffffffffff"},
	{"enum", broker.Enum("foobar"), "0b06666f6f626172"},
	{"enum qualified", broker.Enum("Conn::LOG"), "0b09436f6e6e3a3a4c4f47"},
	{"set empty", broker.Set(), "0c00"},
	{"set", broker.Set(broker.String("hello world"), broker.Count(1), broker.Boolean(false)),
		"0c03 0100 020000000000000001 050b68656c6c6f20776f726c64"},
	{"table", broker.Table(
		broker.Entry{Key: broker.Count(2), Value: broker.String("world")},
		broker.Entry{Key: broker.Count(1), Value: broker.String("hello")}),
		"0d02 020000000000000001 050568656c6c6f 020000000000000002 0505776f726c64"},
	{"vector", broker.Vector(broker.Boolean(false), broker.Count(1), broker.String("hello world")),
		"0e03 0100 020000000000000001 050b68656c6c6f20776f726c64"},
	{"vector empty", broker.Vector(), "0e00"},
	{"record", broker.Vector(broker.Address(addr("10.0.0.1")), broker.PortValue(broker.TCP(80)), broker.None()),
		"0e03 0600000000000000000000ffff0a000001 08005001 00"},
	{"set of vectors", broker.Set(broker.Vector(broker.Address(addr("10.0.0.1")), broker.PortValue(broker.TCP(80)))),
		"0c01 0e02 0600000000000000000000ffff0a000001 08005001"},
	{"event", broker.NewEvent("event_1", broker.Integer(42), broker.String("test")).Value(),
		"0e03 020000000000000001 020000000000000001 0e02 05076576656e745f31 0e02 03000000000000002a 050474657374"},
	{"event of 2023", broker.Event{
		Name: "event_1", Args: []broker.Value{broker.Integer(42), broker.String("test")},
		Metadata: []broker.Metadata{{Key: broker.MetadataNetworkTimestamp,
			Value: broker.Timestamp(time.Date(2023, 4, 18, 14, 13, 14, 0, time.UTC))}},
	}.Value(), `0e03 020000000000000001 020000000000000001 0e03 05076576656e745f31 0e02 03000000000000002a 050474657374
		0e01 0e02 020000000000000001 0917570cec17f64400`},
	{"event with timestamp", broker.Event{
		Name: "Supervisor::node_status", Args: []broker.Value{broker.String("TEST"), broker.Count(42)},
		Metadata: []broker.Metadata{{Key: broker.MetadataNetworkTimestamp, Value: broker.TimestampNanos(0)}},
	}.Value(), `0e03 020000000000000001 020000000000000001 0e03 051753757065727669736f723a3a6e6f64655f737461747573
		0e02 050454455354 02000000000000002a 0e01 0e02 020000000000000001 090000000000000000`},
	{"event with empty metadata", broker.Event{
		Name: "outev",
		Args: []broker.Value{broker.Count(7), broker.String("hi"), broker.Real(1.5),
			broker.Set(broker.String("x"), broker.String("y"))},
		Metadata: []broker.Metadata{},
	}.Value(), `0e03 020000000000000001 020000000000000001 0e03 05056f75746576
		0e04 020000000000000007 05026869 043ff8000000000000 0c02 050178 050179  0e00`},
	{"batch", broker.Batch{
		broker.NewEvent("event_1", broker.Integer(42), broker.String("test")),
		broker.NewEvent("event_1", broker.Integer(42), broker.String("test")),
	}.Value(), `0e03 020000000000000001 020000000000000005 0e02
		0e03 020000000000000001 020000000000000001 0e02 05076576656e745f31 0e02 03000000000000002a 050474657374
		0e03 020000000000000001 020000000000000001 0e02 05076576656e745f31 0e02 03000000000000002a 050474657374`},
}

func TestVectors(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			if got := bin.Append(nil, tt.value); !bytes.Equal(got, want) {
				t.Errorf("Append(%v) = %x, want %x", tt.value, got, want)
			}
			got, err := bin.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !broker.Equal(got, tt.value) {
				t.Errorf("Decode(%x) = %v, want %v", want, got, tt.value)
			}
		})
	}
}

// CAF decodes these bit patterns differently from IEEE 754, and Append never
// writes them.
func TestDecodeRealsUnlikeIEEE754(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want float64
	}{
		{"7ff8000000000000", math.Inf(1)}, // a quiet NaN in IEEE 754
		{"fff8000000000000", math.Inf(-1)},
		{"0008000000000000", 1.5 * 0x1p-1023},
		{"8008000000000000", -1.5 * 0x1p-1023},
		{"8000000000000000", math.Copysign(0, -1)},
	} {
		v, err := bin.Decode(unhex(t, "04"+tt.hex))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := v.Real(); math.Float64bits(got) != math.Float64bits(tt.want) {
			t.Errorf("real %s = %v, want %v", tt.hex, got, tt.want)
		}
	}
}

// Subnormal reals are encoded as by CAF, which loses those of at most 2^-1023.
func TestSubnormals(t *testing.T) {
	for _, tt := range []struct {
		f    float64
		want string
	}{
		{-math.SmallestNonzeroFloat64, "048000000000000000"},
		{0x1p-1023, "040000000000000000"},
		{math.Nextafter(0x1p-1023, 1), "040000000000000002"},
		{0x1.8p-1023, "040008000000000000"},
		{-0x1.fffffffffffep-1023, "04800fffffffffffe0"},
		{0x1p-1022, "040010000000000000"},
	} {
		v := broker.Real(tt.f)
		got := bin.Append(nil, v)
		if !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%v is encoded as %x, want %s", tt.f, got, tt.want)
		}
		if again, err := bin.Decode(got); err != nil || !broker.Equal(again, v) {
			t.Errorf("%v became %v, error %v", v, again, err)
		}
	}
	if set := broker.Set(broker.Real(1.2e-308), broker.Real(1e-320), broker.Real(2e-320)); set.Len() != 2 {
		t.Errorf("%v has equal elements", set)
	}
}

// A Decoder must not modify memory of values that it has returned.
func TestDecoder(t *testing.T) {
	var d bin.Decoder
	var kept []broker.Value
	for range 200 {
		for _, tt := range vectors {
			v, err := d.Decode(unhex(t, tt.hex))
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, v)
		}
		if _, err := d.Decode(unhex(t, "0e03 00 00 ff")); !errors.Is(err, bin.ErrMalformed) {
			t.Fatalf("got %v, want ErrMalformed", err)
		}
	}
	for i, v := range kept {
		if want := vectors[i%len(vectors)].value; !broker.Equal(v, want) {
			t.Fatalf("%v became %v", want, v)
		}
	}
}

// The values that share a slab must not keep many large messages in memory.
func TestDecoderReleasesLargeMessages(t *testing.T) {
	const size, messages = 1 << 20, 64
	payload := bin.Append(nil, broker.Vector(broker.String(strings.Repeat("a", size))))
	var d bin.Decoder
	var kept broker.Value
	before := heapInUse()
	for i := range messages {
		v, err := d.Decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			kept = v
		}
	}
	if grown := heapInUse() - before; grown > messages*size/4 {
		t.Errorf("after %d messages of %d bytes, of which one is kept, %d bytes are in use", messages, size, grown)
	}
	runtime.KeepAlive(&d)
	runtime.KeepAlive(kept)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct{ name, hex, want string }{
		{"empty", "", "tag needs 1 bytes, 0 left"},
		{"unknown tag", "0f", "unknown tag 15"},
		{"trailing byte", "0000", "1 trailing bytes"},
		{"short count", "0200", "count needs 8 bytes, 1 left"},
		{"short string", "050561", "length of string is 5, 1 bytes left"},
		{"huge string", "05ffffffff0f", "length of string is 4294967295, 0 bytes left"},
		{"length over 32 bits", "05ffffffff1f", "exceeds 32 bits"},
		{"length over 5 bytes", "05808080808001", "more than 5 bytes"},
		{"short address", "0600", "address needs 16 bytes"},
		{"v4 subnet of raw length 8", "0700000000000000000000ffff0a00000008", "is 8, want 96 to 128"},
		{"v6 subnet of length 129", "0720010db800000000000000000000000081", "is 129, want at most 128"},
		{"port protocol 4", "08005004", "port protocol is 4"},
		{"set duplicate", "0c02 050161 050161", "set contains a duplicate"},
		{"set duplicate, not adjacent", "0c03 050161 050162 050161", "set contains a duplicate"},
		{"table duplicate", "0d02 050161 00 050161 0101", "table contains a duplicate"},
		{"vector count too large", "0eff01 00", "count of vector is 255, 1 bytes left"},
		{"table count too large", "0d02 00 00 00", "count of table is 2, 3 bytes left"},
		{"nested too deeply", strings.Repeat("0e01", bin.MaxDepth+1) + "00", "more than 128 nested containers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := bin.Decode(unhex(t, tt.hex))
			if !errors.Is(err, bin.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s and error %v; want ErrMalformed with %q", v.Kind(), err, tt.want)
			}
		})
	}
}

func TestDecodeLimits(t *testing.T) {
	deepest := unhex(t, strings.Repeat("0e01", bin.MaxDepth)+"00")
	if _, err := bin.Decode(deepest); err != nil {
		t.Error(err)
	}
	tooMany := bin.AppendVarbyte([]byte{byte(broker.KindVector)}, bin.MaxElements+1)
	tooMany = append(tooMany, make([]byte, bin.MaxElements+1)...)
	if _, err := bin.Decode(tooMany); !errors.Is(err, bin.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestDecoderMaxElements(t *testing.T) {
	encoded := bin.Append(nil, broker.Vector(broker.Vector(broker.Count(1), broker.Count(2)), broker.Count(3)))
	d := bin.Decoder{MaxElements: 4}
	if _, err := d.Decode(encoded); err != nil {
		t.Error(err)
	}
	d = bin.Decoder{MaxElements: 3}
	if _, err := d.Decode(encoded); !errors.Is(err, bin.ErrMalformed) || !strings.Contains(err.Error(), "more than 3 elements") {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestDecodeUnsorted(t *testing.T) {
	v, err := bin.Decode(unhex(t, "0c02 050162 050161"))
	if err != nil {
		t.Fatal(err)
	}
	if got := bin.Append(nil, v); !bytes.Equal(got, unhex(t, "0c02 050161 050162")) {
		t.Errorf("re-encoded as %x, want it sorted", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range vectors {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := bin.Decode(data)
		if err != nil {
			return
		}
		if kept, ok := v.Encoding(); ok && kept != string(encodeAnew(v)) {
			t.Fatalf("kept %x, but the encoding is %x", kept, encodeAnew(v))
		}
		again, err := bin.Decode(bin.Append(nil, v))
		if err != nil {
			t.Fatalf("cannot decode the encoding of %v: %v", v, err)
		}
		if !broker.Equal(v, again) {
			t.Fatalf("%v became %v", v, again)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := brokertest.Values().Draw(t, "value")
		got, err := bin.Decode(bin.Append(nil, v))
		if err != nil {
			t.Fatal(err)
		}
		if !broker.Equal(got, v) {
			t.Fatalf("%v became %v", v, got)
		}
	})
}

// A decoded value is forwarded as it came, unless Append would encode it in
// another way.
func TestDecodedValuesKeepTheirEncoding(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		kept      bool
	}{
		{"record", "0e03 020000000000000007 050161 0c02 050161 050162", true},
		{"table", "0d01 050161 0101", true},
		{"largest reals", "0e02 04fff0000000000000 04ffffffffffffffff", true},
		{"empty vector", "0e00", false},
		{"scalar", "050161", false},
		{"unsorted set", "0e01 0c02 050162 050161", false},
		{"unsorted table", "0d02 050162 00 050161 00", false},
		{"overlong length", "0e01 05810061", false},
		{"overlong count", "0e8100 00", false},
		{"true other than 1", "0e02 0102 020000000000000007", false},
		{"NaN of IEEE 754", "0e01 047ff8000000000000", false},
		{"host bits in a subnet", "0e01 0700000000000000000000ffff0a00000168", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.hex)
			v, err := bin.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			encoding, ok := v.Encoding()
			if ok != tt.kept {
				t.Fatalf("encoding is kept: %t, want %t", ok, tt.kept)
			}
			if ok && encoding != string(data) {
				t.Errorf("kept %x, want %x", encoding, data)
			}
			if ok && !bytes.Equal(encodeAnew(v), data) {
				t.Errorf("kept %x, but the encoding is %x", data, encodeAnew(v))
			}
			var d bin.Decoder
			d.Decode(data)
			if got, want := v.Memory(), d.Size(); ok && got != want {
				t.Errorf("the value takes %d bytes, the decoder says %d", got, want)
			}
		})
	}
}

// encodeAnew encodes v without the encodings that values keep.
func encodeAnew(v broker.Value) []byte {
	switch v.Kind() {
	case broker.KindVector:
		return bin.Append(nil, broker.Vector(slices.Collect(v.Elements())...))
	case broker.KindSet:
		return bin.Append(nil, broker.Set(slices.Collect(v.Elements())...))
	case broker.KindTable:
		var entries []broker.Entry
		for key, value := range v.Entries() {
			entries = append(entries, broker.Entry{Key: key, Value: value})
		}
		return bin.Append(nil, broker.Table(entries...))
	}
	return bin.Append(nil, v)
}

// The race detector checks that no pointer to an empty table exceeds the block of
// elements, of which a single one is left here.
func TestEmptyTableAfterText(t *testing.T) {
	v := broker.Vector(broker.String(strings.Repeat("x", 30)), broker.Table())
	if got, err := bin.Decode(bin.Append(nil, v)); err != nil || !broker.Equal(got, v) {
		t.Errorf("decoded %v, %v, want %v", got, err, v)
	}
}

// Strings of all lengths at which the encoder changes its way to copy them, into buffers with
// too little, just enough and more room.
func TestTextLengths(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for n := range 300 {
		text := strings.Repeat(letters, 12)[:n]
		element := bin.AppendString([]byte{byte(broker.KindString)}, text)
		want := slices.Concat([]byte("before"), []byte{byte(broker.KindVector), 2}, element, element)
		v := broker.Vector(broker.String(text), broker.String(text))
		for room := range 2*n + 20 {
			b := append(make([]byte, 0, len("before")+room), "before"...)
			if got := bin.Append(b, v); !bytes.Equal(got, want) {
				t.Fatalf("two strings of %d bytes, with room for %d: %x, want %x", n, room, got, want)
			}
		}
	}
}

func TestRecordAllocations(t *testing.T) {
	for _, m := range brokertest.Messages()[:2] {
		data := bin.Append(nil, m.Value)
		if n := testing.AllocsPerRun(100, func() { bin.Decode(data) }); n > 2 {
			t.Errorf("Decode of a %s message allocates %v times", m.Name, n)
		}
	}
}
