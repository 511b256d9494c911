package anontls

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// sentAlert checks that err reports that this end sent alert.
func sentAlert(t *testing.T, err error, alert Alert) {
	t.Helper()
	var got *AlertError
	if !errors.As(err, &got) || got.Received || got.Alert != alert {
		t.Errorf("got the error %v, want one with the alert %v", err, alert)
	}
}

// gotAlert checks that err reports that this end received alert.
func gotAlert(t *testing.T, err error, alert Alert) {
	t.Helper()
	var got *AlertError
	if !errors.As(err, &got) || !got.Received || got.Alert != alert {
		t.Errorf("the peer got the error %v, want the alert %v", err, alert)
	}
}

// goodHello returns a ClientHello that a server accepts.
func goodHello() *clientHello {
	return &clientHello{
		version:       versionTLS12,
		suites:        []uint16{Suite},
		compressions:  []byte{noCompression},
		groups:        []uint16{secp384r1.id},
		pointFormats:  []byte{uncompressed},
		renegotiation: []byte{},
	}
}

func handshakeRecord(m message) []byte {
	return plainRecord(recordHandshake, appendMessage(nil, m))
}

// helloWith returns a record with a modified goodHello.
func helloWith(change func(*clientHello)) []byte {
	m := goodHello()
	change(m)
	return handshakeRecord(m)
}

// TestHostileFirstRecords sends invalid first records to a server and, if
// applicable, to a client.
func TestHostileFirstRecords(t *testing.T) {
	warning := plainRecord(recordAlert, []byte{levelWarning, 90})
	duplicate := appendMessage(nil, goodHello())
	duplicate = append(duplicate, duplicate[len(duplicate)-6:]...) // point formats
	duplicate[3] += 6
	binary.BigEndian.PutUint16(duplicate[4+2+32+1+2+2+2:], binary.BigEndian.Uint16(duplicate[4+2+32+1+2+2+2:])+6)

	tests := []struct {
		name  string
		wire  []byte
		alert Alert
	}{
		{"wrong record type", plainRecord(recordChangeCipherSpec, []byte{1})[:], 0},
		{"record too long", []byte{22, 3, 1, 0x48, 1}, RecordOverflow},
		{"plaintext too long", plainRecord(recordHandshake, make([]byte, maxPlaintext+1)), RecordOverflow},
		{"empty handshake record", plainRecord(recordHandshake, nil), UnexpectedMessage},
		{"wrong message", handshakeRecord(serverHelloDone{}), UnexpectedMessage},
		{"message too long", plainRecord(recordHandshake, []byte{1, 1, 0, 0}), DecodeError},
		{"message longer than its fields", plainRecord(recordHandshake, []byte{1, 0, 0, 2, 3, 3}), DecodeError},
		{"duplicate extension", plainRecord(recordHandshake, duplicate), DecodeError},
		{"alert flood", bytes.Repeat(warning, maxUseless+1), UnexpectedMessage},
		{"long alert", plainRecord(recordAlert, []byte{2, 40, 0}), DecodeError},
		{"alert of level 3", plainRecord(recordAlert, []byte{3, 40}), IllegalParameter},
		{"later record of another protocol", append(bytes.Clone(warning), "\x16\x02\x00\x00\x01x"...), ProtocolVersion},
		{"data", append(bytes.Clone(warning), plainRecord(recordData, []byte("x"))...), UnexpectedMessage},
		{"empty application data", append(bytes.Clone(warning), plainRecord(recordData, nil)...), UnexpectedMessage},
		{"TLS 1.1", helloWith(func(m *clientHello) { m.version = 0x0302 }), ProtocolVersion},
		{"only TLS 1.3", helloWith(func(m *clientHello) { m.versions = []uint16{0x0304} }), ProtocolVersion},
		{"no anonymous suite", helloWith(func(m *clientHello) { m.suites = []uint16{0xc02f, 0x1301} }), HandshakeFailure},
		{"no common group", helloWith(func(m *clientHello) { m.groups = []uint16{23, 25, 30} }), HandshakeFailure},
		{"no uncompressed points", helloWith(func(m *clientHello) { m.pointFormats = []byte{1} }), IllegalParameter},
		{"compression", helloWith(func(m *clientHello) { m.compressions = []byte{1} }), IllegalParameter},
		{"renegotiation", helloWith(func(m *clientHello) { m.renegotiation = []byte("x") }), HandshakeFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			s := InsecureServer(b)
			go a.Write(tt.wire)
			err := s.Handshake()
			if tt.alert == 0 {
				if !errors.Is(err, ErrNotTLS) {
					t.Errorf("got %v", err)
				}
				return
			}
			sentAlert(t, err, tt.alert)
			reply := make([]byte, recordHeaderLen+2)
			if _, err := io.ReadFull(a, reply); err != nil {
				t.Fatal(err)
			}
			if want := plainRecord(recordAlert, []byte{levelFatal, byte(tt.alert)}); !bytes.Equal(reply, want) {
				t.Errorf("replied % x, want % x", reply, want)
			}
		})
	}
}

