package recording_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// frame returns a WebSocket frame with the given first byte and payload. The
// payload is masked unless mask is empty.
func frame(first byte, mask string, payload string) string {
	b := []byte{first}
	bit := byte(0)
	if mask != "" {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	b = append(b, mask...)
	for i := range len(payload) {
		c := payload[i]
		if mask != "" {
			c ^= mask[i%4]
		}
		b = append(b, c)
	}
	return string(b)
}

const (
	request  = "GET /v1/messages/json HTTP/1.1\r\nHost: x\r\nupgrade: WebSocket\r\n\r\n"
	response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	key      = "\x01\x02\x03\x04"
)

var (
	long     = strings.Repeat("a", 300)
	veryLong = strings.Repeat("b", 70000)
)

// dialogues lists the data that two sides send, and the resulting entries.
var dialogues = []struct {
	name     string
	protocol recording.Protocol
	says     []string // data of the client starts with ">", data of the server with "<"
	want     []string // from, kind, data
	err      string
}{
	{"native", recording.Native,
		[]string{"<\x00\x00\x00\x05\x07ZEEK", ">\x00\x00\x00\x01\x0c", "<\x00\x00\x00\x01\x0c\x00\x00\x00\x00"},
		[]string{"server frame \aZEEK", "client frame \f", "server frame \f", "server frame "}, ""},
	{"native, cut inside a frame", recording.Native, []string{">\x00\x00\x00\x05\x07ZEE"},
		nil, "broken frame from client to server at offset 0, first bytes 00000005075a4545: not a stream that can be recorded: unexpected end within a frame"},
	{"native, too large", recording.Native, []string{">\x00\x00\x00\x01\x0c\x7f\xff\xff\xff"},
		[]string{"client frame \f"}, "broken frame from client to server at offset 5, first bytes 7fffffff: not a stream that can be recorded: frame of 2147483647 bytes"},
	{"encrypted", "", []string{">\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}, nil, "encrypted with TLS"},
	{"other protocol", "", []string{"<SSH-2.0-OpenSSH_9.2p1\r\n"}, nil, `starts with "SSH-2.0-OpenSSH_"`},
	{"other protocol, short", "", []string{"<SSH-2.0\r\n"}, nil, `starts with "SSH-2.0\r\n"`},
	{"both protocols", recording.WebSocket, []string{">" + request, "<\x00\x00\x00\x05\x07ZEEK"},
		[]string{"client http " + request}, "protocol is native, but the other side's is websocket"},

	{"websocket", recording.WebSocket,
		[]string{">" + request + frame(0x81, key, "[]"), "<" + response + frame(0x89, "", "hb"), ">" + frame(0x8a, key, "hb"),
			"<" + frame(0x82, "", "\x00\x01"), ">" + frame(0x88, key, "\x03\xe8"), "<" + frame(0x88, "", "")},
		[]string{"client http " + request, "client text []", "server http " + response, "server ping hb", "client pong hb",
			"server binary \x00\x01", "client close \x03\xe8", "server close "}, ""},
	{"lengths", recording.WebSocket,
		[]string{">" + request + frame(0x81, key, long) + frame(0x81, key, veryLong)},
		[]string{"client http " + request, "client text " + long, "client text " + veryLong}, ""},
	{"fragments around a ping", recording.WebSocket,
		[]string{"<" + response + frame(0x01, "", "ab") + frame(0x00, "", "") + frame(0x89, "", "p") + frame(0x80, "", "c") + frame(0x81, "", "d")},
		[]string{"server http " + response, "server ping p", "server text abc", "server text d"}, ""},
	{"end within a message", recording.WebSocket, []string{"<" + response + frame(0x01, "", "ab")},
		[]string{"server http " + response}, "unexpected end within a WebSocket message"},
	{"end within a frame", recording.WebSocket, []string{"<" + response + frame(0x81, "", long)[:100]},
		[]string{"server http " + response}, "unexpected end within a WebSocket message"},
	{"continuation without a message", recording.WebSocket, []string{"<" + response + frame(0x80, "", "ab")},
		[]string{"server http " + response}, "continuation frame without a message"},
	{"message within a message", recording.WebSocket, []string{"<" + response + frame(0x01, "", "ab") + frame(0x81, "", "c")},
		[]string{"server http " + response}, "text within a fragmented message"},
	{"fragmented ping", recording.WebSocket, []string{"<" + response + frame(0x09, "", "ab")},
		[]string{"server http " + response}, "ping is fragmented or longer than 125 bytes"},
	{"long ping", recording.WebSocket, []string{"<" + response + frame(0x89, "", long)},
		[]string{"server http " + response}, "ping is fragmented or longer than 125 bytes"},
	{"compressed", recording.WebSocket, []string{"<" + response + frame(0xc1, "", "ab")},
		[]string{"server http " + response}, "reserved bits, such as those for compression"},
	{"unknown opcode", recording.WebSocket, []string{"<" + response + frame(0x83, "", "ab")},
		[]string{"server http " + response}, "unknown opcode 3"},
	{"too large", recording.WebSocket, []string{"<" + response + "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"},
		[]string{"server http " + response}, "WebSocket message of more than"},
	{"too large in fragments", recording.WebSocket, []string{"<" + response + frame(0x01, "", "a") + "\x80\x7f\x00\x00\x00\x00\x04\x00\x00\x00"},
		[]string{"server http " + response}, "WebSocket message of more than"},

	{"refused with a length", recording.WebSocket,
		[]string{">GET / HTTP/1.1\r\n\r\n", "<HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno.", ">GET /x HTTP/1.1\r\n\r\n"},
		[]string{"client http GET / HTTP/1.1\r\n\r\n", "server http HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno.",
			"client http GET /x HTTP/1.1\r\n\r\n"}, ""},
	{"refused without a length", recording.WebSocket, []string{"<HTTP/1.1 400 Bad Request\r\n\r\nno."},
		[]string{"server http HTTP/1.1 400 Bad Request\r\n\r\nno."}, ""},
	{"refused with too large a length", recording.WebSocket, []string{"<HTTP/1.1 400 Bad Request\r\nContent-Length: 99999\r\n\r\nno."},
		nil, `body of "99999" bytes`},
	{"refused with an endless body", recording.WebSocket, []string{"<HTTP/1.1 400 Bad Request\r\n\r\n" + veryLong},
		nil, "HTTP message of more than"},
	{"probe of a WebSocket server", "", []string{">" + wire.PortProbe, "<HTTP/1.1 400 Bad Request\r\n\r\n"}, nil, ""},
	{"probe of a native server", recording.Native, []string{"<\x00\x00\x00\x05\x07ZEEK", ">" + wire.PortProbe}, []string{"server frame \x07ZEEK"}, ""},
	{"beginning of a probe", recording.Native, []string{">" + wire.PortProbe[:9]}, nil, "unexpected end"},
	{"endless head", recording.WebSocket, []string{">GET /" + veryLong}, nil, "HTTP head of more than"},
}

// split feeds a dialogue to a Splitter in pieces of at most size bytes.
func split(says []string, size int) (recording.Protocol, []string, error) {
	s := recording.NewSplitter()
	var got []string
	var first error
	add := func(entries []recording.Entry, err error) {
		for _, e := range entries {
			got = append(got, fmt.Sprintf("%s %s %s", e.From, e.Kind, e.Data))
		}
		if first == nil {
			first = err
		}
	}
	for _, said := range says {
		from := recording.Client
		if said[0] == '<' {
			from = recording.Server
		}
		for piece := range slices.Chunk([]byte(said[1:]), size) {
			add(s.Write(from, piece))
			clear(piece) // the splitter must not keep it
		}
	}
	add(s.Close(recording.Client))
	add(s.Close(recording.Server))
	add(s.Write(recording.Client, []byte("too late")))
	return s.Protocol(), got, first
}

func TestSplitter(t *testing.T) {
	for _, tt := range dialogues {
		for _, size := range []int{1, 3, 1000, 1 << 20} {
			if size == 1 && len(strings.Join(tt.says, "")) > 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", tt.name, size), func(t *testing.T) {
				protocol, got, err := split(tt.says, size)
				if protocol != tt.protocol {
					t.Errorf("protocol is %q, want %q", protocol, tt.protocol)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("got %.500q\nwant %.500q", got, tt.want)
				}
				switch {
				case tt.err == "" && err != nil:
					t.Error(err)
				case tt.err != "" && (!errors.Is(err, recording.ErrStream) || !strings.Contains(err.Error(), tt.err)):
					t.Errorf("got error %v, want ErrStream with %q", err, tt.err)
				}
			})
		}
	}
}

// Splitting the bytes of a recording must result in the entries of the
// recording.
func TestSplitterOnRecordings(t *testing.T) {
	for _, name := range recordings(t) {
		c, want := readFile(t, name)
		s := recording.NewSplitter()
		var got []recording.Entry
		for _, e := range want {
			for piece := range slices.Chunk(e.AppendWire(nil), 1000) {
				entries, err := s.Write(e.From, piece)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, entries...)
			}
		}
		if s.Protocol() != c.Protocol || len(got) != len(want) {
			t.Fatalf("%s: %d entries of %q, want %d of %q", name, len(got), s.Protocol(), len(want), c.Protocol)
		}
		for i, e := range got {
			if w := want[i]; e.From != w.From || e.Offset != w.Offset || e.Kind != w.Kind || !bytes.Equal(e.Data, w.Data) {
				t.Fatalf("%s: entry %d is %s %s %q, want %s %s %q", name, i, e.From, e.Kind, e.Data, w.From, w.Kind, w.Data)
			}
		}
	}
}

