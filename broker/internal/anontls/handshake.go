package anontls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// handshake is the state that both ends keep during the handshake.
type handshake struct {
	*Conn
	transcript                 transcript
	clientRandom, serverRandom [randomLen]byte
	flight                     []byte // messages that are not in a record yet
	group                      *group
	key                        *ecdh.PrivateKey // of the group
	master                     []byte
	toServer, toClient         directionKeys
}

// handshake runs the handshake of the client or the server.
func (c *Conn) handshake() error {
	h := &handshake{Conn: c, transcript: newTranscript()}
	run := h.server
	if c.isClient {
		run = h.client
	}
	if err := run(); err != nil {
		return err
	}
	if len(c.in.hand) > 0 {
		return c.fail(UnexpectedMessage, "the peer sent a %s after its Finished", messageType(c.in.hand[0]))
	}
	c.in.hand = nil
	return nil
}

func (h *handshake) client() error {
	hello := &clientHello{
		version:              versionTLS12,
		suites:               []uint16{Suite},
		compressions:         []byte{noCompression},
		pointFormats:         []byte{uncompressed},
		renegotiation:        []byte{},
		encryptThenMAC:       !h.config.noEncryptThenMAC,
		extendedMasterSecret: !h.config.noExtendedMasterSecret,
	}
	for _, g := range h.config.groups() {
		hello.groups = append(hello.groups, g.id)
	}
	if _, err := io.ReadFull(h.config.random, hello.random[:]); err != nil {
		return err
	}
	h.clientRandom = hello.random
	if err := h.send(hello); err != nil {
		return err
	}
	if err := h.receiveServerHello(hello); err != nil {
		return err
	}
	premaster, err := h.receiveServerKeyExchange()
	if err != nil {
		return err
	}
	body, err := h.receive(typeServerHelloDone)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		return h.fail(DecodeError, "ServerHelloDone: it is not empty")
	}

	h.queue(&clientKeyExchange{point: h.key.PublicKey().Bytes()})
	h.deriveKeys(premaster)
	if err := h.sendFinished(); err != nil {
		return err
	}
	return h.receiveFinished()
}

// receiveServerHello receives the response to hello and stores the parameters
// chosen by the server.
func (h *handshake) receiveServerHello(hello *clientHello) error {
	body, err := h.receive(typeServerHello)
	if err != nil {
		return err
	}
	answer, err := parseServerHello(body)
	if err != nil {
		return h.fail(DecodeError, "ServerHello: %v", err)
	}
	if err := h.checkServerHello(hello, answer); err != nil {
		return err
	}
	h.serverRandom = answer.random
	h.state.ExtendedMasterSecret = answer.extendedMasterSecret
	h.state.EncryptThenMAC = answer.encryptThenMAC
	h.in.version = versionTLS12
	h.out.version = versionTLS12
	return nil
}

// receiveServerKeyExchange receives the server's point, generates the client's
// key in the same group and returns the shared secret.
func (h *handshake) receiveServerKeyExchange() ([]byte, error) {
	body, err := h.receive(typeServerKeyExchange)
	if err != nil {
		return nil, err
	}
	exchange, err := parseServerKeyExchange(body)
	if err != nil {
		return nil, h.fail(DecodeError, "ServerKeyExchange: %v", err)
	}
	g := find(h.config.groups(), exchange.curve)
	if exchange.curveType != namedCurve || g == nil {
		return nil, h.fail(IllegalParameter, "ServerKeyExchange: the server chose curve %d, which was not offered", exchange.curve)
	}
	if err := h.chooseGroup(g); err != nil {
		return nil, err
	}
	return h.agree(exchange.point)
}

// chooseGroup generates the key of this end in the group.
func (h *handshake) chooseGroup(g *group) (err error) {
	h.group = g
	h.state.X25519 = g == x25519
	h.key, err = g.newKey(h.config.random)
	return err
}

