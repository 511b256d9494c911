// Package pcap makes recordings of captured packets: files in the formats pcap
// and pcapng with unencrypted traffic of Broker's, as tcpdump and Wireshark
// write them. It captures nothing itself.
package pcap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"

	"github.com/zeekwire/zeekwire/broker/recording"
)

// Limits of one capture. All of it is held in memory.
const (
	MaxConversations = 1 << 16
	MaxBytes         = 1 << 30 // of data in all conversations together
)

// Packets that wait for one that is missing cost at most this much.
const (
	maxPages              = 1 << 15 // of 1900 bytes, in all
	maxPagesPerConnection = 1 << 12
)

// ErrFormat is wrapped by the errors of Read about the file as a whole.
var ErrFormat = errors.New("not a usable capture")

// Conversation is one TCP connection of a capture.
type Conversation struct {
	Client, Server netip.AddrPort // Client opened the connection

	// Connection is named after the two addresses. It has no protocol if Err
	// says why there are no entries.
	Connection recording.Connection
	Entries    []recording.Entry // in the order of the packets that complete them

	// Err is the first reason for which something is missing: packets, or the
	// sense of them.
	Err error
}

// Read returns the conversations of a capture in the order in which they
// begin. Packets without TCP are skipped. The error is about the file; what it
// held up to there is returned along with it.
func Read(r io.Reader) ([]Conversation, error) {
	source, err := open(r)
	if err != nil {
		return nil, fmt.Errorf("pcap: %w: %w", ErrFormat, err)
	}
	c := &capture{}
	assembler := reassembly.NewAssembler(reassembly.NewStreamPool(c))
	assembler.MaxBufferedPagesTotal = maxPages
	assembler.MaxBufferedPagesPerConnection = maxPagesPerConnection
	for err == nil {
		var data []byte
		var info gopacket.CaptureInfo
		data, info, err = source.ReadPacketData()
		if err != nil {
			break
		}
		if c.start.IsZero() {
			c.start = info.Timestamp
		}
		c.now = info.Timestamp
		packet := gopacket.NewPacket(data, source.LinkType(), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		if tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
			assembler.AssembleWithContext(packet.NetworkLayer().NetworkFlow(), tcp, &moment{info})
			err = c.err
		}
	}
	assembler.FlushAll()
	conversations := make([]Conversation, len(c.streams))
	for i, s := range c.streams {
		conversations[i] = s.conversation
	}
	if errors.Is(err, io.EOF) {
		return conversations, nil
	}
	return conversations, fmt.Errorf("pcap: %w: %w", ErrFormat, err)
}

type source interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func open(r io.Reader) (source, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(len(magicNG))
	if err != nil {
		return nil, err
	}
	if string(magic) == magicNG {
		return pcapgo.NewNgReader(buffered, pcapgo.DefaultNgReaderOptions)
	}
	return pcapgo.NewReader(buffered)
}

// Magic numbers at the start of files, whose byte order is the writer's.
const (
	magicNG = "\x0a\x0d\x0d\x0a"

	magicMicros        = "\xa1\xb2\xc3\xd4"
	magicMicrosSwapped = "\xd4\xc3\xb2\xa1"
	magicNanos         = "\xa1\xb2\x3c\x4d"
	magicNanosSwapped  = "\x4d\x3c\xb2\xa1"
)

// MagicLen is how many bytes IsCapture looks at.
const MagicLen = 4

// IsCapture reports whether a file that begins with first is a capture.
func IsCapture(first []byte) bool {
	if len(first) < MagicLen {
		return false
	}
	switch string(first[:MagicLen]) {
	case magicNG, magicMicros, magicMicrosSwapped, magicNanos, magicNanosSwapped:
		return true
	}
	return false
}

// moment tells the assembler when the packet came.
type moment struct{ info gopacket.CaptureInfo }

func (m *moment) GetCaptureInfo() gopacket.CaptureInfo { return m.info }

// capture collects the streams that the assembler finds.
type capture struct {
	start   time.Time // of the first packet
	now     time.Time // of the current one
	streams []*stream
	bytes   int
	err     error
}

// New implements reassembly.StreamFactory. The packet is the first of its
// connection; the flows are in its direction.
func (c *capture) New(network, transport gopacket.Flow, tcp *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	if len(c.streams) == MaxConversations && c.err == nil {
		c.err = fmt.Errorf("more than %d connections", MaxConversations)
	}
	src, _ := netip.AddrFromSlice(network.Src().Raw())
	dst, _ := netip.AddrFromSlice(network.Dst().Raw())
	s := &stream{
		capture: c, splitter: recording.NewSplitter(),
		conversation: Conversation{
			Client: netip.AddrPortFrom(src, uint16(tcp.SrcPort)),
			Server: netip.AddrPortFrom(dst, uint16(tcp.DstPort)),
		},
	}
	v := &s.conversation
	s.swapped = tcp.SYN && tcp.ACK
	if s.swapped {
		v.Client, v.Server = v.Server, v.Client
	}
	if !tcp.SYN {
		s.fail(errors.New("the capture starts after the connection"))
	}
	v.Connection.Name = v.Client.String() + " -> " + v.Server.String()
	v.Connection.ServerPort = v.Server.Port()
	if c.err == nil {
		c.streams = append(c.streams, s)
	}
	return s
}

// stream is both directions of one connection.
type stream struct {
	capture      *capture
	splitter     *recording.Splitter
	swapped      bool // its first packet came from the server
	conversation Conversation
}

func (s *stream) fail(err error) {
	if s.conversation.Err == nil {
		s.conversation.Err = fmt.Errorf("pcap: %w", err)
	}
}

// Accept implements reassembly.Stream.
func (s *stream) Accept(*layers.TCP, gopacket.CaptureInfo, reassembly.TCPFlowDirection, reassembly.Sequence, *bool, reassembly.AssemblerContext) bool {
	return true
}

// ReassembledSG implements reassembly.Stream.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	dir, _, end, skip := sg.Info()
	from := recording.Client
	if (dir == reassembly.TCPDirServerToClient) != s.swapped {
		from = recording.Server
	}
	if skip != 0 {
		s.fail(fmt.Errorf("packets of the %s are missing", from))
	}
	if s.conversation.Err != nil {
		return
	}
	n, _ := sg.Lengths()
	if s.capture.bytes += n; s.capture.bytes > MaxBytes {
		s.capture.err = fmt.Errorf("more than %d bytes of data", MaxBytes)
		return
	}
	s.add(s.splitter.Write(from, sg.Fetch(n)))
	if end {
		s.add(s.splitter.Close(from))
	}
}

// ReassemblyComplete implements reassembly.Stream.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool {
	s.add(s.splitter.Close(recording.Client))
	s.add(s.splitter.Close(recording.Server))
	// Acknowledgements may follow, which are no new connection.
	return false
}

// add keeps what the splitter makes of a packet.
func (s *stream) add(entries []recording.Entry, err error) {
	at := recording.At(max(0, s.capture.now.Sub(s.capture.start)))
	for _, e := range entries {
		e.T = at
		s.conversation.Entries = append(s.conversation.Entries, e)
	}
	s.conversation.Connection.Protocol = s.splitter.Protocol()
	if err != nil {
		s.fail(err)
	}
}
