package pcap_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/recording/pcap"
)

const folder = "../../../testdata/recordings/zeek-8.0.10-types/"

func readRecording(t *testing.T, name string) (recording.Connection, []recording.Entry) {
	t.Helper()
	connection, entries, err := recording.ReadFile(folder + name)
	if err != nil {
		t.Fatal(err)
	}
	return connection, entries
}

// The recordings in the same directory were made from the capture by other
// programs.
func TestCaptureAgreesWithRecordings(t *testing.T) {
	f, err := os.Open(folder + "session.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conversations, err := pcap.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"broker-websocket-01.jsonl", "zeek-websocket-01.jsonl", "native-01.jsonl"}
	if len(conversations) != len(files) {
		t.Fatalf("got %d conversations, want %d", len(conversations), len(files))
	}
	for i, name := range files {
		c, entries := readRecording(t, name)
		got := conversations[i]
		if got.Err != nil {
			t.Errorf("%s: %v", name, got.Err)
		}
		if got.Connection.Protocol != c.Protocol || got.Connection.ServerPort != c.ServerPort {
			t.Errorf("%s: got %+v", name, got.Connection)
		}
		if diff := cmp.Diff(entries, got.Entries); diff != "" {
			t.Errorf("%s (-recorded +captured):\n%.2000s", name, diff)
		}
	}
}

// packet is a TCP segment on a loopback device.
type packet struct {
	fromServer bool
	flags      string // any of S, A, F, R
	seq        uint32
	data       string
}

// capture returns a pcap file with the given packets, a millisecond apart.
func capture(t testing.TB, packets ...packet) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{127, 0, 0, 1}, DstIP: []byte{127, 0, 0, 2}}
		tcp := &layers.TCP{SrcPort: 40000, DstPort: 9999, Seq: p.seq, Window: 1000,
			SYN: strings.Contains(p.flags, "S"), ACK: strings.Contains(p.flags, "A"),
			FIN: strings.Contains(p.flags, "F"), RST: strings.Contains(p.flags, "R")}
		if p.fromServer {
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
			tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
		}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		buf := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4},
			ip, tcp, gopacket.Payload(p.data))
		if err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{
			Timestamp:     time.Unix(1000, int64(i)*int64(time.Millisecond)),
			CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes()),
		}
		if err := w.WritePacket(info, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

const (
	probe = "\x00\x00\x00\x05\x07ZEEK"
	ack   = "\x00\x00\x00\x01\x0c"
)

// sessions lists captures, and the times and data expected of their only
// conversation, one entry per word.
var sessions = []struct {
	name    string
	packets []packet
	want    string
	err     string
}{
	{"in order", []packet{{false, "S", 10, ""}, {true, "SA", 20, ""}, {true, "A", 21, probe}, {false, "A", 11, ack}, {false, "FA", 16, ""}, {true, "FA", 30, ""}, {false, "A", 17, ""}},
		"0.002:server:075a45454b 0.003:client:0c", ""},
	{"out of order and duplicated", []packet{{false, "S", 10, ""}, {true, "SA", 20, ""}, {true, "A", 25, probe[4:]}, {true, "A", 25, probe[4:]}, {true, "A", 21, probe[:4]}, {true, "A", 21, probe}},
		"0.004:server:075a45454b", ""},
	{"SYN-ACK before SYN", []packet{{true, "SA", 20, ""}, {false, "S", 10, ""}, {false, "A", 11, ack}},
		"0.002:client:0c", ""},
	{"missing packet", []packet{{false, "S", 10, ""}, {false, "A", 11, ack}, {false, "A", 21, ack}, {false, "FA", 26, ""}},
		"0.001:client:0c", "packets of the client are missing"},
	{"missing start", []packet{{false, "A", 11, ack}, {false, "A", 16, ack}}, "", "the capture starts after the connection"},
	{"cut inside a frame", []packet{{false, "S", 10, ""}, {false, "A", 11, ack + probe[:6]}}, "0.001:client:0c", "unexpected end within a frame"},
	{"reset", []packet{{false, "S", 10, ""}, {true, "SA", 20, ""}, {false, "A", 11, ack}, {true, "RA", 21, ""}}, "0.002:client:0c", ""},
	{"not Broker", []packet{{false, "S", 10, ""}, {false, "A", 11, "SSH-2.0-OpenSSH_9.2p1\r\n"}}, "", "neither a Broker frame nor HTTP"},
}

func TestSessions(t *testing.T) {
	for _, tt := range sessions {
		t.Run(tt.name, func(t *testing.T) {
			conversations, err := pcap.Read(bytes.NewReader(capture(t, tt.packets...)))
			if err != nil || len(conversations) != 1 {
				t.Fatalf("got %d conversations and %v", len(conversations), err)
			}
			c := conversations[0]
			if c.Connection.Name != "127.0.0.1:40000 -> 127.0.0.2:9999" {
				t.Errorf("name is %s", c.Connection.Name)
			}
			var got []string
			for _, e := range c.Entries {
				got = append(got, string(e.T)+":"+string(e.From)+":"+hex.EncodeToString(e.Data))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
			if (c.Err == nil) != (tt.err == "") || c.Err != nil && !strings.Contains(c.Err.Error(), tt.err) {
				t.Errorf("got error %v, want %q", c.Err, tt.err)
			}
		})
	}
}

func TestConnectionsOnTheSamePorts(t *testing.T) {
	file := capture(t, packet{false, "S", 10, ""}, packet{true, "SA", 20, ""}, packet{false, "A", 11, ack}, packet{false, "FA", 16, ""}, packet{true, "FA", 21, ""},
		packet{false, "S", 90, ""}, packet{true, "SA", 80, ""}, packet{true, "A", 81, probe})
	conversations, err := pcap.Read(bytes.NewReader(file))
	if err != nil || len(conversations) != 2 || len(conversations[0].Entries) != 1 || len(conversations[1].Entries) != 1 {
		t.Errorf("got %+v and %v, want two conversations of one entry", conversations, err)
	}
}

func TestFormats(t *testing.T) {
	if pcap.IsCapture([]byte(`{"co`)) || pcap.IsCapture(nil) {
		t.Error("a recording is recognized as a capture")
	}
	file := capture(t, sessions[0].packets...)
	if !pcap.IsCapture(file) {
		t.Error("a capture is not recognized")
	}
	conversations, err := pcap.Read(bytes.NewReader(file[:len(file)-1]))
	if !errors.Is(err, pcap.ErrFormat) || !errors.Is(err, io.ErrUnexpectedEOF) || len(conversations) != 1 || len(conversations[0].Entries) != 2 {
		t.Errorf("cut file: got %+v and %v", conversations, err)
	}
	for _, bad := range []string{"", "abc", "not a capture at all, but long enough"} {
		if _, err := pcap.Read(strings.NewReader(bad)); !errors.Is(err, pcap.ErrFormat) {
			t.Errorf("%q: got %v, want ErrFormat", bad, err)
		}
	}

	var ng bytes.Buffer
	w, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err := errors.Join(err, w.WritePacket(info, data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want, _ := pcap.Read(bytes.NewReader(file))
	got, err := pcap.Read(&ng)
	if err != nil || !cmp.Equal(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
		t.Errorf("pcapng: got %+v and %v, want %+v", got, err, want)
	}
}

// TestAnnouncedPacketTakesNoMemory reads files with packets whose lengths are much
// larger than the files.
func TestAnnouncedPacketTakesNoMemory(t *testing.T) {
	file := capture(t, packet{flags: "S"})
	binary.LittleEndian.PutUint32(file[16:], math.MaxUint32) // the maximum length
	for _, n := range []uint32{1 << 20, pcap.MaxPacket, pcap.MaxPacket + 1, 1 << 31, math.MaxUint32} {
		huge := bytes.Clone(file)
		binary.LittleEndian.PutUint32(huge[24+8:], n)
		binary.LittleEndian.PutUint32(huge[24+12:], n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := pcap.Read(bytes.NewReader(huge))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, pcap.ErrFormat) {
			t.Errorf("a packet of %d bytes: got %v", n, err)
		}
		allocated := after.TotalAlloc - before.TotalAlloc
		if allocated > 2<<20 {
			t.Errorf("a packet of %d bytes takes %d bytes", n, allocated)
		}
	}
}

func TestBrokenFrame(t *testing.T) {
	conversations, err := pcap.Read(bytes.NewReader(capture(t,
		packet{flags: "S", seq: 100}, packet{flags: "SA", seq: 200, fromServer: true},
		packet{flags: "A", seq: 201, fromServer: true, data: probe + "\x7f\xff\xff\xff"})))
	if err != nil || len(conversations) != 1 {
		t.Fatalf("got %+v, %v", conversations, err)
	}
	var broken *broker.FrameError
	if err := conversations[0].Err; !errors.As(err, &broken) || broken.Offset != 9 || broken.FromClient ||
		!strings.Contains(err.Error(), "broken frame from server 127.0.0.2:9999 to client 127.0.0.1:40000 at offset 9, first bytes 7fffffff: ") {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range sessions {
		f.Add(capture(f, s.packets...))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		conversations, err := pcap.Read(bytes.NewReader(file))
		if err != nil && !errors.Is(err, pcap.ErrFormat) {
			t.Fatal(err)
		}
		for _, c := range conversations {
			if c.Connection.Protocol == "" && (c.Err == nil && len(c.Entries) > 0) {
				t.Fatalf("entries without a protocol: %+v", c)
			}
		}
	})
}
