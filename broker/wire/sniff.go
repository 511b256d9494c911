package wire

import (
	"bytes"
	"strings"
)

// Protocol is a protocol recognized by the first bytes of a stream.
type Protocol uint8

// The protocols of clients that connect to a wrong port, or look for the right one.
const (
	ProtocolUnknown   Protocol = iota
	ProtocolNative             // Broker's own, without TLS
	ProtocolTLS                // TLS
	ProtocolHTTP               // HTTP, request or response
	ProtocolWebSocket          // HTTP request for the path of Broker's WebSocket API
	ProtocolPortProbe          // a PortProbe, of a client that looks for the protocol of the port
)

// PortProbe is what a client sends first that does not know the protocol of a port: it makes a
// server respond that waits for the client. To a server of HTTP it is a malformed request, and
// to one of TLS a malformed record: both respond with an error or close the connection. To
// Broker, which sends a greeting (Probe) in any case, it is a DropConn, and Zeek does not log
// it. The first bytes of HTTP and TLS would do harm there: they are the length of a message,
// 1.1 GiB for "GET ", for which Broker allocates memory.
const PortProbe = portProbeHead + "\x00\x00\x00\x00\x00\x00\x00\x00\x00" + // the rest of the sender
	"\x01" + // CodeUnspecified
	"\x26looks for the protocol of the port\r\n\r\n"

// portProbeHead has the length, the tag, the magic number, and the beginning of the sender,
// the nil ID, which no endpoint has. None of its bytes ends a line.
const portProbeHead = "\x00\x00\x00\x3d\x09" + magic + "\x00\x00\x00\x00\x00\x00\x00"

// SniffLen is the maximum number of bytes that Sniff examines.
const SniffLen = len(webSocketRequest)

const webSocketRequest = "GET /v1/messages"

var protocolNames = [...]string{"unknown", "native", "TLS", "HTTP", "WebSocket", "port probe"}

func (p Protocol) String() string { return protocolNames[p] }

// Sniff returns the protocol of a stream that begins with first, which may be
// shorter than SniffLen.
func Sniff(first []byte) Protocol {
	switch s := string(first); {
	case strings.HasPrefix(s, webSocketRequest):
		return ProtocolWebSocket
	case strings.HasPrefix(s, portProbeHead):
		return ProtocolPortProbe
	case strings.HasPrefix(s, "HTTP/"), isRequest(s):
		return ProtocolHTTP
	case len(s) >= 3 && s[0] >= 0x14 && s[0] <= 0x17 && s[1] == 3 && s[2] <= 4:
		// These are the content type and the version of a TLS record.
		return ProtocolTLS
	case len(s) >= 9 && s[0] == 0 && bytes.Equal(first[5:9], []byte(magic)):
		// The first message of either endpoint contains the magic number after
		// its tag.
		return ProtocolNative
	}
	return ProtocolUnknown
}

func isRequest(s string) bool {
	for _, method := range []string{"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "PRI * "} {
		if strings.HasPrefix(s, method) {
			return true
		}
	}
	return false
}
