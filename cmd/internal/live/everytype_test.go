package live

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// echo makes Zeek send back received values. Zeek runs it together with
// zoo.zeek, which publishes values of every type, so that every type is sent in
// both directions.
const echo = `
module Zoo;
export {
	global scalars_back: event(b: bool, c: count, i: int, d: double, s: string, a4: addr, a6: addr, n4: subnet, n6: subnet, p: port, t: time, iv: interval, e: Color);
	global containers_back: event(ss: set[string], sa: set[addr], sp: set[addr, port], sr: set[Inner], st: set[subnet], tss: table[string] of string, tac: table[addr] of count, trec: table[string] of Rec, v: vector of string, vv: vector of vector of count, r: Rec);
	global edge_back: event(name: string, x: any);
}
event scalars(b: bool, c: count, i: int, d: double, s: string, a4: addr, a6: addr, n4: subnet, n6: subnet, p: port, t: time, iv: interval, e: Color)
	{ Broker::publish("zoo/back", scalars_back, b, c, i, d, s, a4, a6, n4, n6, p, t, iv, e); }
event containers(ss: set[string], sa: set[addr], sp: set[addr, port], sr: set[Inner], st: set[subnet], tss: table[string] of string, tac: table[addr] of count, trec: table[string] of Rec, v: vector of string, vv: vector of vector of count, r: Rec)
	{ Broker::publish("zoo/back", containers_back, ss, sa, sp, sr, st, tss, tac, trec, v, vv, r); }
event edge(name: string, x: any)
	{ Broker::publish("zoo/back", edge_back, name, x); }
event Broker::peer_lost(endpoint: Broker::EndpointInfo, msg: string)
	{ print "lost a peer"; flush_all(); }
`

// zoo is a Zeek that runs zoo.zeek and echo.
type zoo struct {
	*installation
	*process
	native, brokerWebSocket, zeekWebSocket int
}

// zeekWebSocket matches the line of zoo.zeek that older Zeeks do not support.
var zeekWebSocket = regexp.MustCompile(`(?m)^\s*Cluster::listen_websocket.*$`)

// startZoo starts a zoo on free ports, or on the ports of an earlier one.
func startZoo(t *testing.T, z *installation, before *zoo, tls protection, args ...string) *zoo {
	t.Helper()
	zoo := &zoo{installation: z, native: freePort(t), brokerWebSocket: freePort(t), zeekWebSocket: freePort(t)}
	if before != nil {
		*zoo = *before
	}
	script, err := os.ReadFile("../../../testdata/recordings/zoo.zeek")
	if err != nil {
		t.Fatal(err)
	}
	onOurPorts := strings.NewReplacer(
		"19999/tcp", fmt.Sprintf("%d/tcp", zoo.native),
		"19997/tcp", fmt.Sprintf("%d/tcp", zoo.brokerWebSocket),
		"19998/tcp", fmt.Sprintf("%d/tcp, $tls_options=Cluster::WebSocketTLSOptions(%s)", zoo.zeekWebSocket, tls.webSocket),
	).Replace(string(script))
	if !z.has["Cluster::listen_websocket"] {
		onOurPorts = zeekWebSocket.ReplaceAllString(onOurPorts, "")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"zoo.zeek": onOurPorts, "echo.zeek": "@load ./zoo\n" + echo} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	zoo.process = start(t, "Zeek with zoo.zeek", nil, append([]string{z.zeek, filepath.Join(dir, "echo.zeek"), "exit_only_after_terminate=T"}, slices.Concat(z.brokerBackend(), args, tls.args)...)...)
	return zoo
}

// portOf returns the port of an address that we listen at.
func portOf(t *testing.T, addr net.Addr) int {
	t.Helper()
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		t.Fatalf("no TCP address: %v", addr)
	}
	return tcp.Port
}

// protection is a TLS mode for both sides.
type protection struct {
	mode      string
	layer     *security.Layer // for us
	args      []string        // arguments for Zeek's Broker
	webSocket string          // options of Zeek's WebSocket server
}

