package failover

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/cmd/internal/testprocess"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var dialects = []*zeekapi.Dialect{
	management.Dialect(management.DefaultTopics),
	clusteragent.Dialect(clusteragent.DefaultTopics),
	operations.Dialect(operations.DefaultTopics),
}

// watch checks what all agents do.
type watch struct {
	t *testing.T

	mu      sync.Mutex
	leaders map[uint64]string    // endpoint of the leader, by term
	started map[string]bool      // nodes that never change
	terms   map[uint64]time.Time // when an agent heard of a term first
	heard   map[string]uint64    // greatest term, by agent
}

func newWatch(t *testing.T) *watch {
	return &watch{t: t, leaders: make(map[uint64]string), started: make(map[string]bool), terms: make(map[uint64]time.Time), heard: make(map[string]uint64)}
}

// constant is the beginning of the names of nodes that are the same in all configurations.
const constant = "constant-"

// observe checks a step of an agent.
func (w *watch) observe(name string, m *agent.Machine, out []agent.Output) {
	if err := m.Check(); err != nil {
		w.t.Errorf("%s: %v", name, err)
	}
	term, _ := m.Leader()
	w.mu.Lock()
	defer w.mu.Unlock()
	if term.Number > 0 {
		leader := term.Leader.String()
		if before, known := w.leaders[term.Number]; known && before != leader {
			w.t.Errorf("%s heard that %s leads in term %d, and another agent that %s does", name, leader, term.Number, before)
		}
		if term.Number < w.heard[name] {
			w.t.Errorf("%s went from term %d back to %d", name, w.heard[name], term.Number)
		}
		w.leaders[term.Number], w.heard[name] = leader, term.Number
		if w.terms[term.Number].IsZero() {
			w.terms[term.Number] = time.Now()
		}
	}
	for _, o := range out {
		switch o := o.(type) {
		case agent.Start:
			if !strings.HasPrefix(o.Node.Name, constant) {
				break
			}
			if w.started[o.Node.Name] {
				w.t.Errorf("%s starts %s again, which does not change", name, o.Node.Name)
			}
			w.started[o.Node.Name] = true
		case agent.Stop:
			if strings.HasPrefix(o.Node, constant) {
				w.t.Errorf("%s stops %s, which does not change", name, o.Node)
			}
		}
	}
}

// changes returns the number of terms so far.
func (w *watch) changes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.leaders)
}

// obeying returns the number of agents that have heard of a term after the given one.
func (w *watch) obeying(after uint64) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, term := range w.heard {
		if term > after {
			n++
		}
	}
	return n
}

// greatest returns the greatest term of which an agent has heard.
func (w *watch) greatest() (term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.terms {
		term = max(term, n)
	}
	return term
}

// after returns when the first agent heard of a term after the given one, the zero time
// if none has.
func (w *watch) after(term uint64) (first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, at := range w.terms {
		if n > term && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func agentName(i int) string { return fmt.Sprintf("agent-%02d", i) }

// startAgent starts an agent with simulated nodes, which connects to all controllers through proxies.
func (w *world) startAgent(i int, controllers []string) {
	w.t.Helper()
	name := agentName(i)
	endpoint, err := peering.New(peering.Config{
		Subscriptions:   agent.Topics(name, dialects...),
		ReceiveOverflow: broker.OverflowBlock,
		RetryMin:        100 * time.Millisecond, RetryMax: 500 * time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	launcher := simulated.New(simulated.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Config{
			Settings: agent.Settings{Name: name, EndpointID: endpoint.ID().String(), Connecting: true},
			Bus:      endpoint, Dialects: dialects, Launcher: launcher,
			StateDir: filepath.Join(w.dir, name),
			Observe:  func(m *agent.Machine, _ agent.Input, out []agent.Output) { w.watch.observe(name, m, out) },
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
		endpoint.Close()
		launcher.Close(context.Background())
	})
	if !w.direct {
		controllers = w.between(controllers)
	}
	for _, address := range controllers {
		if err := endpoint.AddPeer(address); err != nil {
			w.t.Fatal(err)
		}
	}
}

// between puts proxies between an agent and the controllers, and returns their addresses.
func (w *world) between(controllers []string) (addresses []string) {
	w.t.Helper()
	var proxies []*proxy
	for _, address := range controllers {
		p := newProxy(w.t, address)
		proxies, addresses = append(proxies, p), append(addresses, p.address())
	}
	w.toAgents = append(w.toAgents, proxies)
	return addresses
}

// startStepped starts an agent like startAgent, as a process whose clock tests can set. The watch
// does not see what it does, see checkStepped.
func (w *world) startStepped(i int, controllers []string) {
	w.t.Helper()
	name := agentName(i)
	w.stepped = testprocess.Start(w.t, w.dir, name, []string{clockFile + "=" + w.clock(clockOfAgent)},
		w.program, "agent", "--name", name, "--state-dir", filepath.Join(w.dir, name), "--tls", "off", "--launcher", "simulated",
		"--listen", peertest.FreeAddress(w.t), "--controller", strings.Join(w.between(controllers), ","), "--disk-warn", "0")
}

// checkStepped checks that the agent whose clock steps has not restarted its node that never
// changes. It returns an error if the status does not show that.
func (w *world) checkStepped(s zeekapi.Status) error {
	w.t.Helper()
	if w.stepped == nil {
		return nil
	}
	for _, in := range s.Instances {
		for _, n := range in.Nodes {
			if n.Status.Node != constant+w.stepped.Name || n.Status.PID == 0 {
				continue
			}
			if w.pid != 0 && n.Status.PID != w.pid {
				w.t.Errorf("%s has started %s again, which does not change", w.stepped.Name, n.Status.Node)
			}
			w.pid = n.Status.PID
			return nil
		}
	}
	return fmt.Errorf("the process of the constant node of %s is unknown", w.stepped.Name)
}
