package peering

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// namedConn is a connection with an authenticated peer.
type namedConn struct {
	net.Conn
	name   string
	writes *writeLog
}

func (c *namedConn) PeerNames() []string { return []string{c.name, "another"} }

func (c *namedConn) Write(b []byte) (int, error) {
	c.writes.add(b)
	return c.Conn.Write(b)
}

// writeLog records the data of each call of Write.
type writeLog struct {
	mu    sync.Mutex
	calls []string
}

func (w *writeLog) add(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, string(b))
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func secureWith(name string, writes *writeLog) func(context.Context, net.Conn, bool) (net.Conn, error) {
	return func(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
		var c *tls.Conn
		if dialed {
			c = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		} else {
			c = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate()}})
		}
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return &namedConn{c, name, writes}, nil
	}
}

func TestPeeringOverTLS(t *testing.T) {
	var writesA, writesB writeLog
	a := newEndpoint(t, Config{ID: smallID, TLS: secureWith("bob", &writesA)})
	b := newEndpoint(t, Config{ID: largeID, TLS: secureWith("alice", &writesB), Subscriptions: []string{"t"}})
	if peer := dial(t, a, listen(t, b)); peer.Name != "bob" {
		t.Errorf("a's peer is %+v", peer)
	}
	publish(t, a, "t", broker.Count(7))
	if added := next[broker.PeerAdded](t, b); added.Peer.Name != "alice" ||
		!slices.Equal(added.Peer.Identity.Names, []string{"alice", "another"}) || !added.Peer.Identity.Certified {
		t.Errorf("b's peer is %+v", added.Peer)
	}
	next[broker.Received](t, b)
	// Zeek ignores data in the same TLS record as the end of the handshake.
	writesA.mu.Lock()
	defer writesA.mu.Unlock()
	if got, want := writesA.calls[2], string(frame(wire.OriginatorAck{})); got != want {
		t.Errorf("third write is %x, want %x", got, want)
	}
}

func TestTLSDialsPlaintext(t *testing.T) {
	b := newEndpoint(t, Config{})
	a := newEndpoint(t, Config{TLS: secureWith("", new(writeLog))})
	address := listen(t, b)
	if err := a.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	_, err := a.AwaitPeer(testContext(t), address)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || mismatch.Met != wire.ProtocolNative || !mismatch.Dialed ||
		!strings.Contains(err.Error(), "turn it off here, or on in Zeek") {
		t.Errorf("failed with %v", err)
	}
}

func TestPlaintextDialsTLS(t *testing.T) {
	b := newEndpoint(t, Config{TLS: secureWith("", new(writeLog))})
	a := newEndpoint(t, Config{})
	if err := a.AddPeer(listen(t, b)); err != nil {
		t.Fatal(err)
	}
	a.registry.await(testContext(t), func() bool { return a.Peers()[0].Err != nil })
	// A TLS server closes the connection. So does a proxy without a backend.
	if err := a.Peers()[0].Err; !strings.Contains(err.Error(), "it may require TLS") {
		t.Errorf("failed with %v", err)
	}
}

// TestTLSHookErrors checks that errors of the TLS hook are reported unchanged,
// except for timeouts.
func TestTLSHookErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("security: no certificate"), "peering: TLS: security: no certificate"},
		{fmt.Errorf("security: %w", io.EOF), "peering: TLS: security: EOF"},
		{io.ErrUnexpectedEOF, "peering: TLS: unexpected EOF"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "peering: TLS: remote error: tls: bad certificate"},
		{fmt.Errorf("security: %w", os.ErrDeadlineExceeded), errHandshakeTimeout.Error()},
	} {
		t.Run(test.want, func(t *testing.T) {
			e := newEndpoint(t, Config{TLS: func(context.Context, net.Conn, bool) (net.Conn, error) { return nil, test.err }})
			ours, _ := tcpPair(t)
			_, peered, err := e.serve(e.ctx, ours, nil)
			if peered || err.Error() != test.want {
				t.Errorf("failed with %v, want %s", err, test.want)
			}
			if !errors.Is(err, test.err) && !errors.Is(err, errHandshakeTimeout) {
				t.Errorf("%v does not wrap %v", err, test.err)
			}
		})
	}
}

