package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
)

var (
	idG = uuid.MustParse("11111111-1111-4111-8111-111111111111") // of this endpoint
	idZ = uuid.MustParse("22222222-2222-5222-9222-222222222222") // of Zeek
)

const (
	hexG   = "11111111111141118111111111111111"
	hexZ   = "22222222222252229222222222222222"
	hexNil = "00000000000000000000000000000000"
	hexBye = "425945 0700000000000000"
)

// unhex decodes hex with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var handshakeVectors = []struct {
	name string
	hex  string // includes the length of the frame
	msg  HandshakeMessage
}{
	{"probe", "00000005 07 5a45454b", Probe{}},
	{"hello G", "00000017 06 5a45454b " + hexG + " 01 01", Hello{idG, 1, 1}},
	{"hello Z", "00000017 06 5a45454b " + hexZ + " 01 01", Hello{idZ, 1, 1}},
	{"hello 0 to 99", "00000017 06 5a45454b " + hexZ + " 00 63", Hello{idZ, 0, 99}},
	{"version select G", "00000016 08 5a45454b " + hexG + " 01", VersionSelect{idG, 1}},
	{"version select Z", "00000016 08 5a45454b " + hexZ + " 01", VersionSelect{idZ, 1}},
	{"drop 39", "0000002b 09 5a45454b " + hexZ + " 27 14 726564756e64616e7420636f6e6e656374696f6e",
		DropConn{idZ, CodeRedundantConnection, "redundant connection"}},
	{"drop 2", "00000033 09 5a45454b " + hexZ + " 02 1c 756e737570706f727465642076657273696f6e73206f666665726564",
		DropConn{idZ, CodePeerIncompatible, "unsupported versions offered"}},
	{"drop 28", "00000024 09 5a45454b " + hexZ + " 1c 0d 7368757474696e6720646f776e",
		DropConn{idZ, CodeShuttingDown, "shutting down"}},
	{"syn", "00000008 0a 01 05 2f74657374", OriginatorSyn{broker.Filter{"/test"}}},
	{"syn without topics", "00000002 0a 00", OriginatorSyn{broker.Filter{}}},
	{"syn of two", "00000017 0a 02 08 2f666f6f2f626172 0b 7a65656b2f6576656e742f",
		OriginatorSyn{broker.Filter{"/foo/bar", "zeek/event/"}}},
	{"syn unsorted, redundant", "00000007 0a 03 01 62 01 61 00", OriginatorSyn{broker.Filter{"b", "a", ""}}},
	{"syn ack", "0000000b 0b 01 08 2f666f6f2f626172", ResponderSynAck{broker.Filter{"/foo/bar"}}},
	{"ack", "00000001 0c", OriginatorAck{}},
}

func TestHandshakeMessages(t *testing.T) {
	for _, test := range handshakeVectors {
		t.Run(test.name, func(t *testing.T) {
			want := unhex(t, test.hex)
			if got := AppendFrame(nil, test.msg.Append(nil)); !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, want\n%x", got, want)
			}
			got, err := DecodeHandshake(want[4:])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.msg, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if _, err := DecodeHandshake(append(want[4:], 0)); err != nil {
				t.Errorf("followed by another byte: %v", err)
			}
		})
	}
}

