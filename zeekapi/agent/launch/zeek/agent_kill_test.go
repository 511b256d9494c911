package zeek

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var (
	rounds    = flag.Int("rounds", 15, "number of times that an agent is killed")
	manyNodes = flag.Int("nodes", 25, "number of nodes of an agent in TestManyNodes")
)

// Environment variables that make this test program an agent.
const (
	agentDir  = "ZEEKWIRE_TEST_AGENT_DIR"
	agentAddr = "ZEEKWIRE_TEST_AGENT_ADDR"
	agentExit = "ZEEKWIRE_TEST_AGENT_EXIT" // "leave" to leave nodes running
)

var dialect = management.Dialect(management.DefaultTopics)

// runAgent runs an agent whose nodes are stand-ins. It ends on SIGTERM, or when the test
// ends and standard input is closed.
func runAgent() int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "agent:", err)
		return 1
	}
	bus, err := peering.New(peering.Config{Subscriptions: agent.Topics("i", dialect), ReceiveOverflow: broker.OverflowBlock})
	if err != nil {
		return fail(err)
	}
	defer bus.Close()
	if _, err := bus.Listen(ctx, os.Getenv(agentAddr)); err != nil {
		return fail(err)
	}
	binary, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	listen := netip.MustParseAddrPort(os.Getenv(agentAddr))
	l, err := New(ctx, Config{
		Binary: binary, StateDir: os.Getenv(agentDir), Agent: nodescript.Agent{Listen: listen}, TLS: security.Config{Mode: security.Off}, Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel),
	})
	if err != nil {
		return fail(err)
	}
	if err := agent.Run(ctx, agent.Config{
		Settings: agent.Settings{Name: "i", EndpointID: bus.ID().String(), Listen: listen},
		Bus:      bus, Dialects: []*zeekapi.Dialect{dialect},
		Launcher: l, StateDir: os.Getenv(agentDir), Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel),
	}); err != nil {
		return fail(err)
	}
	if os.Getenv(agentExit) == "leave" {
		l.Leave()
	} else {
		l.Close(context.Background())
	}
	return 0
}

// runHelloNode runs a node that sends hellos to its agent until SIGTERM. If another process
// of the node runs at the same time, it writes the file "twice".
func runHelloNode() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock, err := os.OpenFile("alive.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = os.WriteFile("twice", []byte(err.Error()), 0o600)
		return 1
	}
	addr := net.JoinHostPort(os.Getenv("ZEEK_AGENT_ADDR"), strings.TrimSuffix(os.Getenv("ZEEK_AGENT_PORT"), "/tcp"))
	layer, err := security.New(nodeSecurity(os.Args[1:]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	bus, err := peering.New(peering.Config{RetryMin: 50 * time.Millisecond, RetryMax: 100 * time.Millisecond, TLS: layer.Hook()})
	if err != nil {
		return 2
	}
	defer bus.Close()
	hello, err := dialect.Encode(zeekapi.NodeHello{Node: os.Getenv("CLUSTER_NODE")})
	if err != nil {
		return 3
	}
	if err := bus.AddPeer(addr); err != nil {
		return 4
	}
	for {
		n, err := bus.Next(ctx)
		if err != nil {
			return 0
		}
		switch n.(type) {
		case broker.PeerAdded:
			_ = broker.PublishEvent(ctx, bus, dialect.Topics.Node, hello)
		case broker.PeerLost:
			_ = bus.AddPeer(addr)
		}
	}
}

// nodeSecurity returns the TLS settings in a node's arguments: off, or mutual TLS with
// certificates.
func nodeSecurity(args []string) security.Config {
	c := security.Config{Mode: security.Off}
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "Broker::ssl_certificate":
			c.Mode, c.CertFile = security.Mutual, value
		case "Broker::ssl_keyfile":
			c.KeyFile = value
		case "Broker::ssl_cafile":
			c.CAFile = value
		}
	}
	return c
}

// agentProcess is an agent in a process of its own, with the endpoint of a controller that
// is connected to it.
type agentProcess struct {
	*testing.T
	*peering.Endpoint
	cmd  *exec.Cmd
	reqs int
}

// agentPlace contains the settings that successive agents share.
type agentPlace struct{ dir, addr, exit string }

func newPlace(t *testing.T) agentPlace {
	t.Helper()
	p := agentPlace{dir: t.TempDir(), addr: peertest.FreeAddress(t)}
	t.Cleanup(func() {
		for _, m := range p.marks(t) {
			t.Errorf("%s: process %d still runs", filepath.Base(m.dir), m.id.PID)
			m.signal(syscall.SIGKILL)
		}
		if twice, _ := filepath.Glob(filepath.Join(p.dir, "nodes", "*", "twice")); len(twice) > 0 {
			t.Errorf("nodes that ran twice at the same time: %q", twice)
		}
	})
	return p
}

