package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// TestEveryTypeBothWays exchanges values of every type with Zeek, over every
// transport and with every TLS mode.
func TestEveryTypeBothWays(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range protections(t) {
			zoo := startZoo(t, z, nil, tls)
			for _, f := range flavours {
				t.Run(f.name+" tls "+tls.mode, func(t *testing.T) {
					v := visit(t, f, zoo, tls.layer)
					v.ping(1)
					events := v.all()
					if len(events) < 16 {
						t.Fatalf("received only %d events", len(events))
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
						checked(t)
						if want := f.expect(sent.Args); !broker.Equal(broker.Vector(want...), broker.Vector(back.Args...)) {
							t.Errorf("sent %s\ngot  %s", sent, back)
						}
					}
				})
			}
		}
	})
}

// TestRecovery checks that the loss of a Zeek that ends or is killed while it
// sends is reported, and that the peering recovers when it is restarted.
func TestRecovery(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, f := range flavours {
			for _, way := range []struct {
				name string
				end  func(*process)
			}{{"killed", (*process).kill}, {"restarted", (*process).stop}} {
				t.Run(f.name+" "+way.name, func(t *testing.T) {
					plain := plain(t)
					zoo := startZoo(t, z, nil, plain)
					v := visit(t, f, zoo, plain.layer)
					v.ping(1)
					v.publish(broker.NewEvent("Zoo::ping", broker.Count(0)))
					way.end(zoo.process)
					if err := v.awaitLoss(); err == nil {
						t.Error("the loss has no error")
					}
					startZoo(t, z, zoo, plain)
					v.awaitPeer()
					eventually(t, "a ping after recovery", func() error {
						v.ping(2)
						return nil
					})
				})
			}
		}
	})
}

// TestUnpeer ends a peering from our side, and peers again.
func TestUnpeer(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range protections(t) {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				zoo := startZoo(t, z, nil, tls)
				v, e := newVisitor(t, peering.Config{Subscriptions: []string{"zoo/"}, TLS: tls.layer.Hook(), RetryMax: time.Second})
				for n := range uint64(2) {
					if err := e.AddPeer(at(zoo.native)); err != nil {
						t.Fatal(err)
					}
					v.awaitPeer()
					v.ping(n + 1)
					if err := e.RemovePeer(at(zoo.native)); err != nil {
						t.Fatal(err)
					}
					v.awaitLoss()
					eventually(t, "Zeek's event", func() error {
						if got := strings.Count(zoo.out.tail(20), "lost a peer"); got != int(n)+1 {
							return fmt.Errorf("Zeek reports %d lost peers", got)
						}
						return nil
					})
				}
			})
		}
	})
}

// TestZeekDialsAndUnpeers has Zeek establish and end a peering.
func TestZeekDialsAndUnpeers(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range protections(t) {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				v, e := newVisitor(t, peering.Config{Subscriptions: []string{"zoo/"}, TLS: tls.layer.Hook()})
				addr, err := e.Listen(t.Context(), "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
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
				v.awaitPeer()
				v.publish(broker.NewEvent("leave"))
				t.Logf("lost: %v", v.awaitLoss())
			})
		}
	})
}
