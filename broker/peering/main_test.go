package peering

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/twoprocs"
	"github.com/zeekwire/zeekwire/broker/wire"
)

func TestMain(m *testing.M) {
	twoprocs.Receive(receiver)
	goleak.VerifyTestMain(m)
}

var (
	smallID = uuid.MustParse("11111111-1111-4111-8111-111111111111")
	largeID = uuid.MustParse("22222222-2222-4222-8222-222222222222")
)

// testContext returns a context with a timeout, so that a failing test ends.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newEndpoint(t testing.TB, cfg Config) *Endpoint {
	t.Helper()
	if cfg.RetryMin == 0 {
		cfg.RetryMin, cfg.RetryMax = time.Millisecond, 20*time.Millisecond
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func listen(t testing.TB, e *Endpoint) string {
	t.Helper()
	addr, err := e.Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

func dial(t testing.TB, e *Endpoint, address string) broker.Peer {
	t.Helper()
	if err := e.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	p, err := e.AwaitPeer(testContext(t), address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// next returns the next notification, which must be an N.
func next[N broker.Notification](t testing.TB, e *Endpoint) N {
	t.Helper()
	n, err := e.Next(testContext(t))
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	got, ok := n.(N)
	if _, other := n.(broker.PeerSubscribed); other && !ok {
		return next[N](t, e) // subscriptions may change at any time
	}
	if !ok {
		t.Fatalf("next notification is %#v, want a %T", n, got)
	}
	return got
}

func publish(t testing.TB, e *Endpoint, topic string, v broker.Value) {
	t.Helper()
	if err := e.Publish(testContext(t), topic, v); err != nil {
		t.Fatal(err)
	}
}

// rawPeer is a peer whose frames the test sends and reads.
type rawPeer struct {
	t      testing.TB
	id     uuid.UUID
	conn   net.Conn
	r      *bufio.Reader
	remote uuid.UUID
	filter broker.Filter // of the endpoint
}

func newRawPeer(t testing.TB, id uuid.UUID, conn net.Conn) *rawPeer {
	t.Cleanup(func() { conn.Close() })
	return &rawPeer{t: t, id: id, conn: conn, r: bufio.NewReader(conn)}
}

// connect dials e and does the handshake.
func connect(t testing.TB, address string, id uuid.UUID, filter ...string) *rawPeer {
	t.Helper()
	p := newRawPeer(t, id, dialRaw(t, address))
	p.handshake(true, filter...)
	return p
}

func dialRaw(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

func (p *rawPeer) handshake(dialed bool, filter ...string) {
	p.t.Helper()
	h := wire.NewHandshake(wire.Config{
		Self: p.id, Dialed: dialed,
		Filter: func() broker.Filter { return filter },
		Admit:  func(uuid.UUID, bool) wire.Admission { return wire.Admit },
	})
	for step := h.Start(); ; step = h.Receive(p.frame()) {
		p.write(step.Send)
		switch step.Outcome {
		case wire.Peered:
			p.remote, p.filter = h.Peer(), h.Filter()
			return
		case wire.Failed:
			p.t.Fatal(step.Err)
		}
	}
}

func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if len(b) == 0 {
		return
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *rawPeer) frame() []byte {
	p.t.Helper()
	frame, err := wire.ReadFrame(p.r, wire.DefaultMaxFrame, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return frame
}

func (p *rawPeer) envelope() wire.Envelope {
	p.t.Helper()
	env, err := wire.DecodeEnvelope(p.frame())
	if err != nil {
		p.t.Fatal(err)
	}
	return env
}

// send sends an envelope. A zero sender, TTL or topic is replaced by the usual
// value.
func (p *rawPeer) send(env wire.Envelope) {
	p.t.Helper()
	if env.Sender == uuid.Nil {
		env.Sender = p.id
	}
	if env.TTL == 0 {
		env.TTL = wire.DefaultTTL
	}
	if env.Topic == "" {
		env.Topic = broker.ControlTopic
	}
	p.write(env.AppendFrame(nil))
}

// sync waits until the endpoint has read all sent frames.
func (p *rawPeer) sync() {
	p.t.Helper()
	p.send(wire.Envelope{Type: wire.TypePing, Receiver: p.remote, Payload: []byte("sync")})
	for {
		env := p.envelope()
		if env.Type == wire.TypePong && string(env.Payload) == "sync" {
			return
		}
	}
}

// closed waits until the endpoint closes the connection.
func (p *rawPeer) closed() {
	p.t.Helper()
	for {
		if _, err := wire.ReadFrame(p.r, wire.DefaultMaxFrame, nil); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				p.t.Fatal("the connection stays open")
			}
			return
		}
	}
}