// layer returns the TLS layer of a configuration.
func layer(t *testing.T, c security.Config) *security.Layer {
	t.Helper()
	l, err := security.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// plain disables TLS.
func plain(t *testing.T) protection {
	return protection{mode: "off", layer: layer(t, security.Config{Mode: security.Off}), args: []string{"Broker::disable_ssl=T"}}
}

// anonymous is Broker's default, TLS without certificates. Zeek's WebSocket
// server uses it if its options contain the cipher suite. They must also name a
// certificate, which is not used.
func anonymous(t *testing.T) protection {
	t.Helper()
	cert, key := certtest.New(t).Issue(t, "nobody")
	return protection{
		mode: "anonymous", layer: layer(t, security.Config{}),
		webSocket: fmt.Sprintf(`$cert_file=%q, $key_file=%q, $ca_file="NONE", $ciphers="AECDH-AES256-SHA@SECLEVEL=0:AECDH-AES256-SHA:P-384"`, cert, key),
	}
}

// mutual requires certificates from both sides.
func mutual(t *testing.T) protection {
	t.Helper()
	ca := certtest.New(t)
	theirs, ours := issue(t, ca, "zeek"), issue(t, ca, "zeekwire")
	ours.PeerName = "zeek"
	return protection{
		mode: "mutual", layer: layer(t, ours), args: brokerOptions(theirs),
		webSocket: fmt.Sprintf("$cert_file=%q, $key_file=%q, $ca_file=%q, $enable_peer_verification=T", theirs.CertFile, theirs.KeyFile, ca.File),
	}
}

// issue returns the configuration of a peer with a certificate for the given
// name.
func issue(t *testing.T, ca *certtest.Authority, name string) security.Config {
	t.Helper()
	cert, key := ca.Issue(t, name)
	return security.Config{Mode: security.Mutual, CertFile: cert, KeyFile: key, CAFile: ca.File}
}

// brokerOptions returns the arguments that make Zeek's Broker use a
// certificate.
func brokerOptions(c security.Config) []string {
	return []string{"Broker::ssl_cafile=" + c.CAFile, "Broker::ssl_certificate=" + c.CertFile, "Broker::ssl_keyfile=" + c.KeyFile}
}

// protections returns all TLS modes.
func protections(t *testing.T) []protection {
	return []protection{plain(t), anonymous(t), mutual(t)}
}

// flavour is one of the transports to Zeek.
type flavour struct {
	name string
	// dial returns a bus that is subscribed to "zoo/" and connected.
	dial  func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus
	needs string // required function of Zeek's language, if not all versions have it
	text  bool   // JSON, which does not preserve all values
	utf8  bool   // rejects texts that are not UTF-8
}

// refuses reports whether Zeek can write an event, given in our notation, but
// cannot read it.
func (f flavour) refuses(z *installation, event string) bool {
	switch {
	case f.utf8 && strings.Contains(event, `\xff`):
		return true
	case f.text && !z.atLeast(6, 0):
		// Broker 2.3 responds with the error "integer_overflow" to counts of more
		// than 63 bits, and with "unexpected_character" to \u.
		return strings.Contains(event, "18446744073709551615") || strings.Contains(event, `\x1b`)
	}
	return false
}

// expect returns the values that Zeek receives for args. Its JSON parser reads
// the largest real numbers as infinite.
func (f flavour) expect(args []broker.Value) []broker.Value {
	want := slices.Clone(args)
	for i, a := range want {
		if x, ok := a.Real(); ok && f.text && x == math.MaxFloat64 {
			want[i] = broker.Real(math.Inf(1))
		}
	}
	return want
}

var flavours = []flavour{
	{name: "native", dial: func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus {
		e, err := peering.New(peering.Config{Subscriptions: []string{"zoo/"}, TLS: l.Hook(), RetryMax: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.AddPeer(at(z.native)); err != nil {
			t.Fatal(err)
		}
		return e
	}},
	{name: "Broker's WebSocket", needs: "Broker::listen_websocket", text: true, dial: func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus {
		return dialWebSocket(ctx, t, z.brokerWebSocket, l)
	}},
	{name: "Zeek's WebSocket", needs: "Cluster::listen_websocket", text: true, utf8: true, dial: func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus {
		return dialWebSocket(ctx, t, z.zeekWebSocket, l)
	}},
}

func dialWebSocket(ctx context.Context, t *testing.T, port int, l *security.Layer) broker.Bus {
	t.Helper()
	var c *websocket.Client
	eventually(t, "connecting", func() (err error) {
		c, err = websocket.Dial(ctx, websocket.ClientConfig{
			Address: at(port), Subscriptions: []string{"zoo/"},
			DialContext: l.DialContext,
			OnError:     func(err jsonv1.Error) { t.Logf("error from Zeek: %v", err) },
			Reconnect:   true, RetryMax: time.Second,
		})
		return err
	})
	return c
}

// visitor is a bus for a zoo.
type visitor struct {
	t   *testing.T
	ctx context.Context
	broker.Bus
}

func visit(t *testing.T, f flavour, z *zoo, l *security.Layer) *visitor {
	t.Helper()
	if f.needs != "" && !z.has[f.needs] {
		t.Skipf("Zeek %s has no %s", z.version, f.needs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	v := &visitor{t, ctx, f.dial(ctx, t, z, l)}
	t.Cleanup(func() {
		cancel()
		v.Close()
	})
	v.awaitPeer()
	return v
}

// newVisitor returns a native visitor that is not connected yet.
func newVisitor(t *testing.T, config peering.Config) (*visitor, *peering.Endpoint) {
	t.Helper()
	e, err := peering.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() {
		cancel()
		e.Close()
	})
	return &visitor{t, ctx, e}, e
}

func (v *visitor) next() broker.Notification {
	v.t.Helper()
	n, err := v.Next(v.ctx)
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}

func (v *visitor) awaitPeer() {
	v.t.Helper()
	for {
		if _, ok := v.next().(broker.PeerAdded); ok {
			checked(v.t)
			return
		}
	}
}

// awaitLoss waits until the peer is lost and returns the reason.
func (v *visitor) awaitLoss() error {
	v.t.Helper()
	for {
		if lost, ok := v.next().(broker.PeerLost); ok {
			checked(v.t)
			return lost.Err
		}
	}
}

// event returns the next event.
func (v *visitor) event() broker.Event {
	v.t.Helper()
	for {
		received, ok := v.next().(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			v.t.Fatal(err)
		}
		return ev
	}
}

func (v *visitor) publish(ev broker.Event) {
	v.t.Helper()
	if err := broker.PublishEvent(v.ctx, v, "zoo/in", ev); err != nil {
		v.t.Fatal(err)
	}
}

// ping sends pings until it receives a response.
func (v *visitor) ping(n uint64) {
	v.t.Helper()
	v.ask("zoo/in", broker.NewEvent("Zoo::ping", broker.Count(n)), func(ev broker.Event) bool {
		return ev.Name == "Zoo::pong" && broker.Equal(ev.Args[0], broker.Count(n))
	})
}

// ask publishes an event until it receives a response. A Zeek that has just
// accepted the connection may not have notified its scripts, and Zeek 5.0 may
// respond before it has our subscriptions.
func (v *visitor) ask(topic string, question broker.Event, isAnswer func(broker.Event) bool) broker.Event {
	v.t.Helper()
	for {
		if err := broker.PublishEvent(v.ctx, v, topic, question); err != nil {
			v.t.Fatal(err)
		}
		if answer, ok := v.answer(isAnswer); ok {
			return answer
		}
	}
}

// answer waits a moment for a response.
func (v *visitor) answer(isAnswer func(broker.Event) bool) (broker.Event, bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, 2*time.Second)
	defer cancel()
	for {
		notification, err := v.Next(ctx)
		if err != nil && v.ctx.Err() == nil && ctx.Err() != nil {
			return broker.Event{}, false
		}
		if err != nil {
			v.t.Fatal(err)
		}
		received, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			v.t.Fatal(err)
		}
		if isAnswer(ev) {
			return ev, true
		}
	}
}

// all returns all events that the zoo publishes.
func (v *visitor) all() (events []broker.Event) {
	v.t.Helper()
	v.publish(broker.NewEvent("Zoo::ping", broker.Count(0)))
	for {
		switch ev := v.event(); ev.Name {
		case "Zoo::scalars", "Zoo::containers", "Zoo::edge":
			events = append(events, ev)
		case "Zoo::done":
			return events
		}
	}
}