// marks returns the processes of the nodes.
func (p agentPlace) marks(t *testing.T) []mark {
	t.Helper()
	all, err := marked(filepath.Join(p.dir, "nodes"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// start starts an agent and connects to it.
func (p agentPlace) start(t *testing.T) *agentProcess {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := &agentProcess{T: t, cmd: exec.Command(binary)}
	a.cmd.Env = append(os.Environ(), agentDir+"="+p.dir, agentAddr+"="+p.addr, agentExit+"="+p.exit)
	a.cmd.Stderr = os.Stderr
	if _, err := a.cmd.StdinPipe(); err != nil { // open until the agent has ended
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if a.Endpoint, err = peering.New(peering.Config{
		Subscriptions: []string{dialect.Topics.AgentPrefix}, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		a.kill()
	})
	if err := a.AddPeer(p.addr); err != nil {
		t.Fatal(err)
	}
	return a
}

// kill kills the agent, but not its nodes.
func (a *agentProcess) kill() {
	a.cmd.Process.Kill()
	a.cmd.Wait()
	a.Endpoint.Close()
}

// stop ends the agent as systemd does.
func (a *agentProcess) stop() {
	a.Helper()
	a.cmd.Process.Signal(syscall.SIGTERM)
	if err := a.cmd.Wait(); err != nil {
		a.Errorf("agent: %v", err)
	}
}

func (a *agentProcess) send(m zeekapi.Message) {
	a.Helper()
	peertest.Say(a.Context(), a, a, dialect, dialect.Topics.Agent("i"), m)
}

// hear returns the next message of a type.
func hear[M zeekapi.Message](a *agentProcess) M {
	a.Helper()
	return peertest.Hear[M](a.Context(), a, a, dialect)
}

func (a *agentProcess) id() zeekapi.ReqID {
	a.reqs++
	return zeekapi.ReqID{ID: fmt.Sprint(a.reqs)}
}

// pids waits until all nodes are in a state and returns their process IDs.
func (a *agentProcess) pids(want zeekapi.State) map[string]int64 {
	a.Helper()
	for {
		a.send(zeekapi.AgentGetNodesRequest{ReqID: a.id()})
		var list []zeekapi.NodeStatus
		if err := record.Unmarshal(hear[zeekapi.AgentGetNodesResponse](a).Result.Data, &list); err != nil {
			a.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(s zeekapi.NodeStatus) bool { return s.ManagementRole != zeekapi.ManagementNone })
		if slices.ContainsFunc(list, func(s zeekapi.NodeStatus) bool { return s.State != want }) {
			hear[zeekapi.AgentChange](a)
			continue
		}
		pids := make(map[string]int64)
		for _, s := range list {
			pids[s.Node] = s.PID
		}
		return pids
	}
}

// fleetOf returns a configuration of nodes that send hellos.
func fleetOf(id string, nodes int, version func(node int) string) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: id, Instances: []zeekapi.Instance{{Name: "i", Host: netip.MustParseAddr("127.0.0.1")}}}
	for i := range nodes {
		n := zeekapi.Node{
			Name: fmt.Sprintf("node-%d", i), Instance: "i", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning,
			Env: map[string]string{"BEHAVIOUR": "hello", "VERSION": version(i)},
		}
		if i == 0 {
			n.Role, n.Port = zeekapi.RoleLogger, broker.TCP(1)
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// At whatever time an agent is killed, no node runs twice, and the next agent adopts the
// running nodes.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range *rounds {
		a := place.start(t)
		hear[zeekapi.AgentHello](a)
		config := fleetOf(fmt.Sprint(round), 1+random.IntN(5), func(int) string { return fmt.Sprint(random.IntN(2)) })
		a.send(zeekapi.AgentDeployRequest{ReqID: a.id(), Config: config})
		if random.IntN(4) == 0 {
			hear[zeekapi.AgentDeployResponse](a)
		}
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond) // at any time of the deployment
		a.kill()
	}

	config := fleetOf("last", 4, func(int) string { return "last" })
	a := place.start(t)
	hear[zeekapi.AgentHello](a)
	a.send(zeekapi.AgentDeployRequest{ReqID: a.id(), Config: config})
	hear[zeekapi.AgentDeployResponse](a)
	before := a.pids(zeekapi.StateRunning)
	leaders := make(map[string]int64)
	for _, m := range place.marks(t) {
		if name := filepath.Base(m.dir); leaders[name] != 0 {
			t.Errorf("two processes of %s", name)
		} else {
			leaders[name] = int64(m.id.PID)
		}
	}
	equal(t, "processes", before, leaders)
	a.kill()

	for _, exit := range []string{"", "leave", "leave"} {
		place.exit = exit
		a = place.start(t)
		hear[zeekapi.AgentHello](a)
		equal(t, "after the restart of the agent", before, a.pids(zeekapi.StateRunning))
		a.send(zeekapi.AgentDeployRequest{ReqID: a.id(), Config: config})
		if got := hear[zeekapi.AgentDeployResponse](a).Results; len(got) != 1 || !got[0].Success || got[0].Node != "" {
			t.Errorf("the same deployment again: %+v", got)
		}
		equal(t, "after the same deployment", before, a.pids(zeekapi.StateRunning))
		if exit == "" {
			a.kill()
		} else {
			a.stop()
		}
	}

	place.exit = ""
	a = place.start(t)
	hear[zeekapi.AgentHello](a)
	equal(t, "after agents that left the nodes running", before, a.pids(zeekapi.StateRunning))
	a.stop()
}

func equal(t *testing.T, step string, want, got map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", step, diff)
	}
}

func TestManyNodes(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	a := place.start(t)
	hear[zeekapi.AgentHello](a)
	a.send(zeekapi.AgentDeployRequest{ReqID: a.id(), Config: fleetOf("many", *manyNodes, func(int) string { return "" })})
	hear[zeekapi.AgentDeployResponse](a)
	before := a.pids(zeekapi.StateRunning)
	if len(before) != *manyNodes {
		t.Errorf("%d nodes, want %d", len(before), *manyNodes)
	}
	a.kill()
	a = place.start(t)
	hear[zeekapi.AgentHello](a)
	equal(t, "after the agent was killed", before, a.pids(zeekapi.StateRunning))
	a.send(zeekapi.AgentStandbyRequest{})
	hear[zeekapi.AgentStandbyResponse](a)
	for range before {
		for hear[zeekapi.AgentChange](a).New != zeekapi.StateStopped {
		}
	}
	if left := place.marks(t); len(left) > 0 {
		t.Errorf("%d processes still run", len(left))
	}
	a.stop()
}