// TestFragmentedOffset checks the offset of a message in fragments, with a ping
// between them.
func TestFragmentedOffset(t *testing.T) {
	s := recording.NewSplitter()
	if _, err := s.Write(recording.Client, []byte(request)); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Write(recording.Client, []byte(
		frame(0x81, key, "first")+frame(0x01, key, "frag")+frame(0x89, key, "ping")+frame(0x80, key, "ment")))
	if err != nil || len(entries) != 3 || entries[0].Offset != 0 || entries[1].Offset != 21 || entries[2].Offset != 11 {
		t.Errorf("got %+v, %v", entries, err)
	}
}

func TestBrokenStream(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("[fe80::1%eth0]:2150")
	s := recording.NewSplitter()
	s.SetAddresses(client, server)
	if _, err := s.Write(recording.Server, []byte("\x00\x00\x00\x01\x0c")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Write(recording.Server, []byte("\x7f\xff\xff\xff\x0c"+strings.Repeat("x", 100)))
	var broken *broker.FrameError
	if !errors.As(err, &broken) || broken.Client != client || broken.Server != server || broken.FromClient || broken.Offset != 5 ||
		len(broken.First) != broker.FrameExcerpt {
		t.Errorf("got %v", err)
	}
	if want := "broken frame from server [fe80::1%eth0]:2150 to client 10.0.0.1:40000 at offset 5, first bytes 7fffffff0c7878"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
}

// FuzzSplitter checks that the entries do not depend on the sizes of the
// pieces in which bytes arrive, and that splitting their wire form results in
// the same entries.
func FuzzSplitter(f *testing.F) {
	for _, tt := range dialogues {
		var client, server string
		for _, said := range tt.says {
			if said[0] == '>' {
				client += said[1:]
			} else {
				server += said[1:]
			}
		}
		if len(client)+len(server) < 2000 {
			f.Add([]byte(client), []byte(server), 3)
		}
	}
	f.Fuzz(func(t *testing.T, client, server []byte, size int) {
		says := []string{">" + string(client), "<" + string(server)}
		s := recording.NewSplitter()
		_, _ = s.Write(recording.Client, client)
		_, _ = s.Write(recording.Server, server)
		if n := s.Buffered(); n > len(client)+len(server) {
			t.Fatalf("%d bytes are buffered of %d", n, len(client)+len(server))
		}
		protocol, got, err := split(says, 1<<20)
		inPieces, gotInPieces, errInPieces := split(says, 1+max(0, size)%64)
		if (err == nil) != (errInPieces == nil) {
			t.Fatalf("got error %v at once and %v in pieces", err, errInPieces)
		}
		if protocol != inPieces || !slices.Equal(got, gotInPieces) {
			t.Fatalf("got %s %q at once and %s %q in pieces", protocol, got, inPieces, gotInPieces)
		}
	})
}
