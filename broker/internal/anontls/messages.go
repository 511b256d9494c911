package anontls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

type messageType uint8

const (
	typeHelloRequest      messageType = 0
	typeClientHello       messageType = 1
	typeServerHello       messageType = 2
	typeServerKeyExchange messageType = 12
	typeServerHelloDone   messageType = 14
	typeClientKeyExchange messageType = 16
	typeFinished          messageType = 20
)

var messageNames = map[messageType]string{
	typeHelloRequest:      "HelloRequest",
	typeClientHello:       "ClientHello",
	typeServerHello:       "ServerHello",
	4:                     "NewSessionTicket",
	11:                    "Certificate",
	typeServerKeyExchange: "ServerKeyExchange",
	13:                    "CertificateRequest",
	typeServerHelloDone:   "ServerHelloDone",
	typeClientKeyExchange: "ClientKeyExchange",
	typeFinished:          "Finished",
}

func (t messageType) String() string {
	if name, ok := messageNames[t]; ok {
		return name
	}
	return fmt.Sprintf("handshake message of type %d", uint8(t))
}

// Suite is TLS_ECDH_anon_WITH_AES_256_CBC_SHA (RFC 8422), the only cipher suite
// of this package.
const Suite = 0xc019

const (
	// renegotiationSCSV in a list of suites stands for an empty
	// renegotiation_info extension (RFC 5746).
	renegotiationSCSV = 0x00ff

	secp384r1       = 24
	namedCurve      = 3
	uncompressed    = 0
	noCompression   = 0
	randomLen       = 32
	maxSessionIDLen = 32
	messageHeader   = 4

	// maxMessage limits a handshake message. A ClientHello with post-quantum
	// key shares for TLS 1.3 is about 2000 bytes, all others are shorter.
	maxMessage = 16 << 10
)

// The extensions that this package knows.
const (
	extSupportedGroups      = 10
	extPointFormats         = 11
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extSupportedVersions    = 43
	extRenegotiationInfo    = 0xff01
)

// message is a handshake message that can be sent.
type message interface {
	msgType() messageType
	appendBody(b []byte) []byte
}