// TestTLSConnectionReset checks that the error does not contain our port, which
// would make each error differ from the previous one.
func TestTLSConnectionReset(t *testing.T) {
	e := newEndpoint(t, Config{TLS: secureWith("", new(writeLog))})
	ours, theirs := tcpPair(t)
	theirs.(*net.TCPConn).SetLinger(0)
	theirs.Close()
	if _, _, err := e.serve(e.ctx, ours, nil); !strings.HasSuffix(err.Error(), "peering: TLS: connection reset by peer") {
		t.Errorf("failed with %v", err)
	}
}

// TestMismatchOnAccept accepts connections of other protocols.
func TestMismatchOnAccept(t *testing.T) {
	secure := secureWith("", new(writeLog))
	for _, test := range []struct {
		name   string
		secure func(context.Context, net.Conn, bool) (net.Conn, error)
		first  string
		met    wire.Protocol
		want   string
	}{
		{"TLS to plaintext", nil, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", wire.ProtocolTLS, "turn it on here"},
		{"plaintext to TLS", secure, string(frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1})), wire.ProtocolNative, "turn it off here"},
		{"HTTP", nil, "GET /metrics HTTP/1.1\r\n\r\n", wire.ProtocolHTTP, "an HTTP client"},
		{"HTTP to TLS", secure, "GET /metrics HTTP/1.1\r\n\r\n", wire.ProtocolHTTP, "an HTTP client"},
		{"WebSocket", nil, "GET /v1/messages/json HTTP/1.1\r\n\r\n", wire.ProtocolWebSocket, "a WebSocket client"},
		{"version", nil, string(frame(wire.Hello{Sender: largeID, MinVersion: 2, MaxVersion: 2})), wire.ProtocolNative, "another version of the protocol: wire: unsupported versions offered (peer_incompatible): 2 to 2"},
		{"probe", nil, wire.PortProbe, wire.ProtocolPortProbe, "only looked for the protocol"},
		{"probe to TLS", secure, wire.PortProbe, wire.ProtocolPortProbe, "only looked for the protocol"},
		{"SSH", nil, "SSH-2.0-OpenSSH_9.6\r\n", wire.ProtocolUnknown, `its first bytes are "SSH-2.0-OpenSSH_`},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(t, Config{TLS: test.secure})
			ours, theirs := tcpPair(t)
			theirs.Write([]byte(test.first))
			go func() { // read, so that the endpoint does not block
				var b [1000]byte
				for {
					if _, err := theirs.Read(b[:]); err != nil {
						return
					}
				}
			}()
			_, peered, err := e.serve(e.ctx, ours, nil)
			var mismatch *MismatchError
			if peered || !errors.As(err, &mismatch) || mismatch.Met != test.met || mismatch.Dialed || !strings.Contains(err.Error(), test.want) {
				t.Errorf("failed with %v", err)
			}
		})
	}
}

// TestMismatchOnDial dials servers of other protocols.
func TestMismatchOnDial(t *testing.T) {
	for _, test := range []struct{ name, greeting, want string }{
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "the port speaks HTTP"},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x46", "turn it on here"},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", "neither Broker nor TLS"},
		{"drop for version", string(frame(wire.DropConn{Sender: largeID, Code: 2, Description: "unsupported versions offered"})), "another version"},
		{"nothing", "", "without sending anything: it may require TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(t, Config{})
			ours, theirs := tcpPair(t)
			theirs.Write([]byte(test.greeting))
			theirs.(*net.TCPConn).CloseWrite()
			target := &target{e: e, address: "x:1", quit: make(chan struct{})}
			_, _, err := e.serve(e.ctx, ours, target)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("failed with %v", err)
			}
		})
	}
}

func tcpPair(t *testing.T) (accepted, dialed net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed = dialRaw(t, l.Addr().String())
	t.Cleanup(func() { dialed.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return accepted, dialed
}
