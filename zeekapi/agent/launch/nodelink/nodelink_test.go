package nodelink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dialect = management.Dialect(management.DefaultTopics)

// fakeNode is the WebSocket server of a node.
type fakeNode struct {
	*testing.T
	name   string
	behind []string // further nodes, which it reaches
	server *websocket.Server
	ignore int // number of hello requests without a response
	done   sync.WaitGroup
}

func startNode(t *testing.T, name, port string, ignore int, behind ...string) *fakeNode {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:"+strings.TrimSuffix(port, "/tcp"))
	for errors.Is(err, syscall.EADDRINUSE) { // a connection of another test may use the port
		time.Sleep(time.Millisecond)
		listener, err = net.Listen("tcp", "127.0.0.1:"+strings.TrimSuffix(port, "/tcp"))
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	n := &fakeNode{T: t, name: name, behind: behind, server: server, ignore: ignore}
	n.done.Go(func() { n.server.Serve(context.Background(), listener) })
	n.done.Go(n.listen)
	t.Cleanup(n.stop)
	return n
}

func (n *fakeNode) stop() {
	n.server.Close()
	n.done.Wait()
}

func (n *fakeNode) listen() {
	for {
		notification, err := n.server.Next(context.Background())
		if err != nil {
			return
		}
		r, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		asks := func(name string) bool { return r.Message.Topic == nodescript.RequestTopic(name) }
		name := n.name
		if at := slices.IndexFunc(n.behind, asks); at >= 0 {
			name = n.behind[at]
		} else if !asks(name) {
			continue
		}
		ev, err := broker.ParseEvent(r.Message.Value)
		if err != nil {
			n.Error(err)
			continue
		}
		if ev.Name == nodescript.HelloRequest {
			if n.ignore--; n.ignore < 0 {
				n.publish(name, zeekapi.NodeHello{Node: name})
			}
			continue
		}
		msg, err := dialect.Decode(ev)
		if err != nil {
			n.Error(err)
			continue
		}
		req := msg.(zeekapi.NodeDispatchRequest)
		n.publish(name, zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: zeekapi.Result{ReqID: req.ID, Success: true, Node: name}})
	}
}

func (n *fakeNode) publish(name string, msg zeekapi.Message) {
	ev, err := dialect.Encode(msg)
	if err != nil {
		n.Error(err)
		return
	}
	for _, topic := range []string{"elsewhere", nodescript.ResponseTopic(name)} {
		if err := broker.PublishEvent(context.Background(), n.server, topic, ev); err != nil && !errors.Is(err, broker.ErrClosed) {
			n.Error(err)
		}
	}
}

// fakeProcesses is a Processes that a test controls.
type fakeProcesses struct {
	events       launch.Events
	running      []launch.Running
	started      chan launch.Node
	noWebSockets bool // whether loggers serve no WebSockets
	broker       bool
}

func newFakeProcesses() *fakeProcesses { return &fakeProcesses{started: make(chan launch.Node, 10)} }

func (p *fakeProcesses) Start(n launch.Node)                            { p.started <- n }
func (p *fakeProcesses) Stop(string)                                    {}
func (p *fakeProcesses) Next(ctx context.Context) (launch.Event, error) { return p.events.Next(ctx) }
func (p *fakeProcesses) Close(context.Context) error                    { p.events.Close(); return nil }
func (p *fakeProcesses) Leave()                                         { p.events.Close() }
func (p *fakeProcesses) Running() []launch.Running                      { return p.running }
func (p *fakeProcesses) Check(nodes []launch.Node, trial bool) {
	for _, n := range nodes {
		p.events.Add(launch.Checked{Node: n, Trial: trial})
	}
}
func (p *fakeProcesses) Outputs(string, int) (o zeekapi.NodeOutputs, _ error) { return o, nil }
func (p *fakeProcesses) HasBroker() bool                                      { return p.broker }
func (p *fakeProcesses) UsesHub(launch.Node) bool                             { return p.noWebSockets }
func (p *fakeProcesses) ServesWebSocket(n launch.Node) bool {
	return !p.noWebSockets || n.Role != zeekapi.RoleLogger
}
func (p *fakeProcesses) ZeekVersion() string { return "9.9.9" }

func next(t *testing.T, l *Launcher) string {
	t.Helper()
	ev, err := l.Next(t.Context())
	if err != nil {
		return err.Error()
	}
	switch ev := ev.(type) {
	case launch.Started:
		return ev.Node + " started"
	case launch.Up:
		if ev.Indirect {
			return ev.Node + " up, indirect"
		}
		return ev.Node + " up"
	case launch.Exited:
		return ev.Node + " exited"
	case launch.Checked:
		return fmt.Sprintf("%s checked, trial: %t", ev.Node.Name, ev.Trial)
	case launch.Edited:
		return fmt.Sprintf("edited %v", ev.Nodes)
	case launch.Answered:
		return strings.TrimSpace(ev.Response.Result.Node + " answered " + ev.Response.ID + " " + ev.Response.Result.Error)
	}
	return fmt.Sprintf("%T", ev)
}