func (h *handshake) checkServerHello(hello *clientHello, answer *serverHello) error {
	switch {
	case answer.version != versionTLS12:
		return h.fail(ProtocolVersion, "ServerHello: the server chose version %#04x, not TLS 1.2", answer.version)
	case answer.suite != Suite:
		return h.fail(IllegalParameter, "ServerHello: the server chose cipher suite %#04x, which was not offered", answer.suite)
	case answer.compression != noCompression:
		return h.fail(IllegalParameter, "ServerHello: the server chose a compression method")
	case len(answer.unknown) > 0:
		return h.fail(UnsupportedExtension, "ServerHello: extension %d was not offered", answer.unknown[0])
	case answer.encryptThenMAC && !hello.encryptThenMAC:
		return h.fail(UnsupportedExtension, "ServerHello: encrypt-then-MAC was not offered")
	case answer.extendedMasterSecret && !hello.extendedMasterSecret:
		return h.fail(UnsupportedExtension, "ServerHello: the extended master secret was not offered")
	case answer.pointFormats != nil && !bytes.Contains(answer.pointFormats, []byte{uncompressed}):
		return h.fail(IllegalParameter, "ServerHello: the server does not support uncompressed points")
	case answer.renegotiation == nil:
		return h.fail(HandshakeFailure, "ServerHello: the server does not support secure renegotiation")
	case len(answer.renegotiation) > 0:
		return h.fail(HandshakeFailure, "ServerHello: the renegotiation_info extension is not empty")
	}
	return nil
}

func (h *handshake) server() error {
	body, err := h.receive(typeClientHello)
	if err != nil {
		return err
	}
	hello, err := parseClientHello(body)
	if err != nil {
		return h.fail(DecodeError, "ClientHello: %v", err)
	}
	if err := h.checkClientHello(hello); err != nil {
		return err
	}
	h.clientRandom = hello.random
	h.in.version = versionTLS12
	if err := h.chooseGroup(h.config.groupFor(hello)); err != nil {
		return err
	}

	// The session ID stays empty: a client that receives its own ID assumes
	// that a session is resumed.
	answer := &serverHello{
		version:              versionTLS12,
		suite:                Suite,
		compression:          noCompression,
		encryptThenMAC:       hello.encryptThenMAC && !h.config.noEncryptThenMAC,
		extendedMasterSecret: hello.extendedMasterSecret && !h.config.noExtendedMasterSecret,
	}
	if hello.renegotiation != nil {
		answer.renegotiation = []byte{}
	}
	if hello.pointFormats != nil {
		answer.pointFormats = []byte{uncompressed}
	}
	if _, err := io.ReadFull(h.config.random, answer.random[:]); err != nil {
		return err
	}
	h.serverRandom = answer.random
	h.state.ExtendedMasterSecret = answer.extendedMasterSecret
	h.state.EncryptThenMAC = answer.encryptThenMAC
	h.queue(answer)
	h.queue(&serverKeyExchange{curveType: namedCurve, curve: h.group.id, point: h.key.PublicKey().Bytes()})
	if err := h.send(serverHelloDone{}); err != nil {
		return err
	}

	if body, err = h.receive(typeClientKeyExchange); err != nil {
		return err
	}
	exchange, err := parseClientKeyExchange(body)
	if err != nil {
		return h.fail(DecodeError, "ClientKeyExchange: %v", err)
	}
	premaster, err := h.agree(exchange.point)
	if err != nil {
		return err
	}
	h.deriveKeys(premaster)
	if err := h.receiveFinished(); err != nil {
		return err
	}
	return h.sendFinished()
}

func (h *handshake) checkClientHello(hello *clientHello) error {
	offersTLS12 := hello.version >= versionTLS12
	if hello.versions != nil {
		offersTLS12 = slices.Contains(hello.versions, versionTLS12)
	}
	switch {
	case !offersTLS12:
		return h.fail(ProtocolVersion, "ClientHello: the client does not offer TLS 1.2")
	case !slices.Contains(hello.suites, Suite):
		return h.fail(HandshakeFailure, "ClientHello: the client does not offer the anonymous cipher suite")
	case !bytes.Contains(hello.compressions, []byte{noCompression}):
		return h.fail(IllegalParameter, "ClientHello: the client does not offer the null compression method")
	case h.config.groupFor(hello) == nil:
		return h.fail(HandshakeFailure, "ClientHello: the client does not offer a supported group of points, such as secp384r1")
	case hello.pointFormats != nil && !bytes.Contains(hello.pointFormats, []byte{uncompressed}):
		return h.fail(IllegalParameter, "ClientHello: the client does not support uncompressed points")
	case len(hello.renegotiation) > 0:
		return h.fail(HandshakeFailure, "ClientHello: the renegotiation_info extension is not empty")
	}
	return nil
}