// TestAcceptableHellos sends hellos that differ from this package's but are
// valid.
func TestAcceptableHellos(t *testing.T) {
	tests := map[string][]byte{
		"no extensions": helloWith(func(m *clientHello) {
			m.groups, m.pointFormats, m.renegotiation = nil, nil, nil
		}),
		"TLS 1.3 too": helloWith(func(m *clientHello) {
			m.versions = []uint16{0x0304, versionTLS12}
			m.suites = []uint16{0x1302, Suite, renegotiationSCSV}
			m.sessionID = make([]byte, maxSessionIDLen)
			m.renegotiation = nil
		}),
		"later version, as before TLS 1.3": helloWith(func(m *clientHello) { m.version = 0x0304 }),
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := tcpPair(t)
			var wg sync.WaitGroup
			wg.Go(func() { InsecureServer(b).Handshake() })
			a.Write(wire)
			r, err := newRecordReader(a).next()
			if err != nil {
				t.Fatal(err)
			}
			if r.typ != recordHandshake || messageType(r.content[0]) != typeServerHello {
				t.Errorf("the server replied with % x", r.content[:min(len(r.content), 8)])
			}
			a.Close()
			wg.Wait()
		})
	}
}

// TestHostileServerHello responds to a client with parameters that it did not
// offer.
func TestHostileServerHello(t *testing.T) {
	tests := []struct {
		name   string
		change func(*serverHello)
		alert  Alert
	}{
		{"TLS 1.1", func(m *serverHello) { m.version = 0x0302 }, ProtocolVersion},
		{"other suite", func(m *serverHello) { m.suite = 0xc02f }, IllegalParameter},
		{"compression", func(m *serverHello) { m.compression = 1 }, IllegalParameter},
		{"TLS 1.3", func(m *serverHello) { m.unknown = []uint16{extSupportedVersions} }, UnsupportedExtension},
		{"session ticket", func(m *serverHello) { m.unknown = []uint16{35} }, UnsupportedExtension},
		{"encrypt-then-MAC unasked", func(m *serverHello) { m.encryptThenMAC = true }, UnsupportedExtension},
		{"extended master secret not offered", func(m *serverHello) { m.extendedMasterSecret = true }, UnsupportedExtension},
		{"no uncompressed points", func(m *serverHello) { m.pointFormats = []byte{1, 2} }, IllegalParameter},
		{"no secure renegotiation", func(m *serverHello) { m.renegotiation = nil }, HandshakeFailure},
		{"renegotiation", func(m *serverHello) { m.renegotiation = []byte("x") }, HandshakeFailure},
		{"long session ID", func(m *serverHello) { m.sessionID = make([]byte, 33) }, DecodeError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			hello := &serverHello{version: versionTLS12, suite: Suite, renegotiation: []byte{}}
			tt.change(hello)
			b.Write(handshakeRecord(hello))
			c := newConn(a, true, config{noEncryptThenMAC: true, noExtendedMasterSecret: true})
			sentAlert(t, c.Handshake(), tt.alert)
		})
	}
}