func expect(t *testing.T, l *Launcher, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(t, l); got != w {
			t.Errorf("got %q, want %q", got, w)
		}
	}
}

// expectInAnyOrder is like expect, for events of nodes that do not wait for each other.
func expectInAnyOrder(t *testing.T, l *Launcher, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, next(t, l))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func ask(l *Launcher, id string, nodes ...string) (others []string) {
	return l.Dispatch(zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: id}, Action: []string{"get_id_value", "x"}, Nodes: nodes})
}

// scanning are processes whose scripts have changed.
type scanning struct{ *fakeProcesses }

func (p scanning) Scan() {
	p.events.Add(launch.Edited{Nodes: map[string][]string{"w": {"local.zeek"}}})
}

func (p scanning) Scripts(_ context.Context, name string, _ bool) (zeekapi.NodeScripts, error) {
	return zeekapi.NodeScripts{Scripts: []zeekapi.LoadedScript{{Path: name}}}, nil
}

func TestForwardsChecksAndScans(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edited string
		scans  bool
	}{
		{"that scan", "edited map[w:[local.zeek]]", true},
		{"that do not scan", "edited map[]", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFakeProcesses()
			var p Processes = fake
			if tt.scans {
				p = scanning{fake}
			}
			l := New(p, zerolog.New(zerolog.NewTestWriter(t)))
			defer l.Close(t.Context())
			for _, trial := range []bool{true, false} {
				l.Check([]launch.Node{{Node: zeekapi.Node{Name: "w"}}}, trial)
				expect(t, l, fmt.Sprintf("w checked, trial: %t", trial))
			}
			l.Scan()
			expect(t, l, tt.edited)
			if s, err := l.Scripts(t.Context(), "w", false); errors.Is(err, launch.ErrNoScripts) == tt.scans || tt.scans && s.Scripts[0].Path != "w" {
				t.Errorf("scripts are %+v, %v", s, err)
			}
		})
	}
}

func TestConnection(t *testing.T) {
	p := newFakeProcesses()
	l := New(p, zerolog.New(zerolog.NewTestWriter(t)))
	defer l.Close(t.Context())
	l.Start(launch.Node{Node: zeekapi.Node{Name: "w", Env: map[string]string{"K": "v"}}})
	n := <-p.started
	port := n.Env[nodescript.WebSocketVar]
	if !strings.HasSuffix(port, "/tcp") || n.Env["K"] != "v" {
		t.Errorf("environment is %v", n.Env)
	}
	ask(l, "too early", "w", "unknown")
	p.events.Add(launch.Started{Node: "w"})
	expect(t, l, "w started")
	node := startNode(t, "w", port, 2) // after the first attempt, and ignoring two requests
	expect(t, l, "w up")
	ask(l, "r", "w", "unknown")
	expect(t, l, "w answered r")

	// The node keeps running when the connection is lost.
	node.stop()
	startNode(t, "w", port, 0)
	expect(t, l, "w up")
	p.events.Add(launch.Exited{Node: "w"})
	expect(t, l, "w exited")
	ask(l, "too late", "w")
	l.Leave()
	expect(t, l, broker.ErrClosed.Error())
}