// agree returns the shared secret of this end's key and the peer's point.
func (h *handshake) agree(point []byte) ([]byte, error) {
	// NewPublicKey rejects points of another length and, for secp384r1, points that
	// are not on the curve.
	peer, err := h.group.curve.NewPublicKey(point)
	if err != nil {
		return nil, h.fail(IllegalParameter, "the peer sent an invalid point of %s", h.group.name)
	}
	// ECDH rejects points of low order of x25519, whose shared secret is zero.
	premaster, err := h.key.ECDH(peer)
	if err != nil {
		return nil, h.fail(IllegalParameter, "the peer sent an unusable point of %s", h.group.name)
	}
	return premaster, nil
}

// deriveKeys must be called directly after ClientKeyExchange: the extended
// master secret covers the handshake up to that message.
func (h *handshake) deriveKeys(premaster []byte) {
	if h.state.ExtendedMasterSecret {
		h.master = prf(premaster, "extended master secret", h.transcript.Sum(nil), masterLen)
	} else {
		seed := append(h.clientRandom[:], h.serverRandom[:]...)
		h.master = prf(premaster, "master secret", seed, masterLen)
	}
	h.toServer, h.toClient = expand(h.master, h.clientRandom[:], h.serverRandom[:])
}

// queue adds a message to the next flight.
func (h *handshake) queue(m message) {
	start := len(h.flight)
	h.flight = appendMessage(h.flight, m)
	h.transcript.Write(h.flight[start:])
}

// queueFlight queues a record with the flight.
func (h *handshake) queueFlight() {
	h.queueRecord(recordHandshake, h.flight)
	h.flight = h.flight[:0]
}

// send queues m and sends the flight.
func (h *handshake) send(m message) error {
	h.queue(m)
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.queueFlight()
	return h.flush()
}

// sendFinished sends the rest of the flight and ChangeCipherSpec, then
// Finished with the new keys.
func (h *handshake) sendFinished() error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	keys := h.toClient
	if h.isClient {
		h.queueFlight()
		keys = h.toServer
	}
	h.queueRecord(recordChangeCipherSpec, []byte{1})
	h.out.sealer = newSealer(keys, h.state.EncryptThenMAC, h.config.random)
	h.queue(&finished{verify: h.transcript.finished(h.master, h.isClient)})
	h.queueFlight()
	return h.flush()
}

// receiveFinished receives the peer's ChangeCipherSpec and Finished.
func (h *handshake) receiveFinished() error {
	if len(h.in.hand) > 0 {
		return h.fail(UnexpectedMessage, "the peer sent a %s instead of ChangeCipherSpec", messageType(h.in.hand[0]))
	}
	typ, content, err := h.readRecord()
	if err != nil {
		return err
	}
	if typ != recordChangeCipherSpec {
		return h.fail(UnexpectedMessage, "the peer sent a %s instead of ChangeCipherSpec", typ)
	}
	if !bytes.Equal(content, []byte{1}) {
		return h.fail(DecodeError, "the peer sent a malformed ChangeCipherSpec")
	}
	keys := h.toServer
	if h.isClient {
		keys = h.toClient
	}
	h.in.opener = newOpener(keys, h.state.EncryptThenMAC)
	want := h.transcript.finished(h.master, !h.isClient)
	got, err := h.receive(typeFinished)
	if err != nil {
		return err
	}
	if !hmac.Equal(got, want) {
		return h.fail(DecryptError, "Finished: the handshake was changed in transit")
	}
	return nil
}

// receive returns the body of the next handshake message, which must have the
// type want.
func (h *handshake) receive(want messageType) ([]byte, error) {
	in := &h.in
	for {
		s := cryptobyte.String(in.hand)
		var got uint8
		var n uint32
		if s.ReadUint8(&got) && messageType(got) != want {
			return nil, h.fail(UnexpectedMessage, "the peer sent a %s instead of a %s", messageType(got), want)
		}
		if s.ReadUint24(&n) {
			if n > maxMessage {
				return nil, h.fail(DecodeError, "%s: invalid length of %d bytes", want, n)
			}
			var body []byte
			if s.ReadBytes(&body, int(n)) {
				h.transcript.Write(in.hand[:messageHeader+len(body)])
				in.hand = s
				return body, nil
			}
		}
		typ, content, err := h.readRecord()
		if err != nil {
			return nil, err
		}
		if typ != recordHandshake {
			return nil, h.fail(UnexpectedMessage, "the peer sent a %s instead of a %s", typ, want)
		}
		in.hand = append(in.hand, content...)
	}
}