// badPoints returns points that both ends refuse.
func badPoints(g *group) map[string][]byte {
	n := len(somePoint(g))
	points := map[string][]byte{
		"empty":             {},
		"too short":         somePoint(g)[:n-1],
		"too long":          append(somePoint(g), 0),
		"of the other kind": somePoint(secp384r1),
		"of zeros":          make([]byte, n),
	}
	if g == secp384r1 {
		points["of the other kind"] = somePoint(x25519)
		points["not on the curve"] = append([]byte{4}, bytes.Repeat([]byte{1}, n-1)...)
		points["at infinity"] = []byte{0}
		points["compressed"] = append([]byte{2}, somePoint(g)[1:1+g.scalarLen]...)
		return points
	}
	// With these points every private key results in a secret of zeros. Some
	// are not reduced, or have the highest bit set, which is ignored.
	for name, digits := range map[string]string{
		"one":                  "0100000000000000000000000000000000000000000000000000000000000000",
		"of order 8":           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"of order 8, another":  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"minus one":            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"zero, not reduced":    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"one, not reduced":     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"zero, highest bit":    "0000000000000000000000000000000000000000000000000000000000000080",
		"minus one and a bit":  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"of order 8 and a bit": "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	} {
		points[name], _ = hex.DecodeString(digits)
	}
	return points
}

// replaceExchange replaces the server's point, which is one of the group g, in its
// first record. The record ends with ServerKeyExchange and ServerHelloDone.
func replaceExchange(record []byte, g, with *group, point []byte) []byte {
	exchange := &serverKeyExchange{curveType: namedCurve, curve: with.id, point: somePoint(g)}
	record = record[:len(record)-len(appendMessage(nil, exchange))-messageHeader]
	exchange.point = point
	record = appendMessage(appendMessage(record, exchange), serverHelloDone{})
	setRecordLen(record, record[recordHeaderLen:])
	return record
}

// TestHostilePoints replaces the point of each end by one that the other end
// must refuse.
func TestHostilePoints(t *testing.T) {
	t.Parallel()
	for _, g := range (config{}).groups() {
		for name, point := range badPoints(g) {
			config := config{noX25519: g == secp384r1}
			t.Run(g.name+"/server's point "+name, func(t *testing.T) {
				hostileHandshake(t, config, false, 0, IllegalParameter, func(record []byte) []byte {
					return replaceExchange(record, g, g, point)
				})
			})
			t.Run(g.name+"/client's point "+name, func(t *testing.T) {
				hostileHandshake(t, config, true, 1, IllegalParameter, func([]byte) []byte {
					return handshakeRecord12(&clientKeyExchange{point})
				})
			})
		}
	}
}

// handshakeRecord12 is handshakeRecord after the negotiation of the version.
func handshakeRecord12(m message) []byte {
	record := handshakeRecord(m)
	binary.BigEndian.PutUint16(record[1:], versionTLS12)
	return record
}

// hostileHandshake runs a handshake in which a record of one end is changed in
// transit, and checks that the other end sends an alert.
func hostileHandshake(t *testing.T, config config, fromClient bool, record int, alert Alert, change func([]byte) []byte) {
	t.Helper()
	a, b := tcpPair(t)
	mangle := func(n int, r []byte) []byte {
		if n == record {
			return change(r)
		}
		return r
	}
	c, s := newConn(a, true, config), newConn(b, false, config)
	if fromClient {
		c = newConn(&mangler{Conn: a, mangle: mangle}, true, config)
	} else {
		s = newConn(&mangler{Conn: b, mangle: mangle}, false, config)
	}
	var clientErr, serverErr error
	var wg sync.WaitGroup
	wg.Go(func() { _, serverErr = s.Read(make([]byte, 1)); b.Close() })
	_, clientErr = c.Read(make([]byte, 1))
	a.Close()
	wg.Wait()
	if fromClient {
		sentAlert(t, serverErr, alert)
		// The alert may be lost when the connection is closed with data unread.
		if clientErr == nil {
			t.Error("the client reported no error")
		}
	} else {
		sentAlert(t, clientErr, alert)
		if serverErr == nil {
			t.Error("the server reported no error")
		}
	}
}

// TestHostileHandshakes changes records in transit. The server's records are
// 0: ServerHello to ServerHelloDone, 1: ChangeCipherSpec, 2: Finished. The
// client's records are 0: ClientHello, 1: ClientKeyExchange, 2:
// ChangeCipherSpec, 3: Finished.
func TestHostileHandshakes(t *testing.T) {
	t.Parallel()
	for _, g := range (config{}).groups() {
		t.Run(g.name, func(t *testing.T) { testHostileHandshakes(t, g) })
	}
}