// A new agent finds the nodes of an earlier one with their original configurations, and
// connects to their ports.
func TestAdoptedNodes(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	startNode(t, "w", port, 0)
	p := newFakeProcesses()
	p.running = []launch.Running{
		{Node: launch.Node{Node: zeekapi.Node{Name: "w", Env: map[string]string{"K": "v", nodescript.WebSocketVar: port}}}},
		{Node: launch.Node{Node: zeekapi.Node{Name: "connects"}}},
	}
	p.broker = true
	l := New(p, zerolog.Nop())
	defer l.Close(t.Context())
	if diff := cmp.Diff(map[string]string{"K": "v"}, l.Running()[0].Node.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if l.Running()[1].Node.Env != nil || l.ZeekVersion() != "9.9.9" {
		t.Errorf("environment is %v, version %s", l.Running()[1].Node.Env, l.ZeekVersion())
	}
	expect(t, l, "w up")
	ask(l, "r", "w")
	expect(t, l, "w answered r")
}

// A node that serves no WebSockets connects to the agent.
func TestConnectingNode(t *testing.T) {
	p := newFakeProcesses()
	p.noWebSockets, p.broker = true, true
	l := New(p, zerolog.Nop())
	defer l.Close(t.Context())
	l.Start(logger("l", broker.TCP(1)))
	if n := <-p.started; n.Env[nodescript.WebSocketVar] != "" {
		t.Errorf("environment is %v", n.Env)
	}
	p.events.Add(launch.Started{Node: "l"})
	expect(t, l, "l started")
	if got := ask(l, "r", "l"); !slices.Equal(got, []string{"l"}) {
		t.Errorf("Dispatch returned %q, want the node", got)
	}
}

// A logger without WebSockets and Broker is up when it listens, also for the next agent.
// Requests to it fail.
func TestNodeWithoutRequests(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := logger("l", broker.TCP(uint16(listener.Addr().(*net.TCPAddr).Port)))
	p := newFakeProcesses()
	p.noWebSockets = true
	l := New(p, zerolog.Nop())
	defer l.Close(t.Context())
	l.Start(n)
	<-p.started
	p.events.Add(launch.Started{Node: "l"})
	expect(t, l, "l started", "l up, indirect")
	if got := ask(l, "r", "l"); len(got) != 0 {
		t.Errorf("Dispatch returned %q, want none", got)
	}
	expect(t, l, "l answered r "+errMute.Error())

	q := newFakeProcesses()
	q.noWebSockets, q.running = true, []launch.Running{{Node: n}}
	next := New(q, zerolog.Nop())
	defer next.Close(t.Context())
	expect(t, next, "l up, indirect")
}

// A logger without WebSockets is up when it listens. Requests to it go through another node on
// its machine, also those of the next agent. Without such a node, they fail at once.
func TestRelayedNode(t *testing.T) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprintf("Broker %t", broker), func(t *testing.T) { testRelayedNode(t, broker) })
	}
}

func testRelayedNode(t *testing.T, hasBroker bool) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := logger("l", broker.TCP(uint16(listener.Addr().(*net.TCPAddr).Port)))
	n.Layout += "w WORKER 127.0.0.1 - -\n"
	p := newFakeProcesses()
	p.noWebSockets, p.broker = true, hasBroker
	l := New(p, zerolog.New(zerolog.NewTestWriter(t)))
	l.Start(n)
	started := <-p.started
	if got := started.Env[nodescript.WebSocketVar]; got != nodescript.Relayed {
		t.Errorf("the variable is %q", got)
	}
	p.events.Add(launch.Started{Node: "l"})
	expect(t, l, "l started", "l up, indirect")
	if got := ask(l, "r1", "l"); len(got) != 0 {
		t.Errorf("Dispatch returned %q, want none", got)
	}
	expect(t, l, "l answered r1 "+errNoRelay.Error())

	l.Start(launch.Node{Node: zeekapi.Node{Name: "w", Role: zeekapi.RoleWorker}})
	worker := <-p.started
	node := startNode(t, "w", worker.Env[nodescript.WebSocketVar], 0, "l")
	p.events.Add(launch.Started{Node: "w"})
	expect(t, l, "w started")
	expectInAnyOrder(t, l, "w up, indirect", "l up, indirect")
	ask(l, "r2", "l")
	expect(t, l, "l answered r2")
	l.Leave()

	q := newFakeProcesses()
	q.noWebSockets, q.broker = true, hasBroker
	q.running = []launch.Running{{Node: started}, {Node: worker}}
	successor := New(q, zerolog.New(zerolog.NewTestWriter(t)))
	defer successor.Close(t.Context())
	expectInAnyOrder(t, successor, "l up, indirect", "l up, indirect", "w up, indirect")
	ask(successor, "r3", "l")
	expect(t, successor, "l answered r3")
	node.stop()
	for successor.links["l"].connected() != nil {
		time.Sleep(time.Millisecond)
	}
	ask(successor, "r4", "l")
	expect(t, successor, "l answered r4 "+errNoRelay.Error())
}

// A logger connects to the agent if its neighbours are on other machines.
func TestLoggerAlone(t *testing.T) {
	p := newFakeProcesses()
	p.noWebSockets, p.broker = true, true
	l := New(p, zerolog.Nop())
	defer l.Close(t.Context())
	n := logger("l", broker.TCP(1))
	n.Layout += "w WORKER 192.0.2.1 - -\n"
	l.Start(n)
	if n := <-p.started; n.Env[nodescript.WebSocketVar] != "" {
		t.Errorf("environment is %v", n.Env)
	}
}

func logger(name string, port broker.Port) launch.Node {
	return launch.Node{
		Node:   zeekapi.Node{Name: name, Role: zeekapi.RoleLogger, Port: port},
		Layout: zeekapi.Layout(fmt.Sprintf("%s LOGGER 127.0.0.1 %s -\n", name, port)),
	}
}