func TestHandshakeRefusals(t *testing.T) {
	tests := []struct {
		name string
		hex  string // excludes the length of the frame
		code Code
		text string
	}{
		{"empty", "", 20, "invalid message type tag"},
		{"tag 0", "00", 20, "invalid message type tag"},
		{"tag of an envelope", "04 5a45454b", 20, "invalid message type tag"},
		{"tag 13", "0d", 20, "invalid message type tag"},
		{"probe magic", "07 5a45454c", 38, "wrong magic number"},
		{"hello magic", "06 00000000 " + hexZ + " 01 01", 38, "wrong magic number"},
		{"version select magic", "08 5a45454a " + hexZ + " 01", 38, "wrong magic number"},
		{"drop magic", "09 5a45454a " + hexZ + " 27 00", 38, "wrong magic number"},
		{"magic before version", "06 00000000 " + hexZ + " 02 03", 38, "wrong magic number"},
		{"parse before magic", "06 00000000 " + hexZ + " 02", 20, "failed to parse hello_msg"},
		{"hello versions above", "06 5a45454b " + hexZ + " 02 03", 2, "unsupported versions offered"},
		{"hello versions below", "06 5a45454b " + hexZ + " 00 00", 2, "unsupported versions offered"},
		{"version selected above", "08 5a45454b " + hexZ + " 02", 2, "unsupported version selected"},
		{"hello cut", "06 5a45454b 2222", 20, "failed to parse hello_msg"},
		{"probe cut", "07 5a45", 20, "failed to parse probe_msg"},
		{"version select cut", "08 5a45454b " + hexZ, 20, "failed to parse version_select_msg"},
		{"drop cut", "09 5a45454b " + hexZ + " 27 05 61", 20, "failed to parse drop_conn_msg"},
		{"drop with unknown code", "09 5a45454b " + hexZ + " 2a 02 6f6b", 1, "ok"},
		{"syn cut", "0a 02 01 61", 20, "failed to parse v1::originator_syn_msg"},
		{"syn without filter", "0a", 20, "failed to parse v1::originator_syn_msg"},
		{"syn with count larger than message", "0a ffffffff0f", 20, "failed to parse v1::originator_syn_msg"},
		{"syn ack cut", "0b 01 20 61", 20, "failed to parse v1::responder_syn_ack_msg"},
		{"syn with too many topics", "0a 818004" + strings.Repeat("00", MaxFilterTopics+1), 20, "failed to parse v1::originator_syn_msg"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeHandshake(unhex(t, test.hex))
			var refusal *ProtocolError
			if !errors.As(err, &refusal) {
				t.Fatalf("error is %v, want a ProtocolError", err)
			}
			if refusal.Code != test.code || refusal.Text != test.text {
				t.Errorf("got %d %q, want %d %q", refusal.Code, refusal.Text, test.code, test.text)
			}
		})
	}
}

// Errors about a refusal stay short and free of control characters, even if
// the peer's description has half a megabyte or contains terminal commands.
func TestRefusalsAreShortAndPlain(t *testing.T) {
	for _, code := range []Code{CodeShuttingDown, numCodes} {
		for description, want := range map[string]string{
			"go away":                  ": go away (",
			"\x1b[2Jgo\naway":          `: "\x1b[2Jgo\naway" (`,
			strings.Repeat("a", 1<<19): ": " + strings.Repeat("a", 200) + " (",
		} {
			h := handshake(idG, true, Admit)
			h.Start()
			step := h.Receive(DropConn{idZ, code, description}.Append(nil))
			if step.Err == nil || !strings.Contains(step.Err.Error(), want) {
				t.Errorf("code %d: the error is %.400v, want %q", code, step.Err, want)
			}
		}
	}
}

var event1 = broker.NewEvent("event_1", broker.Integer(42), broker.String("test"))

var event2023 = broker.Event{
	Name: event1.Name, Args: event1.Args,
	Metadata: []broker.Metadata{{Key: broker.MetadataNetworkTimestamp, Value: broker.TimestampNanos(1681827194e9)}},
}

var envelopeVectors = []struct {
	name string
	hex  string // includes the length of the frame
	env  Envelope
}{
	{"ping", "0000002b " + hexG + hexZ + " 04 0001 0003 3c243e 666f6f",
		Envelope{idG, idZ, TypePing, 1, "<$>", []byte("foo")}},
	{"pong", "0000002b " + hexZ + hexG + " 05 0010 0003 3c243e 666f6f",
		Envelope{idZ, idG, TypePong, 16, "<$>", []byte("foo")}},
	{"bye", "00000033 " + hexZ + hexG + " 04 0010 0003 3c243e " + hexBye,
		Envelope{idZ, idG, TypePing, 16, "<$>", []byte("BYE\a\x00\x00\x00\x00\x00\x00\x00")}},
	{"bye reply", "00000033 " + hexG + hexZ + " 05 0010 0003 3c243e " + hexBye,
		Envelope{idG, idZ, TypePong, 16, "<$>", []byte("BYE\a\x00\x00\x00\x00\x00\x00\x00")}},
	{"routing update", "0000003c " + hexZ + hexG + " 03 0010 0003 3c243e 02 05 2f74657374 0c 7a65656b2f636f6e74726f6c",
		RoutingUpdate(idZ, idG, broker.Filter{"/test", "zeek/control"})},
	{"Broker's own unit test", "00000038 5746d8ee36445bd29f54d5a44c26c2a1 c0551e8d392b509ba47bae46f75befac 01 0010 0006 666f6f626172 05 0b 68656c6c6f20776f726c64",
		Envelope{uuid.MustParse("5746d8ee-3644-5bd2-9f54-d5a44c26c2a1"), uuid.MustParse("c0551e8d-392b-509b-a47b-ae46f75befac"),
			TypeData, 16, "foobar", bin.Append(nil, broker.String("hello world"))}},
	{"event", "0000005d " + hexG + hexNil + " 01 0010 0008 2f666f6f2f626172" +
		"0e0302000000000000000102000000000000000 10e0205076576656e745f310e0203000000000000002a050474657374",
		Envelope{idG, uuid.Nil, TypeData, 16, "/foo/bar", bin.Append(nil, event1.Value())}},
	{"event of 2023", "00000073 " + hexG + hexNil + " 01 0010 0008 2f666f6f2f626172" +
		"0e03020000000000000001020000000000000001 0e0305076576656e745f310e0203000000000000002a050474657374" +
		"0e010e020200000000000000010917570cec17f64400",
		Envelope{idG, uuid.Nil, TypeData, 16, "/foo/bar", bin.Append(nil, event2023.Value())}},
	{"empty topic and payload", "00000025" + hexG + hexZ + " 02 ffff 0000",
		Envelope{idG, idZ, TypeCommand, 0xFFFF, "", []byte{}}},
}