// appendMessage appends m with its header.
func appendMessage(b []byte, m message) []byte {
	start := len(b)
	b = append(b, byte(m.msgType()), 0, 0, 0)
	b = m.appendBody(b)
	n := len(b) - start - messageHeader
	b[start+1], b[start+2], b[start+3] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// errMalformed is what every parser here returns for a message whose lengths
// do not add up.
var errMalformed = errors.New("its fields do not fit its length")

// errDuplicate is returned for a message with two extensions of the same type.
var errDuplicate = errors.New("it has an extension twice")

// scanner reads the fields of a message. After the first that does not fit it
// is bad, and everything it returns is zero.
type scanner struct {
	b   []byte
	bad bool
}

func (s *scanner) bytes(n int) []byte {
	if s.bad || len(s.b) < n {
		s.bad = true
		return nil
	}
	b := s.b[:n:n]
	s.b = s.b[n:]
	return b
}

func (s *scanner) uint8() uint8 {
	if b := s.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (s *scanner) uint16() uint16 {
	if b := s.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// vector8 and vector16 read a byte string that follows its length.
func (s *scanner) vector8() []byte  { return s.bytes(int(s.uint8())) }
func (s *scanner) vector16() []byte { return s.bytes(int(s.uint16())) }

// uint16s reads all that is left as a list with at least one element.
func (s *scanner) uint16s() []uint16 {
	if len(s.b) == 0 || len(s.b)%2 != 0 {
		s.bad = true
	}
	var list []uint16
	for !s.bad && len(s.b) > 0 {
		list = append(list, s.uint16())
	}
	return list
}

// end reports whether everything was read and fitted.
func (s *scanner) end() bool { return !s.bad && len(s.b) == 0 }

// extensions calls f for each extension. A message may end where they would
// begin.
func (s *scanner) extensions(f func(typ uint16, content *scanner)) error {
	if s.end() {
		return nil
	}
	list := scanner{b: s.vector16()}
	if !s.end() {
		return errMalformed
	}
	seen := make(map[uint16]bool)
	for len(list.b) > 0 {
		typ := list.uint16()
		content := scanner{b: list.vector16()}
		if list.bad {
			return errMalformed
		}
		if seen[typ] {
			return errDuplicate
		}
		seen[typ] = true
		f(typ, &content)
		if content.bad {
			return fmt.Errorf("the fields of its extension %d do not fit their length", typ)
		}
	}
	return nil
}

// clientHello holds what a server of this package looks at.
type clientHello struct {
	version      uint16
	random       [randomLen]byte
	sessionID    []byte
	suites       []uint16
	compressions []byte

	// versions, groups and pointFormats are nil if their extensions are absent.
	versions     []uint16
	groups       []uint16
	pointFormats []byte

	// renegotiation is the content of renegotiation_info: nil if absent, empty
	// in every first handshake.
	renegotiation []byte

	encryptThenMAC       bool
	extendedMasterSecret bool
}

func (*clientHello) msgType() messageType { return typeClientHello }

func (m *clientHello) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, m.version)
	b = append(b, m.random[:]...)
	b = appendVector8(b, m.sessionID)
	b = appendUint16s(b, m.suites)
	b = appendVector8(b, m.compressions)
	b, done := openVector16(b)
	if m.renegotiation != nil {
		b = appendExtension(b, extRenegotiationInfo, appendVector8(nil, m.renegotiation))
	}
	if m.versions != nil {
		list := []byte{byte(2 * len(m.versions))}
		for _, v := range m.versions {
			list = binary.BigEndian.AppendUint16(list, v)
		}
		b = appendExtension(b, extSupportedVersions, list)
	}
	if m.groups != nil {
		b = appendExtension(b, extSupportedGroups, appendUint16s(nil, m.groups))
	}
	if m.pointFormats != nil {
		b = appendExtension(b, extPointFormats, appendVector8(nil, m.pointFormats))
	}
	if m.encryptThenMAC {
		b = appendExtension(b, extEncryptThenMAC, nil)
	}
	if m.extendedMasterSecret {
		b = appendExtension(b, extExtendedMasterSecret, nil)
	}
	return done(b)
}

// parseClientHello parses the body of a message. The result refers to it.
func parseClientHello(body []byte) (*clientHello, error) {
	m := new(clientHello)
	s := scanner{b: body}
	m.version = s.uint16()
	copy(m.random[:], s.bytes(randomLen))
	m.sessionID = s.vector8()
	suites := scanner{b: s.vector16()}
	m.suites = suites.uint16s()
	m.compressions = s.vector8()
	if s.bad || suites.bad || len(m.sessionID) > maxSessionIDLen {
		return nil, errMalformed
	}
	err := s.extensions(func(typ uint16, content *scanner) {
		switch typ {
		case extSupportedVersions:
			list := scanner{b: content.vector8()}
			m.versions = list.uint16s()
			content.bad = list.bad || !content.end()
		case extSupportedGroups:
			list := scanner{b: content.vector16()}
			m.groups = list.uint16s()
			content.bad = list.bad || !content.end()
		case extPointFormats:
			m.pointFormats = content.vector8()
			content.bad = !content.end() || len(m.pointFormats) == 0
		case extRenegotiationInfo:
			m.renegotiation = content.vector8()
			content.bad = !content.end()
		case extEncryptThenMAC:
			m.encryptThenMAC = true
			content.bad = !content.end()
		case extExtendedMasterSecret:
			m.extendedMasterSecret = true
			content.bad = !content.end()
		}
	})
	if err != nil {
		return nil, err
	}
	if m.renegotiation == nil && slices.Contains(m.suites, renegotiationSCSV) {
		m.renegotiation = []byte{}
	}
	return m, nil
}

// serverHello is a ServerHello. Extensions that were not parsed because this
// package never offers them are listed in unknown.
type serverHello struct {
	version     uint16
	random      [randomLen]byte
	sessionID   []byte
	suite       uint16
	compression uint8

	pointFormats         []byte
	renegotiation        []byte
	encryptThenMAC       bool
	extendedMasterSecret bool
	unknown              []uint16
}

func (*serverHello) msgType() messageType { return typeServerHello }

func (m *serverHello) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, m.version)
	b = append(b, m.random[:]...)
	b = appendVector8(b, m.sessionID)
	b = binary.BigEndian.AppendUint16(b, m.suite)
	b = append(b, m.compression)
	start := len(b)
	b, done := openVector16(b)
	if m.renegotiation != nil {
		b = appendExtension(b, extRenegotiationInfo, appendVector8(nil, m.renegotiation))
	}
	if m.pointFormats != nil {
		b = appendExtension(b, extPointFormats, appendVector8(nil, m.pointFormats))
	}
	if m.encryptThenMAC {
		b = appendExtension(b, extEncryptThenMAC, nil)
	}
	if m.extendedMasterSecret {
		b = appendExtension(b, extExtendedMasterSecret, nil)
	}
	for _, typ := range m.unknown {
		b = appendExtension(b, typ, nil)
	}
	if len(b) == start+2 {
		// Clients that sent no extensions may know of none.
		return b[:start]
	}
	return done(b)
}

