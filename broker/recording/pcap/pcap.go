// Package pcap converts captured packets to recordings. It reads files in the
// formats pcap and pcapng, as written by tcpdump and Wireshark, with
// unencrypted traffic of Broker. It does not capture packets.
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

// Limits of a capture, which is held in memory.
const (
	MaxConversations = 1 << 16
	MaxBytes         = 1 << 30 // total data in all conversations, and entryBytes for each entry
	MaxPacket        = 1 << 24 // a packet of a file in the format pcap
)

// entryBytes is the memory of an entry without its data.
const entryBytes = 128

// Limits of the packets buffered while an earlier one is missing, in pages of
// 1900 bytes.
const (
	maxPages              = 1 << 15 // in all connections
	maxPagesPerConnection = 1 << 12
)

var errTooLarge = fmt.Errorf("more than %d bytes of data", MaxBytes)

// ErrFormat is wrapped by errors of Read about the whole file.
var ErrFormat = errors.New("not a usable capture")

// Conversation is a TCP connection in a capture.
type Conversation struct {
	Client, Server netip.AddrPort // Client opened the connection

	// Connection is named after the two addresses. Its protocol is empty if
	// Entries is empty; Err is the reason.
	Connection recording.Connection
	Entries    []recording.Entry // in the order of the packets that complete them

	// Err is the first reason why entries are missing, such as lost packets or
	// another protocol. It is nil if the conversation is complete.
	Err error
}

// Read returns the conversations of a capture in the order of their first
// packets. It skips packets that are not TCP. If the file is invalid or too
// large, Read returns the conversations up to that position along with an
// error.
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
	reader, err := pcapgo.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	reader.SetSnaplen(min(reader.Snaplen(), MaxPacket))
	return reader, nil
}

// Magic numbers of the file formats, in the byte order of the program that
// wrote the file.
const (
	magicNG = "\x0a\x0d\x0d\x0a"

	magicMicros        = "\xa1\xb2\xc3\xd4"
	magicMicrosSwapped = "\xd4\xc3\xb2\xa1"
	magicNanos         = "\xa1\xb2\x3c\x4d"
	magicNanosSwapped  = "\x4d\x3c\xb2\xa1"
)

// MagicLen is the number of bytes that IsCapture examines.
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

// moment is the assembler's context of a packet. It holds the packet's time.
type moment struct{ info gopacket.CaptureInfo }

func (m *moment) GetCaptureInfo() gopacket.CaptureInfo { return m.info }

// capture collects the streams that the assembler reports.
type capture struct {
	start   time.Time // of the first packet
	now     time.Time // of the current one
	streams []*stream
	bytes   int
	err     error
}

// New implements reassembly.StreamFactory. The packet tcp is the first of its
// connection, and the flows have its direction.
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
	v.Connection.Client, v.Connection.Server = v.Client, v.Server
	s.splitter.SetAddresses(v.Client, v.Server)
	if c.err == nil {
		c.streams = append(c.streams, s)
	}
	return s
}

// stream holds both directions of a connection.
type stream struct {
	capture      *capture
	splitter     *recording.Splitter
	swapped      bool // the server sent the first packet
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
		s.capture.err = errTooLarge
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
	// Keep the connection, so that later acknowledgments do not create a new
	// one.
	return false
}

// add stores the splitter's results for a packet.
func (s *stream) add(entries []recording.Entry, err error) {
	at := recording.At(max(0, s.capture.now.Sub(s.capture.start)))
	if s.capture.bytes += entryBytes * len(entries); s.capture.bytes > MaxBytes {
		s.capture.err = errTooLarge
		return
	}
	for _, e := range entries {
		e.T = at
		s.conversation.Entries = append(s.conversation.Entries, e)
	}
	s.conversation.Connection.Protocol = s.splitter.Protocol()
	if err != nil {
		s.fail(err)
	}
}
