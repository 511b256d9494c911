package anontls

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
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

// Suite is TLS_ECDH_anon_WITH_AES_256_CBC_SHA (RFC 8422), the only cipher
// suite of this package.
const Suite = 0xc019

const (
	// renegotiationSCSV in a list of cipher suites is equivalent to an empty
	// renegotiation_info extension (RFC 5746).
	renegotiationSCSV = 0x00ff

	namedCurve      = 3
	uncompressed    = 0
	noCompression   = 0
	randomLen       = 32
	maxSessionIDLen = 32
	messageHeader   = 4

	// maxMessage limits the length of a handshake message in bytes. A
	// ClientHello with post-quantum key shares for TLS 1.3 has about 2000
	// bytes; all other messages are shorter.
	maxMessage = 16 << 10
)

// The extensions that this package supports.
const (
	extSupportedGroups      = 10
	extPointFormats         = 11
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extSupportedVersions    = 43
	extRenegotiationInfo    = 0xff01
)

// message is a handshake message that this package can send.
type message interface {
	msgType() messageType
	addBody(b *cryptobyte.Builder)
}

// appendMessage appends m with its header.
func appendMessage(dst []byte, m message) []byte {
	b := cryptobyte.NewBuilder(dst)
	b.AddUint8(uint8(m.msgType()))
	b.AddUint24LengthPrefixed(m.addBody)
	return b.BytesOrPanic() // panics if a vector in m is too long for its length field
}

// errMalformed reports a message whose fields do not match its length.
var errMalformed = errors.New("its fields do not match its length")

// errDuplicate reports a message with two extensions of the same type.
var errDuplicate = errors.New("it contains an extension twice")

// readVector8 and readVector16 read a byte string that is preceded by its
// length.
func readVector8(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint8LengthPrefixed((*cryptobyte.String)(out))
}

func readVector16(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint16LengthPrefixed((*cryptobyte.String)(out))
}

// readUint16s reads a non-empty list that is preceded by its length in bytes.
// The function read reads the list as a byte string.
func readUint16s(read func(*cryptobyte.String, *[]byte) bool, s *cryptobyte.String, out *[]uint16) bool {
	var content []byte
	if !read(s, &content) || len(content) == 0 {
		return false
	}
	list := cryptobyte.String(content)
	for !list.Empty() {
		var v uint16
		if !list.ReadUint16(&v) {
			return false
		}
		*out = append(*out, v)
	}
	return true
}

// readExtensions calls read for each extension in the rest of a message, which
// may be empty. The result of read reports whether the content is well-formed.
func readExtensions(s cryptobyte.String, read func(typ uint16, content *cryptobyte.String) bool) error {
	if s.Empty() {
		return nil
	}
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() {
		return errMalformed
	}
	seen := make(map[uint16]bool)
	for !list.Empty() {
		var typ uint16
		var content cryptobyte.String
		if !list.ReadUint16(&typ) || !list.ReadUint16LengthPrefixed(&content) {
			return errMalformed
		}
		if seen[typ] {
			return errDuplicate
		}
		seen[typ] = true
		if !read(typ, &content) {
			return fmt.Errorf("the fields of its extension %d do not match their length", typ)
		}
	}
	return nil
}

// clientHello holds the fields of a ClientHello that the server uses.
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

	// renegotiation is the content of renegotiation_info: nil if absent, and
	// empty in the first handshake of a connection.
	renegotiation []byte

	encryptThenMAC       bool
	extendedMasterSecret bool
}

func (*clientHello) msgType() messageType { return typeClientHello }

func (m *clientHello) addBody(b *cryptobyte.Builder) {
	b.AddUint16(m.version)
	b.AddBytes(m.random[:])
	b.AddUint8LengthPrefixed(bytesOf(m.sessionID))
	b.AddUint16LengthPrefixed(uint16sOf(m.suites))
	b.AddUint8LengthPrefixed(bytesOf(m.compressions))
	b.AddUint16LengthPrefixed(m.addExtensions)
}

func (m *clientHello) addExtensions(b *cryptobyte.Builder) {
	addRenegotiation(b, m.renegotiation)
	if m.versions != nil {
		addExtension(b, extSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(uint16sOf(m.versions))
		})
	}
	if m.groups != nil {
		addExtension(b, extSupportedGroups, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(uint16sOf(m.groups))
		})
	}
	addPointFormats(b, m.pointFormats)
	addFlag(b, extEncryptThenMAC, m.encryptThenMAC)
	addFlag(b, extExtendedMasterSecret, m.extendedMasterSecret)
}

