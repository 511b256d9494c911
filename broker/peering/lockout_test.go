package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

const (
	attackerAddress = "192.0.2.1"
	honestAddress   = "198.51.100.7"
)

// attacked is an endpoint whose connections come from chosen addresses.
type attacked struct {
	*Endpoint
	t     *testing.T
	pipes *brokertest.Pipes
	log   strings.Builder
}

func newAttacked(t *testing.T, cfg Config) *attacked {
	t.Helper()
	a := &attacked{t: t, pipes: brokertest.NewPipes()}
	cfg.Log = zerolog.New(zerolog.SyncWriter(&a.log)).Level(zerolog.WarnLevel)
	cfg.ReceiveQueue = 10_000
	var err error
	if a.Endpoint, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := a.Serve(a.pipes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// open opens a connection.
func (a *attacked) open(from string) net.Conn {
	a.t.Helper()
	c, err := a.pipes.DialFrom(from)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

// peer returns an endpoint that connects once, from an address.
func (a *attacked) peer(from string, cfg Config) (*Endpoint, error) {
	a.t.Helper()
	cfg.RetryMin, cfg.RetryMax = 24*time.Hour, 24*time.Hour
	dialed := false
	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) {
		if dialed {
			return nil, errors.New("dialed already")
		}
		dialed = true
		return a.open(from), nil
	}
	e, err := New(cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { e.Close() })
	if err := e.AddPeer("pipes:1"); err != nil {
		a.t.Fatal(err)
	}
	e.registry.await(a.t.Context(), func() bool {
		info := e.Peers()[0]
		return info.State == Peered || info.Err != nil
	})
	return e, e.Peers()[0].Err
}

// Silent connections fill the endpoint: peers get in nevertheless.
func TestPeersGetInDuringSilence(t *testing.T) {
	for _, test := range []struct {
		name   string
		secure func(context.Context, net.Conn, bool) (net.Conn, error)
		begin  []byte
	}{
		{"nothing sent", nil, nil},
		{"nothing sent before TLS", secureWith("", new(writeLog)), nil},
		{"TLS handshake stalls", secureWith("", new(writeLog)), []byte{0x16, 3, 3}},
		{"half a frame", nil, []byte{0, 0, 0, 5, 7}},
	} {
		for _, from := range []string{honestAddress, attackerAddress, "127.0.0.1"} {
			t.Run(test.name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newAttacked(t, Config{MaxHandshakes: 32, TLS: test.secure})
					attack := func(n int) {
						for range n {
							if c := a.open(attackerAddress); len(test.begin) > 0 {
								go c.Write(test.begin)
							}
						}
						synctest.Wait()
					}
					attack(200)
					if n := a.Admission().Arriving; n != 16 {
						t.Errorf("%d connections of one address, want half of the limit", n)
					}
					time.Sleep(time.Second) // a peer of the attacker's address waits as long, or tries again
					attack(1)
					if _, err := a.peer(from, Config{TLS: test.secure}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(DefaultHandshakeTimeout)
					synctest.Wait()
					if n := a.Admission().Arriving; n != 0 {
						t.Errorf("%d connections after the handshake timeout", n)
					}
					if lines := strings.Count(a.log.String(), "too many connections"); lines == 0 || lines > 10 {
						t.Errorf("%d lines in the log:\n%s", lines, &a.log)
					}
				})
			})
		}
	}
}

// Attackers from many addresses cannot fill the room of loopback addresses.
func TestLoopbackGetsInDuringSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttacked(t, Config{MaxHandshakes: 32})
		for i := range 200 {
			a.open(fmt.Sprintf("192.0.2.%d", i))
		}
		if _, err := a.peer("127.0.0.1", Config{}); err != nil {
			t.Fatal(err)
		}
	})
}

// Agents that connect at once from one address, as behind NAT, do not replace each
// other. Those that are refused connect later.
func TestManyPeersOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttacked(t, Config{MaxHandshakes: 8})
		const agents = 100
		for range agents {
			e, err := New(Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(time.Millisecond)
				return a.pipes.DialFrom(attackerAddress)
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { e.Close() })
			if err := e.AddPeer("pipes:1"); err != nil {
				t.Fatal(err)
			}
		}
		for range agents {
			next[broker.PeerAdded](t, a.Endpoint)
		}
		if s := a.Admission(); s.Evicted != 0 || s.Anonymous != agents {
			t.Errorf("%+v", s)
		}
	})
}

// Idle peers fill the endpoint: others get in, and active peers stay.
func TestPeersGetInAmongIdleOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20
		a := newAttacked(t, Config{MaxPeers: limit, Subscriptions: []string{"t"}})
		active, err := a.peer(attackerAddress, Config{})
		if err != nil {
			t.Fatal(err)
		}
		for range limit - 1 {
			if _, err := a.peer(attackerAddress, Config{}); err != nil {
				t.Fatal(err)
			}
		}
		speak := func() {
			if err := active.Publish(t.Context(), "t", broker.None()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		speak()
		_, err = a.peer(attackerAddress, Config{})
		if err == nil || !strings.Contains(err.Error(), "too many peers") {
			t.Errorf("a further peer of the same address: %v", err)
		}
		if _, err := a.peer(honestAddress, Config{}); err != nil {
			t.Errorf("a peer of another address: %v", err)
		}
		time.Sleep(time.Minute)
		speak()
		if _, err := a.peer(attackerAddress, Config{}); err != nil {
			t.Errorf("a further peer of the same address after a minute: %v", err)
		}
		if s := a.Admission(); s.Anonymous != limit || s.Evicted != 2 {
			t.Errorf("%+v", s)
		}
		if len(active.registry.peers()) != 1 {
			t.Error("the active peer was closed")
		}
		for evicted := 0; evicted < 2; {
			n, err := a.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if lost, ok := n.(broker.PeerLost); ok {
				evicted++
				if !errors.Is(lost.Err, admission.ErrEvicted) {
					t.Errorf("lost with error %v", lost.Err)
				}
			}
		}
	})
}

// Connections that this end opens have a place as long as they last.
func TestDialedPeersHaveAPlace(t *testing.T) {
	a, b := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	address := listen(t, b)
	dial(t, a, address)
	if s := a.Admission(); s.Known != 1 {
		t.Errorf("%+v", s)
	}
	if err := a.RemovePeer(address); err != nil {
		t.Fatal(err)
	}
	if s := a.Admission(); s != (admission.Stats{}) {
		t.Errorf("%+v", s)
	}
}

// Peers with certificates do not lose their place to others.
func TestCertifiedPeersAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttacked(t, Config{MaxPeers: 1, TLS: func(_ context.Context, c net.Conn, _ bool) (net.Conn, error) {
			return named{c, uuid.NewString()}, nil
		}})
		if _, err := a.peer(honestAddress, Config{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := a.peer(attackerAddress, Config{}); err == nil {
			t.Error("another peer was added")
		}
		if s := a.Admission(); s.Known != 1 || s.Evicted != 0 || s.Refused == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// named is a connection whose peer has a certificate with a name.
type named struct {
	net.Conn
	name string
}

func (n named) PeerNames() []string { return []string{n.name} }