func parseServerHello(body []byte) (*serverHello, error) {
	m := new(serverHello)
	s := scanner{b: body}
	m.version = s.uint16()
	copy(m.random[:], s.bytes(randomLen))
	m.sessionID = s.vector8()
	m.suite = s.uint16()
	m.compression = s.uint8()
	if s.bad || len(m.sessionID) > maxSessionIDLen {
		return nil, errMalformed
	}
	err := s.extensions(func(typ uint16, content *scanner) {
		switch typ {
		case extPointFormats:
			m.pointFormats = content.vector8()
			content.bad = !content.end() || len(m.pointFormats) == 0
		case extRenegotiationInfo:
			m.renegotiation = content.vector8()
			content.bad = !content.end()
		case extEncryptThenMAC:
			m.encryptThenMAC = true
			content.bad = !content.end()
		case extExtendedMasterSecret:
			m.extendedMasterSecret = true
			content.bad = !content.end()
		case extSupportedGroups:
			// Of no use in this direction, but some servers send it.
		default:
			m.unknown = append(m.unknown, typ)
		}
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// serverKeyExchange carries the server's point. Nothing is signed.
type serverKeyExchange struct {
	curveType uint8
	curve     uint16
	point     []byte
}

func (*serverKeyExchange) msgType() messageType { return typeServerKeyExchange }

func (m *serverKeyExchange) appendBody(b []byte) []byte {
	b = append(b, m.curveType)
	b = binary.BigEndian.AppendUint16(b, m.curve)
	return appendVector8(b, m.point)
}

func parseServerKeyExchange(body []byte) (*serverKeyExchange, error) {
	s := scanner{b: body}
	m := &serverKeyExchange{curveType: s.uint8(), curve: s.uint16(), point: s.vector8()}
	if !s.end() {
		return nil, errMalformed
	}
	return m, nil
}

// clientKeyExchange carries the client's point.
type clientKeyExchange struct{ point []byte }

func (*clientKeyExchange) msgType() messageType { return typeClientKeyExchange }

func (m *clientKeyExchange) appendBody(b []byte) []byte { return appendVector8(b, m.point) }

func parseClientKeyExchange(body []byte) (*clientKeyExchange, error) {
	s := scanner{b: body}
	m := &clientKeyExchange{point: s.vector8()}
	if !s.end() {
		return nil, errMalformed
	}
	return m, nil
}

type serverHelloDone struct{}

func (serverHelloDone) msgType() messageType       { return typeServerHelloDone }
func (serverHelloDone) appendBody(b []byte) []byte { return b }

type finished struct{ verify []byte }

func (*finished) msgType() messageType         { return typeFinished }
func (m *finished) appendBody(b []byte) []byte { return append(b, m.verify...) }

func appendVector8(b, content []byte) []byte {
	return append(append(b, byte(len(content))), content...)
}

func appendUint16s(b []byte, list []uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(list)))
	for _, v := range list {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func appendExtension(b []byte, typ uint16, content []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(len(content)))
	return append(b, content...)
}

// openVector16 leaves room for the length of what is appended next; done fills
// it in.
func openVector16(b []byte) (_ []byte, done func([]byte) []byte) {
	start := len(b)
	return append(b, 0, 0), func(b []byte) []byte {
		binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
		return b
	}
}
