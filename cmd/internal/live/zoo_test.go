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
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// echo makes a Zeek send back what it gets. Together with zoo.zeek, which
// publishes every type there is, that is every type in both directions.
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
`

// zoo is a Zeek that runs zoo.zeek and echo.
type zoo struct {
	*installation
	*process
	native, brokerWebSocket, zeekWebSocket int
}

// zeekWebSocket is the line of zoo.zeek that older Zeeks do not understand.
var zeekWebSocket = regexp.MustCompile(`(?m)^\s*Cluster::listen_websocket.*$`)

// startZoo starts it on free ports, or on those of an earlier one.
func startZoo(t *testing.T, z *installation, before *zoo, args ...string) *zoo {
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
		"19998/tcp", fmt.Sprintf("%d/tcp", zoo.zeekWebSocket),
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
	zoo.process = start(t, "Zeek with zoo.zeek", nil, append([]string{z.zeek, filepath.Join(dir, "echo.zeek"), "exit_only_after_terminate=T"}, args...)...)
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

// layer returns TLS of a mode.
func layer(t *testing.T, mode string) *security.Layer {
	t.Helper()
	m, err := security.ParseMode(mode)
	if err != nil {
		t.Fatal(err)
	}
	l, err := security.New(security.Config{Mode: m})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// flavour is one of the ways to talk with a Zeek.
type flavour struct {
	name string
	// dial returns a bus that is subscribed to "zoo/" and connected.
	dial  func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus
	needs string // function of Zeek's language, if not all have it
	text  bool   // JSON, which is not exact
	utf8  bool   // refuses texts that are not UTF-8
}

// refuses reports whether Zeek cannot read an event, here in our own notation,
// that it can write.
func (f flavour) refuses(z *installation, event string) bool {
	switch {
	case f.utf8 && strings.Contains(event, `\xff`):
		return true
	case f.text && !z.atLeast(6, 0):
		// Broker 2.3 answers "integer_overflow" to counts beyond 63 bits, and
		// "unexpected_character" to \u.
		return strings.Contains(event, "18446744073709551615") || strings.Contains(event, `\x1b`)
	}
	return false
}

// expect returns what Zeek makes of args. Its JSON parser takes the largest of
// reals for infinite.
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
		e, err := peering.New(peering.Config{Subscriptions: []string{"zoo/"}, Secure: l.Hook(), RetryMax: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Dial(at(z.native)); err != nil {
			t.Fatal(err)
		}
		return e
	}},
	{name: "Broker's WebSocket", needs: "Broker::listen_websocket", text: true, dial: func(ctx context.Context, t *testing.T, z *zoo, l *security.Layer) broker.Bus {
		return dialWebSocket(ctx, t, websocket.ClientConfig{
			Address: at(z.brokerWebSocket),
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				var d net.Dialer
				conn, err := d.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return l.Secure(ctx, conn, true)
			},
		})
	}},
	{name: "Zeek's WebSocket", needs: "Cluster::listen_websocket", text: true, utf8: true, dial: func(ctx context.Context, t *testing.T, z *zoo, _ *security.Layer) broker.Bus {
		return dialWebSocket(ctx, t, websocket.ClientConfig{Address: at(z.zeekWebSocket)})
	}},
}

func dialWebSocket(ctx context.Context, t *testing.T, cfg websocket.ClientConfig) broker.Bus {
	t.Helper()
	cfg.Subscriptions = []string{"zoo/"}
	cfg.OnError = func(err jsonv1.Error) { t.Logf("Zeek says: %v", err) }
	cfg.Reconnect, cfg.ReconnectMax = true, time.Second
	var c *websocket.Client
	eventually(t, "connecting", func() (err error) {
		c, err = websocket.Dial(ctx, cfg)
		return err
	})
	return c
}

// visitor is a bus that is connected to a zoo.
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

func (v *visitor) next() broker.Notice {
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
			return
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
	if err := v.Publish(v.ctx, "zoo/in", ev.Value()); err != nil {
		v.t.Fatal(err)
	}
}

// ping sends a ping until it is answered, for a Zeek that has just accepted us
// may not have told its scripts.
func (v *visitor) ping(n uint64) {
	v.t.Helper()
	v.publish(broker.NewEvent("Zoo::ping", broker.Count(n)))
	for {
		if ev := v.event(); ev.Name == "Zoo::pong" && broker.Equal(ev.Args[0], broker.Count(n)) {
			return
		}
	}
}

// all asks for everything there is in the zoo.
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

func TestEveryTypeBothWays(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			zoo := startZoo(t, z, nil, tls.args...)
			for _, f := range flavours {
				t.Run(f.name+" tls "+tls.mode, func(t *testing.T) {
					v := visit(t, f, zoo, layer(t, tls.mode))
					v.ping(1)
					events := v.all()
					if len(events) < 16 {
						t.Fatalf("the zoo has %d events only", len(events))
					}
					for _, sent := range events {
						if f.refuses(z, sent.String()) {
							continue
						}
						v.publish(broker.NewEvent(sent.Name, sent.Args...))
						back := v.event()
						for back.Name != sent.Name+"_back" {
							back = v.event()
						}
						if want := f.expect(sent.Args); !broker.Equal(broker.Vector(want...), broker.Vector(back.Args...)) {
							t.Errorf("sent %s\ngot  %s", sent, back)
						}
					}
				})
			}
		}
	})
}

// A Zeek that is killed in the middle of a stream is lost, and found again when
// it is back.
func TestKillAndRecover(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, f := range flavours {
			t.Run(f.name, func(t *testing.T) {
				plain := layer(t, "off")
				zoo := startZoo(t, z, nil, "Broker::disable_ssl=T")
				v := visit(t, f, zoo, plain)
				v.ping(1)
				v.publish(broker.NewEvent("Zoo::ping", broker.Count(0)))
				zoo.kill()
				for {
					if lost, ok := v.next().(broker.PeerLost); ok {
						if lost.Err == nil {
							t.Error("lost for no reason")
						}
						break
					}
				}
				startZoo(t, z, zoo, "Broker::disable_ssl=T")
				v.awaitPeer()
				eventually(t, "a ping after recovery", func() error {
					v.ping(2)
					return nil
				})
			})
		}
	})
}

// Zeek may dial as well, and unpeer.
func TestZeekDialsAndUnpeers(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				e, err := peering.New(peering.Config{Subscriptions: []string{"zoo/"}, Secure: layer(t, tls.mode).Hook()})
				if err != nil {
					t.Fatal(err)
				}
				addr, err := e.Listen(t.Context(), "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				t.Cleanup(func() {
					cancel()
					e.Close()
				})
				number := portOf(t, addr)
				dialer := fmt.Sprintf(`
global leave: event();
event zeek_init() { Broker::subscribe("zoo/"); Broker::peer("127.0.0.1", %d/tcp, 1sec); }
event leave() { Broker::unpeer("127.0.0.1", %d/tcp); }
`, number, number)
				script := filepath.Join(t.TempDir(), "dialer.zeek")
				if err := os.WriteFile(script, []byte(dialer), 0o600); err != nil {
					t.Fatal(err)
				}
				start(t, "Zeek that dials", nil, append([]string{z.zeek, script, "exit_only_after_terminate=T"}, tls.args...)...)
				v := &visitor{t, ctx, e}
				v.awaitPeer()
				v.publish(broker.NewEvent("leave"))
				for {
					if lost, ok := v.next().(broker.PeerLost); ok {
						t.Logf("lost: %v", lost.Err)
						return
					}
				}
			})
		}
	})
}