func testHostileHandshakes(t *testing.T, g *group) {
	pointLen := len(somePoint(g))
	replace := func(b []byte) func([]byte) []byte { return func([]byte) []byte { return b } }
	flip := func(at int) func([]byte) []byte {
		return func(r []byte) []byte {
			if at < 0 {
				at += len(r)
			}
			r[at] ^= 1
			return r
		}
	}
	const extEtM = "\x00\x16\x00\x00"
	tests := []struct {
		name       string
		fromClient bool
		record     int
		change     func([]byte) []byte
		config     config
		alert      Alert
	}{
		{"other curve", false, 0, func(r []byte) []byte { return flip(len(r) - messageHeader - pointLen - 2)(r) }, config{}, IllegalParameter},
		{"point of another length", false, 0, func(r []byte) []byte { return flip(len(r) - messageHeader - pointLen - 1)(r) }, config{}, DecodeError},
		{"ServerHelloDone is not empty", false, 0, func(r []byte) []byte {
			r[len(r)-1] = 1
			r = append(r, 0)
			setRecordLen(r, r[recordHeaderLen:])
			return r
		}, config{}, DecodeError},
		{"message after ServerHelloDone", false, 0, func(r []byte) []byte {
			r = append(r, byte(typeHelloRequest), 0, 0, 0)
			setRecordLen(r, r[recordHeaderLen:])
			return r
		}, config{}, UnexpectedMessage},
		{"other message instead of ServerHelloDone", false, 0, func(r []byte) []byte { return flip(len(r) - messageHeader)(r) }, config{}, UnexpectedMessage},
		{"client's point too short", true, 1, flip(recordHeaderLen + messageHeader), config{}, DecodeError},
		{"another valid point", true, 1, func([]byte) []byte {
			return handshakeRecord12(&clientKeyExchange{somePoint(g)})
		}, config{}, BadRecordMAC},
		{"no ChangeCipherSpec", false, 1, replace(nil), config{}, UnexpectedMessage},
		{"no ChangeCipherSpec of the client", true, 2, replace(nil), config{}, UnexpectedMessage},
		{"malformed ChangeCipherSpec", false, 1, flip(-1), config{}, DecodeError},
		{"ChangeCipherSpec twice", false, 1, func(r []byte) []byte { return append(r, r...) }, config{}, BadRecordMAC},
		{"ChangeCipherSpec first", true, 1, func(r []byte) []byte {
			return append(plainRecord(recordChangeCipherSpec, []byte{1}), r...)
		}, config{}, UnexpectedMessage},
		{"version changes", true, 1, flip(2), config{}, ProtocolVersion},
		{"Finished changed", true, 3, flip(-1), config{}, BadRecordMAC},
		{"Finished of the server changed", false, 2, flip(-1), config{}, BadRecordMAC},
		{"Finished changed, MAC-then-encrypt", true, 3, flip(-1), config{noEncryptThenMAC: true}, BadRecordMAC},
		{"random changed", true, 0, flip(recordHeaderLen + messageHeader + 2), config{}, BadRecordMAC},
		{"encrypt-then-MAC stripped from the hello", true, 0, func(r []byte) []byte {
			return bytes.Replace(r, []byte(extEtM), []byte("\x16\x16\x00\x00"), 1)
		}, config{noExtendedMasterSecret: true}, DecryptError},
		{"encrypt-then-MAC stripped, with the extended master secret", true, 0, func(r []byte) []byte {
			return bytes.Replace(r, []byte(extEtM), []byte("\x16\x16\x00\x00"), 1)
		}, config{}, BadRecordMAC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.noX25519 = g == secp384r1
			hostileHandshake(t, tt.config, tt.fromClient, tt.record, tt.alert, tt.change)
		})
	}
}

