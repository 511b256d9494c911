package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// testController is a native peer that sends requests of a controller to an
// agent.
type testController struct {
	*testing.T
	*peering.Endpoint
}

func newTestController(t *testing.T) testController {
	t.Helper()
	e, err := peering.New(peering.Config{Subscriptions: []string{modern.Topics.AgentPrefix}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return testController{t, e}
}

func (b testController) welcome(reqID string) {
	b.Helper()
	peertest.Say(b.Context(), b, b, modern, modern.Topics.Agent("i"),
		zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: reqID}})
}

// hear returns the next message of type M and skips others.
func hear[M zeekapi.Message](b testController) M {
	b.Helper()
	return peertest.Hear[M](b.Context(), b, b, modern)
}

// newSimulatedAgent returns the settings of an agent with simulated nodes that
// listens at a free port of the loopback interface and connects to no controller.
func newSimulatedAgent(name, dir string) *agentSettings {
	s := newAgentSettings()
	s.name, s.stateDir, s.launcher, s.controllers = name, dir, launcherSimulated, nil
	s.native.set("127.0.0.1", 0)
	return s
}

// awaited is a log with a method that waits for a text.
type awaited struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (a *awaited) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.more <- struct{}{}:
	default:
	}
	return a.text.Write(b)
}

// forget discards the text.
func (a *awaited) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Reset()
}

func (a *awaited) await(t *testing.T, text string) {
	t.Helper()
	for {
		a.mu.Lock()
		there := strings.Contains(a.text.String(), text)
		a.mu.Unlock()
		if there {
			return
		}
		select {
		case <-a.more:
		case <-time.After(time.Minute):
			t.Fatalf("the log does not contain %q", text)
		}
	}
}

// serveAgent starts an agent and returns the address of its listener.
func serveAgent(t *testing.T, set *agentSettings, log *awaited) string {
	t.Helper()
	plain, err := security.New(security.Config{Mode: security.Off})
	if err != nil {
		t.Fatal(err)
	}
	listens := make(chan net.Addr, 1)
	service := agentService{settings: set, security: plain, log: zerolog.New(log), started: func(a net.Addr) { listens <- a }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-listens:
		return a.String()
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}

// An agent accepts requests of the controllers that --obey names, and of no other peer
// that connects.
func TestAgentObeys(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.TraceLevel) // commands that other tests ran may have set it
	for _, tt := range []struct {
		setting string
		want    bool
	}{{"", true}, {"127.0.0.1", true}, {"192.0.2.1", false}} {
		t.Run("--obey="+tt.setting, func(t *testing.T) {
			set := newSimulatedAgent("i", t.TempDir())
			var err error
			if set.callers, err = parseCallers(tt.setting); err != nil {
				t.Fatal(err)
			}
			log := &awaited{more: make(chan struct{}, 1)}
			address := serveAgent(t, set, log)
			b := newTestController(t)
			if err := b.AddPeer(address); err != nil {
				t.Fatal(err)
			}
			hear[zeekapi.AgentHello](b)
			b.welcome("w")
			if tt.want {
				hear[zeekapi.AgentWelcomeResponse](b)
			} else {
				log.await(t, "no controller of ours")
			}
		})
	}
}

// An agent accepts requests of all controllers that it connects to, and of no
// other peer.
func TestSeveralControllers(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.TraceLevel) // commands that other tests ran may have set it
	first, second, stranger := newTestController(t), newTestController(t), newTestController(t)
	log := &awaited{more: make(chan struct{}, 1)}
	set := newSimulatedAgent("i", t.TempDir())
	set.connectRetry = 10 * time.Millisecond
	for _, b := range []testController{first, second} {
		bound, err := b.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		set.controllers = append(set.controllers, bound.String())
	}
	if err := stranger.AddPeer(serveAgent(t, set, log)); err != nil {
		t.Fatal(err)
	}
	hear[zeekapi.AgentHello](stranger)
	stranger.welcome("stranger")
	log.await(t, "no controller of ours")
	for name, b := range map[string]testController{"first": first, "second": second} {
		hear[zeekapi.AgentHello](b)
		b.welcome(name)
		for heard := ""; heard != name; {
			if heard = hear[zeekapi.AgentWelcomeResponse](b).ID; heard == "stranger" {
				t.Error("the agent responded to a peer that is not one of its controllers")
			}
		}
	}
}
