package anontls

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"reflect"
	"testing"
	"time"
)

var noTime time.Time

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scripted is a connection whose peer sends the content of r and accepts all
// data.
type scripted struct {
	net.Conn // nil
	r        io.Reader
}

func (s *scripted) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// recordedPeers calls add with the data that the peer sent in each recorded
// session.
func recordedPeers(f *testing.F, add func(s session, said []byte)) {
	for _, s := range sessions {
		flows, err := readFlows(s.path())
		if err != nil {
			f.Fatal(err)
		}
		var said []byte
		for _, flow := range flows {
			if !flow.sent {
				said = append(said, flow.bytes...)
			}
		}
		add(s, said)
	}
}

// firstMessage returns the body of the first handshake message in a stream.
func firstMessage(stream []byte) []byte {
	b := stream[recordHeaderLen:]
	n := int(b[2])<<8 | int(b[3])
	return b[messageHeader : messageHeader+n]
}

func bodyOf(m message) []byte { return appendMessage(nil, m)[messageHeader:] }

// somePoint returns a point of the group.
func somePoint(g *group) []byte {
	key, err := g.newKey(fixedRandom())
	if err != nil {
		panic(err) // the random source never fails
	}
	return key.PublicKey().Bytes()
}

// FuzzClientHello and the following tests parse arbitrary messages. A message
// that can be parsed must not change when it is encoded and parsed again.
func FuzzClientHello(f *testing.F) {
	f.Add(bodyOf(goodHello()))
	recordedPeers(f, func(s session, said []byte) {
		if !s.isClient {
			f.Add(firstMessage(said))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) { again(t, body, parseClientHello) })
}

func FuzzServerHello(f *testing.F) {
	recordedPeers(f, func(s session, said []byte) {
		if s.isClient {
			f.Add(firstMessage(said))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) { again(t, body, parseServerHello) })
}

func FuzzServerKeyExchange(f *testing.F) {
	for _, g := range (config{}).groups() {
		f.Add(bodyOf(&serverKeyExchange{curveType: namedCurve, curve: g.id, point: somePoint(g)}))
	}
	f.Fuzz(func(t *testing.T, body []byte) { again(t, body, parseServerKeyExchange) })
}

func FuzzClientKeyExchange(f *testing.F) {
	for _, g := range (config{}).groups() {
		f.Add(bodyOf(&clientKeyExchange{point: somePoint(g)}))
	}
	f.Fuzz(func(t *testing.T, body []byte) { again(t, body, parseClientKeyExchange) })
}

func again[M message](t *testing.T, body []byte, parse func([]byte) (M, error)) {
	if len(body) > maxMessage {
		return
	}
	m, err := parse(body)
	if err != nil {
		return
	}
	m2, err := parse(bodyOf(m))
	if err != nil {
		t.Fatalf("%+v cannot be parsed after encoding: %v", m, err)
	}
	if !reflect.DeepEqual(m, m2) {
		t.Fatalf("%+v is encoded as %+v", m, m2)
	}
}

// FuzzPoints agrees on a secret with arbitrary points. A point is refused, or the
// secret has the length of the group and is not zero.
func FuzzPoints(f *testing.F) {
	for _, g := range (config{}).groups() {
		f.Add(somePoint(g), g == x25519)
		for _, point := range badPoints(g) {
			f.Add(point, g == x25519)
		}
	}
	f.Fuzz(func(t *testing.T, point []byte, isX25519 bool) {
		g := secp384r1
		if isX25519 {
			g = x25519
		}
		h := &handshake{Conn: newConn(&scripted{}, true, config{random: fixedRandom()})}
		if err := h.chooseGroup(g); err != nil {
			t.Fatal(err)
		}
		secret, err := h.agree(point)
		if err != nil {
			sentAlert(t, err, IllegalParameter)
			return
		}
		if len(point) != len(somePoint(g)) || len(secret) != g.scalarLen || bytes.Equal(secret, make([]byte, g.scalarLen)) {
			t.Errorf("the point %x of %s results in the secret %x", point, g.name, secret)
		}
	})
}

// FuzzRecords opens arbitrary records with keys unknown to the fuzzer, and
// splits a stream into records.
func FuzzRecords(f *testing.F) {
	for _, mode := range bothModes {
		sealed, err := newSealer(testKeys(), mode.encryptThenMAC, zeros{}).seal(nil, recordData, []byte("text"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plainRecord(recordData, sealed), mode.encryptThenMAC)
	}
	f.Fuzz(func(t *testing.T, stream []byte, encryptThenMAC bool) {
		r := newRecordReader(&scripted{r: bytes.NewReader(stream)})
		o := newOpener(testKeys(), encryptThenMAC)
		for {
			record, err := r.next()
			if err != nil {
				return
			}
			plain, err := o.open(record.typ, record.content)
			if err != nil && plain != nil {
				t.Fatal("an invalid record was returned")
			}
		}
	})
}

// fuzzEnd runs one end of a connection on arbitrary streams. The seeds are
// recorded handshakes, which succeed because the random bytes are those of the
// recording.
func fuzzEnd(f *testing.F, isClient bool) {
	recordedPeers(f, func(s session, said []byte) {
		if s.isClient == isClient && !s.config.noExtendedMasterSecret {
			f.Add(said, s.config.noEncryptThenMAC, s.config.noX25519)
		}
	})
	f.Fuzz(func(t *testing.T, said []byte, noEncryptThenMAC, noX25519 bool) {
		c := newConn(&scripted{r: bytes.NewReader(said)}, isClient, config{
			random:           recordedRandom(isClient),
			noX25519:         noX25519,
			noEncryptThenMAC: noEncryptThenMAC,
		})
		defer c.Close()
		n, err := io.Copy(io.Discard, c)
		if n > int64(len(said)) {
			t.Errorf("got %d bytes of data from a stream of %d bytes", n, len(said))
		}
		if err == nil && !c.complete.Load() {
			t.Error("neither a completed handshake nor an error")
		}
	})
}

func FuzzClient(f *testing.F) { fuzzEnd(f, true) }
func FuzzServer(f *testing.F) { fuzzEnd(f, false) }