// TestGroupDowngrade makes both ends use secp384r1, although both support x25519,
// and makes the client use a group that the server has not chosen.
func TestGroupDowngrade(t *testing.T) {
	t.Parallel()
	offer := func(ids ...uint16) []byte {
		return appendMessage(nil, &clientHello{suites: []uint16{Suite}, groups: ids})[messageHeader+2+randomLen+1+2+2+1+2:]
	}
	strip := func(r []byte) []byte {
		return bytes.Replace(r, offer(x25519.id, secp384r1.id), offer(0x7a7a, secp384r1.id), 1)
	}
	for _, tt := range []struct {
		config config
		alert  Alert
	}{
		{config{}, BadRecordMAC}, // the keys depend on the whole handshake
		{config{noExtendedMasterSecret: true}, DecryptError},
	} {
		hostileHandshake(t, tt.config, true, 0, tt.alert, strip)
	}
	a, b := tcpPair(t)
	c, s := InsecureClient(a), InsecureServer(&mangler{Conn: b, mangle: func(n int, r []byte) []byte {
		if n == 0 {
			return replaceExchange(r, x25519, secp384r1, somePoint(secp384r1))
		}
		return r
	}})
	clientErr, serverErr := handshakeBoth(c, s)
	sentAlert(t, serverErr, IllegalParameter)
	gotAlert(t, clientErr, IllegalParameter)
}

// TestGroupNotOffered chooses x25519 for a client that does not offer it.
func TestGroupNotOffered(t *testing.T) {
	hostileHandshake(t, config{noX25519: true}, false, 0, IllegalParameter, func(r []byte) []byte {
		return replaceExchange(r, secp384r1, x25519, somePoint(x25519))
	})
}

// TestClosedDuringHandshake ends the server's stream after each byte.
func TestClosedDuringHandshake(t *testing.T) {
	t.Parallel()
	flows, err := readFlows(sessions[0].path())
	if err != nil {
		t.Fatal(err)
	}
	if !flows[0].sent || flows[1].sent || !flows[2].sent || flows[3].sent {
		t.Fatal("the recording does not begin with a handshake")
	}
	handshake := append(bytes.Clone(flows[1].bytes), flows[3].bytes[:6]...)
	for n := range handshake {
		conn := &scripted{r: bytes.NewReader(handshake[:n])}
		err := newConn(conn, true, config{random: sessions[0].random(), noX25519: true}).Handshake()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: got %v", n, err)
		}
	}
}

// raw sends a record without the checks of the sending side.
func (c *Conn) raw(typ recordType, content []byte) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.queueRecord(typ, content)
	c.flush()
}

// TestHostileAfterHandshake sends well-formed records that are not allowed
// after the handshake.
func TestHostileAfterHandshake(t *testing.T) {
	t.Parallel()
	repeat := func(n int, typ recordType, content []byte) func(*Conn) {
		return func(c *Conn) {
			for range n {
				c.raw(typ, content)
			}
		}
	}
	hello := appendMessage(nil, goodHello())
	tests := []struct {
		name     string
		toClient bool
		attack   func(*Conn)
		alert    Alert
	}{
		{"HelloRequest", true, repeat(1, recordHandshake, []byte{0, 0, 0, 0}), NoRenegotiation},
		{"ClientHello", false, repeat(1, recordHandshake, hello), NoRenegotiation},
		{"ClientHello to a client", true, repeat(1, recordHandshake, hello), UnexpectedMessage},
		{"second Finished", false, repeat(1, recordHandshake, []byte{20, 0, 0, 0}), UnexpectedMessage},
		{"ChangeCipherSpec", false, repeat(1, recordChangeCipherSpec, []byte{1}), UnexpectedMessage},
		{"unknown record type", true, repeat(1, 99, []byte{1}), UnexpectedMessage},
		{"empty handshake record", true, repeat(1, recordHandshake, nil), UnexpectedMessage},
		{"alert flood", true, repeat(maxUseless+1, recordAlert, []byte{levelWarning, 90}), UnexpectedMessage},
		{"empty data flood", false, repeat(maxUseless+1, recordData, nil), UnexpectedMessage},
		{"data too long", false, repeat(1, recordData, make([]byte, maxPlaintext+1)), RecordOverflow},
		{"short alert", true, repeat(1, recordAlert, []byte{2}), DecodeError},
		{"version changes", false, func(c *Conn) { c.out.version = versionTLS10; c.raw(recordData, []byte("x")) }, ProtocolVersion},
		{"replayed record", false, func(c *Conn) { c.out.sealer.seq--; c.raw(recordData, []byte("x")) }, BadRecordMAC},
		{"unencrypted record", false, func(c *Conn) { c.conn.Write(plainRecord(recordData, []byte("secret"))) }, BadRecordMAC},
		{"unencrypted close notify", false, func(c *Conn) { c.conn.Write(plainRecord(recordAlert, []byte{1, 0})) }, BadRecordMAC},
	}
	for _, mode := range []config{{}, {noEncryptThenMAC: true}} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				victim, attacker := connected(t, mode)
				if !tt.toClient {
					victim, attacker = attacker, victim
				}
				tt.attack(attacker)
				for range 2 {
					_, err := victim.Read(make([]byte, 1))
					sentAlert(t, err, tt.alert)
				}
				if _, err := victim.Write([]byte("x")); err == nil {
					t.Error("Write still succeeds")
				}
				_, err := attacker.Read(make([]byte, 1))
				gotAlert(t, err, tt.alert)
			})
		}
	}
}