func TestEnvelopes(t *testing.T) {
	for _, test := range envelopeVectors {
		t.Run(test.name, func(t *testing.T) {
			want := unhex(t, test.hex)
			if got := test.env.AppendFrame(nil); !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, want\n%x", got, want)
			}
			got, err := DecodeEnvelope(want[4:])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.env, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBye(t *testing.T) {
	zeeks, err := DecodeEnvelope(unhex(t, envelopeVectors[2].hex)[4:])
	if err != nil {
		t.Fatal(err)
	}
	if !zeeks.IsBye() {
		t.Error("Zeek's BYE is not recognized")
	}
	pong := zeeks.Pong(idG)
	if got, want := pong.AppendFrame(nil), unhex(t, envelopeVectors[3].hex); !bytes.Equal(got, want) {
		t.Errorf("reply is\n%x, want\n%x", got, want)
	}
	if pong.IsBye() {
		t.Error("the pong is recognized as a BYE")
	}
	if ours := (Envelope{Type: TypePing, Payload: AppendBye(nil, 7)}); !ours.IsBye() {
		t.Error("the BYE of AppendBye is not recognized")
	}
	for _, other := range []string{"", "BYE", "BYE 1234", "HEY\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if e := (Envelope{Type: TypePing, Payload: []byte(other)}); e.IsBye() {
			t.Errorf("%q is recognized as a BYE", other)
		}
	}
}

func TestEnvelopeErrors(t *testing.T) {
	tests := []struct{ name, hex, want string }{
		{"empty", "", "0 bytes"},
		{"header cut", hexG + hexZ + "01 0010 00", "36 bytes"},
		{"type 0", hexG + hexZ + "00 0010 0000", "message type is 0"},
		{"type of the handshake", hexG + hexZ + "06 0010 0000", "message type is 6"},
		{"topic longer than envelope", hexG + hexZ + "01 0010 0003 6161", "topic of 3 bytes, 2 left"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeEnvelope(unhex(t, test.hex))
			if !errors.Is(err, ErrEnvelope) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestDecodeFilter(t *testing.T) {
	for name, payload := range map[string]string{
		"empty":                     "",
		"topic longer than payload": "01 20 616263", // terminates the broker core of Zeek 6.2 and later
		"trailing bytes":            "01 01 61 62",
		"count too small":           "01 01 61 01 62",
		"count too large":           "03 01 61 01 62",
	} {
		if f, err := DecodeFilter(unhex(t, payload)); err == nil {
			t.Errorf("%s: got %q and no error", name, f)
		}
	}
	if _, err := DecodeFilter(make([]byte, MaxHandshakeFrame+1)); err == nil {
		t.Error("too large: no error")
	}
	got, err := DecodeFilter(unhex(t, "02 01 61 01 62"))
	if err != nil || !got.Equal(broker.Filter{"a", "b"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReadFrame(t *testing.T) {
	small, large := []byte("payload"), bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	stream := AppendFrame(AppendFrame(AppendFrame(nil, small), large), small)
	for name, r := range map[string]io.Reader{
		"whole":    bytes.NewReader(stream),
		"halves":   iotest.HalfReader(bytes.NewReader(stream)),
		"one byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		var buf []byte
		for i, want := range [][]byte{small, large, small} {
			var err error
			if buf, err = ReadFrame(r, len(large), buf); err != nil || !bytes.Equal(buf, want) {
				t.Errorf("%s: frame %d is %d bytes, %v", name, i, len(buf), err)
			}
		}
		if _, err := ReadFrame(r, len(large), buf); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

func TestReadFrameErrors(t *testing.T) {
	for name, stream := range map[string]string{
		"no length":                     "0000",
		"no payload":                    "00000005",
		"payload cut":                   "00000005 6162",
		"payload cut after a read step": "00020000" + strings.Repeat("61", readStep),
	} {
		if _, err := ReadFrame(bytes.NewReader(unhex(t, stream)), DefaultMaxFrame, nil); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(make([]byte, 4)), 10, nil); err != ErrEmptyFrame {
		t.Errorf("empty: error is %v", err)
	}
	var size *FrameSizeError
	if _, err := ReadFrame(bytes.NewReader([]byte{0, 0, 0, 11}), 10, nil); !errors.As(err, &size) || size.Size != 11 || size.Limit != 10 {
		t.Errorf("too large: error is %v", err)
	}
}

func TestReadFrameAllocatesOnlyForReceivedBytes(t *testing.T) {
	claim := []byte{4, 0, 0, 0, 'x'} // announces 64 MiB, followed by one byte
	got, err := ReadFrame(bytes.NewReader(claim), DefaultMaxFrame, nil)
	if err != io.ErrUnexpectedEOF || cap(got) > 2*readStep {
		t.Errorf("a false length allocates %d bytes, error %v", cap(got), err)
	}
}

func TestSniff(t *testing.T) {
	tests := []struct {
		first string
		want  Protocol
	}{
		{"", ProtocolUnknown},
		{"\x00\x00\x00\x05\x07ZEEK", ProtocolNative},
		{"\x00\x00\x00\x17\x06ZEEK", ProtocolNative},
		{"\x00\x00\x00\x17", ProtocolUnknown},
		{"\x16\x03\x01\x02\x00\x01", ProtocolTLS},
		{"\x15\x03\x03\x00\x02\x02F", ProtocolTLS},
		{"GET / HTTP/1.1\r\n", ProtocolHTTP},
		{"GET /v1/messages/json HTTP/1.1\r\n", ProtocolWebSocket},
		{"HTTP/1.1 400 Bad Request", ProtocolHTTP},
		{"SSH-2.0-OpenSSH", ProtocolUnknown},
		{PortProbe, ProtocolPortProbe},
		{PortProbe[:SniffLen], ProtocolPortProbe},
		{PortProbe[:SniffLen-1], ProtocolNative},
	}
	for _, test := range tests {
		if got := Sniff([]byte(test.first)); got != test.want {
			t.Errorf("%q is %s, want %s", test.first, got, test.want)
		}
	}
}

// To Broker, a probe is a well-formed message, with the end of a request of HTTP.
func TestPortProbe(t *testing.T) {
	want := DropConn{Code: CodeUnspecified, Description: "looks for the protocol of the port\r\n\r\n"}
	if got := string(AppendFrame(nil, want.Append(nil))); got != PortProbe {
		t.Errorf("the probe is %q, want %q", PortProbe, got)
	}
}

func TestNamesOfCodesAndTypes(t *testing.T) {
	if got := CodeInvalidJSON.String(); got != "invalid_json" || CodeInvalidJSON != 41 || CodeShuttingDown != 28 {
		t.Errorf("code 41 is %s", got)
	}
	if got := Code(200).String(); got != "code(200)" {
		t.Errorf("code 200 is %s", got)
	}
	if got := TypeOriginatorAck.String(); got != "originator_ack" || TypeOriginatorAck != 12 {
		t.Errorf("type 12 is %s", got)
	}
	if got := Type(0).String(); got != "type(0)" {
		t.Errorf("type 0 is %s", got)
	}
}

func FuzzDecodeHandshake(f *testing.F) {
	for _, v := range handshakeVectors {
		f.Add(unhex(f, v.hex)[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeHandshake(b)
		if err != nil {
			return
		}
		again, err := DecodeHandshake(m.Append(nil))
		if err != nil {
			t.Fatalf("%#v changes when encoded and decoded: %v", m, err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("%#v changes:\n%s", m, diff)
		}
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	for _, v := range envelopeVectors {
		f.Add(unhex(f, v.hex)[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		if got := e.Append(nil); !bytes.Equal(got, b) || e.Len() != len(b) {
			t.Fatalf("%x becomes %x", b, got)
		}
		if e.Type == TypeRoutingUpdate {
			if filter, err := DecodeFilter(e.Payload); err == nil {
				if again, err := DecodeFilter(AppendFilter(nil, filter)); err != nil || !again.Equal(filter) {
					t.Fatalf("filter %q becomes %q, %v", filter, again, err)
				}
			}
		}
	})
}

// count is a Meter that counts.
type count struct{ begun, complete, arrived, taken int }

func (c *count) Begin(int)     { c.begun++ }
func (c *count) Arrived(n int) { c.arrived += n }
func (c *count) Complete()     { c.complete++ }
func (c *count) Give(n int)    { c.taken -= n }
func (c *count) Take(n int) error {
	c.taken += n
	return nil
}

// FuzzFrameReader compares a FrameReader with ReadFrame. Memory must not be taken
// ahead of the bytes, whatever their pieces.
func FuzzFrameReader(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, []byte("a")), bytes.Repeat([]byte("b"), 100)), 3)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 2}, 1)
	f.Add([]byte{3, 0, 0, 0, 1}, 1)
	f.Add([]byte{255, 255, 255, 255, 1}, 100)
	var mixed []byte
	for _, n := range []int{1, 507, 508, 509, 3000, 1, 1, 16 << 10, 1, 40 << 10, 20, 700} {
		mixed = AppendFrame(mixed, bytes.Repeat([]byte("x"), n))
	}
	for piece := range 6 {
		f.Add(mixed, 990+piece)
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		const limit = 1 << 26
		var meter count
		piece = max(0, piece)
		size := []int{16, 1 << 10, 16 << 10}[piece%3]
		r := NewFrameReader(&pieces{stream, 1 + piece%1000}, size, &meter)
		old := bytes.NewReader(stream)
		for {
			offset := int64(len(stream) - old.Len())
			got, err := r.Next(limit)
			want, wantErr := ReadFrame(old, limit, nil)
			if !errors.Is(err, wantErr) && err.Error() != wantErr.Error() || !bytes.Equal(got, want) {
				t.Fatalf("got %x, %v, want %x, %v", got, err, want, wantErr)
			}
			at, first := r.Position()
			if at != offset || !bytes.HasPrefix(stream[at:], first) {
				t.Fatalf("frame %x at %d, want it at %d", first, at, offset)
			}
			if meter.taken > 64<<10+2*len(stream) {
				t.Fatalf("%d bytes are taken for %d", meter.taken, len(stream))
			}
			meter.taken = 0
			if err != nil && err != ErrEmptyFrame {
				break
			}
		}
		if meter.begun != meter.complete || meter.arrived > len(stream) {
			t.Fatalf("metered %+v of %d bytes", meter, len(stream))
		}
	})
}

// TestFrameReaderBuffer checks that a connection has a large buffer only while it is busy.
func TestFrameReaderBuffer(t *testing.T) {
	small := AppendFrame(nil, make([]byte, 100))
	in, out := net.Pipe()
	defer out.Close()
	r := NewFrameReader(in, 16<<10, nil)
	for i, tt := range []struct {
		write []byte
		large bool // buffer after all of it was read, and then a small frame
	}{
		{small, false},
		{bytes.Repeat(small, 4), false},
		{bytes.Repeat(small, 100), true},
		{small, true},
		{small, false},
		{AppendFrame(nil, make([]byte, 8000)), true},
		{AppendFrame(nil, make([]byte, 2000)), true},
		{small, false},
		{AppendFrame(nil, make([]byte, 100<<10)), true},
	} {
		var writing sync.WaitGroup
		writing.Go(func() { out.Write(tt.write) })
		for end := r.next + int64(len(tt.write)); r.next < end; {
			if _, err := r.Next(1 << 20); err != nil {
				t.Fatal(err)
			}
		}
		writing.Wait()
		if large := r.in.Large(); large != tt.large {
			t.Errorf("%d: the buffer is large: %t", i, large)
		}
	}
}

// pieces is a reader that returns a few bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}