// parseClientHello parses the body of a message. The result shares its memory.
func parseClientHello(body []byte) (*clientHello, error) {
	m := new(clientHello)
	s := cryptobyte.String(body)
	if !s.ReadUint16(&m.version) || !s.CopyBytes(m.random[:]) ||
		!readVector8(&s, &m.sessionID) || len(m.sessionID) > maxSessionIDLen ||
		!readUint16s(readVector16, &s, &m.suites) || !readVector8(&s, &m.compressions) {
		return nil, errMalformed
	}
	err := readExtensions(s, func(typ uint16, content *cryptobyte.String) bool {
		switch typ {
		case extSupportedVersions:
			return readUint16s(readVector8, content, &m.versions) && content.Empty()
		case extSupportedGroups:
			return readUint16s(readVector16, content, &m.groups) && content.Empty()
		case extPointFormats:
			return readPointFormats(content, &m.pointFormats)
		case extRenegotiationInfo:
			return readVector8(content, &m.renegotiation) && content.Empty()
		case extEncryptThenMAC:
			m.encryptThenMAC = true
			return content.Empty()
		case extExtendedMasterSecret:
			m.extendedMasterSecret = true
			return content.Empty()
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if m.renegotiation == nil && slices.Contains(m.suites, renegotiationSCSV) {
		m.renegotiation = []byte{}
	}
	return m, nil
}

// serverHello is a ServerHello. The list unknown contains the extensions that
// this package never offers; they are not parsed.
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

func (m *serverHello) addBody(b *cryptobyte.Builder) {
	b.AddUint16(m.version)
	b.AddBytes(m.random[:])
	b.AddUint8LengthPrefixed(bytesOf(m.sessionID))
	b.AddUint16(m.suite)
	b.AddUint8(m.compression)
	// A client that sent no extensions may not support the extensions field.
	if m.hasExtensions() {
		b.AddUint16LengthPrefixed(m.addExtensions)
	}
}

func (m *serverHello) hasExtensions() bool {
	return m.renegotiation != nil || m.pointFormats != nil || m.encryptThenMAC || m.extendedMasterSecret || len(m.unknown) > 0
}

func (m *serverHello) addExtensions(b *cryptobyte.Builder) {
	addRenegotiation(b, m.renegotiation)
	addPointFormats(b, m.pointFormats)
	addFlag(b, extEncryptThenMAC, m.encryptThenMAC)
	addFlag(b, extExtendedMasterSecret, m.extendedMasterSecret)
	for _, typ := range m.unknown {
		addFlag(b, typ, true)
	}
}

// parseServerHello parses the body of a message. The result shares its memory.
func parseServerHello(body []byte) (*serverHello, error) {
	m := new(serverHello)
	s := cryptobyte.String(body)
	if !s.ReadUint16(&m.version) || !s.CopyBytes(m.random[:]) ||
		!readVector8(&s, &m.sessionID) || len(m.sessionID) > maxSessionIDLen ||
		!s.ReadUint16(&m.suite) || !s.ReadUint8(&m.compression) {
		return nil, errMalformed
	}
	err := readExtensions(s, func(typ uint16, content *cryptobyte.String) bool {
		switch typ {
		case extPointFormats:
			return readPointFormats(content, &m.pointFormats)
		case extRenegotiationInfo:
			return readVector8(content, &m.renegotiation) && content.Empty()
		case extEncryptThenMAC:
			m.encryptThenMAC = true
			return content.Empty()
		case extExtendedMasterSecret:
			m.extendedMasterSecret = true
			return content.Empty()
		case extSupportedGroups:
			// The extension is useless in this direction, but some servers
			// send it.
		default:
			m.unknown = append(m.unknown, typ)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// serverKeyExchange contains the server's point. It is not signed.
type serverKeyExchange struct {
	curveType uint8
	curve     uint16
	point     []byte
}

func (*serverKeyExchange) msgType() messageType { return typeServerKeyExchange }

func (m *serverKeyExchange) addBody(b *cryptobyte.Builder) {
	b.AddUint8(m.curveType)
	b.AddUint16(m.curve)
	b.AddUint8LengthPrefixed(bytesOf(m.point))
}

func parseServerKeyExchange(body []byte) (*serverKeyExchange, error) {
	m := new(serverKeyExchange)
	s := cryptobyte.String(body)
	if !s.ReadUint8(&m.curveType) || !s.ReadUint16(&m.curve) || !readVector8(&s, &m.point) || !s.Empty() {
		return nil, errMalformed
	}
	return m, nil
}

// clientKeyExchange contains the client's point.
type clientKeyExchange struct{ point []byte }

func (*clientKeyExchange) msgType() messageType { return typeClientKeyExchange }

func (m *clientKeyExchange) addBody(b *cryptobyte.Builder) {
	b.AddUint8LengthPrefixed(bytesOf(m.point))
}

func parseClientKeyExchange(body []byte) (*clientKeyExchange, error) {
	m := new(clientKeyExchange)
	s := cryptobyte.String(body)
	if !readVector8(&s, &m.point) || !s.Empty() {
		return nil, errMalformed
	}
	return m, nil
}

type serverHelloDone struct{}

func (serverHelloDone) msgType() messageType        { return typeServerHelloDone }
func (serverHelloDone) addBody(*cryptobyte.Builder) {}

type finished struct{ verify []byte }

func (*finished) msgType() messageType            { return typeFinished }
func (m *finished) addBody(b *cryptobyte.Builder) { b.AddBytes(m.verify) }

// bytesOf and uint16sOf return functions that add the content of a vector.
func bytesOf(content []byte) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddBytes(content) }
}

func uint16sOf(list []uint16) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		for _, v := range list {
			b.AddUint16(v)
		}
	}
}

func addExtension(b *cryptobyte.Builder, typ uint16, content cryptobyte.BuilderContinuation) {
	b.AddUint16(typ)
	b.AddUint16LengthPrefixed(content)
}

// addFlag adds an extension without content if it is present.
func addFlag(b *cryptobyte.Builder, typ uint16, present bool) {
	if present {
		addExtension(b, typ, bytesOf(nil))
	}
}

func addRenegotiation(b *cryptobyte.Builder, info []byte) {
	if info != nil {
		addExtension(b, extRenegotiationInfo, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(bytesOf(info))
		})
	}
}

func addPointFormats(b *cryptobyte.Builder, formats []byte) {
	if formats != nil {
		addExtension(b, extPointFormats, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(bytesOf(formats))
		})
	}
}

// readPointFormats reads the content of an extension, a non-empty list.
func readPointFormats(content *cryptobyte.String, formats *[]byte) bool {
	return readVector8(content, formats) && content.Empty() && len(*formats) > 0
}