// TestEmptyRecordsAreLimited sends the maximum number of records without content, more
// than once.
func TestEmptyRecordsAreLimited(t *testing.T) {
	c, s := connected(t, config{})
	for range 3 {
		for range maxUseless / 2 {
			s.raw(recordData, nil)
			s.raw(recordAlert, []byte{levelWarning, 90})
		}
		io.WriteString(s, "x")
		read(t, c, "x")
	}
}

// TestFailInterruptsWrite has a peer that violates the protocol and does not
// read.
func TestFailInterruptsWrite(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	c, s := connectedOver(t, a, b, config{})
	defer b.Close()
	done := make(chan error)
	go func() {
		_, err := c.Write([]byte("data that the peer does not read"))
		done <- err
	}()
	go s.raw(recordHandshake, []byte{0, 0, 0, 0})
	_, err := c.Read(make([]byte, 1))
	sentAlert(t, err, NoRenegotiation)
	if err := <-done; err == nil {
		t.Error("Write succeeded")
	}
	// The deadline of a connection that has ended cannot be changed.
	if err := c.SetWriteDeadline(noTime); err != nil {
		t.Error(err)
	}
}

func TestOtherProtocols(t *testing.T) {
	for name, greeting := range map[string]string{
		"http":   "GET / HTTP/1.1\r\n\r\n",
		"broker": "\x00\x00\x00\x05\x01ZEEK",
		"ssl2":   "\x80\x2e\x01\x00\x02\x00\x15",
	} {
		t.Run(name, func(t *testing.T) {
			for _, isClient := range []bool{true, false} {
				c := newConn(&scripted{r: strings.NewReader(greeting)}, isClient, config{})
				if err := c.Handshake(); !errors.Is(err, ErrNotTLS) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// failing is a random source that always fails.
type failing struct{}

var errNoRandom = errors.New("no random bytes")

func (failing) Read([]byte) (int, error) { return 0, errNoRandom }

func TestRandomFails(t *testing.T) {
	for _, isClient := range []bool{true, false} {
		conn := &scripted{r: bytes.NewReader(handshakeRecord(goodHello()))}
		err := newConn(conn, isClient, config{random: failing{}}).Handshake()
		if !errors.Is(err, errNoRandom) {
			t.Errorf("got %v", err)
		}
	}
	c, _ := connected(t, config{})
	c.out.sealer.random = failing{}
	if _, err := c.Write([]byte("x")); !errors.Is(err, errNoRandom) {
		t.Errorf("write: got %v", err)
	}
	if _, err := secp384r1.newKey(zeros{}); err == nil {
		t.Error("zero is accepted as a private key")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestPRF(t *testing.T) {
	// This is a test vector for P_SHA256 of the IETF's TLS working group.
	secret := unhex(t, "9bbe436ba940f017b17652849a71db35")
	seed := unhex(t, "a0ba9f936cda311827a6f796ffd5198c")
	want := unhex(t, "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"+
		"6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"+
		"4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"+
		"87347b66")
	if got := prf(secret, "test label", seed, len(want)); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}
