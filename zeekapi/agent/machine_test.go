package agent

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

func id(s string) zeekapi.ReqID { return zeekapi.ReqID{ID: s} }

// configuration returns a configuration with the named nodes. The first letter
// determines the role: l is a logger, m is a manager, p is a proxy, and others
// are workers. The nodes are on instance i, unless an instance and a slash
// precede the name.
func configuration(configID string, names ...string) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: configID, Instances: []zeekapi.Instance{
		{Name: "i", Host: netip.MustParseAddr("10.0.0.1")},
		{Name: "other", Host: netip.MustParseAddr("10.0.0.2")},
	}}
	for _, name := range names {
		n := zeekapi.Node{Name: name, Instance: "i", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning}
		if instance, rest, ok := strings.Cut(name, "/"); ok {
			n.Instance, n.Name = instance, rest
		}
		switch n.Name[0] {
		case 'l':
			n.Role, n.Port = zeekapi.RoleLogger, broker.TCP(2200)
		case 'm':
			n.Role, n.Port = zeekapi.RoleManager, broker.TCP(2201)
		case 'p':
			n.Role, n.Port = zeekapi.RoleProxy, broker.TCP(2202)
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

func deploy(reqID string, c zeekapi.Configuration) zeekapi.AgentDeployRequest {
	return zeekapi.AgentDeployRequest{ReqID: id(reqID), Config: c}
}

func ok(reqID, node string) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Instance: "i", Node: node}
}

func failed(reqID, node, text string) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Instance: "i", Node: node, Error: text}
}

// troubled is like failed, with the error as the output of the node.
func troubled(reqID, node, text string) zeekapi.Result {
	r := failed(reqID, node, text)
	r.Data = mustMarshal(zeekapi.NodeOutputs{Stderr: text})
	return r
}

func compare(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := gocmp.Diff(want, got, gocmp.Comparer(broker.Equal), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// running returns a fleet that runs the nodes.
func running(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := newFleet(t, connecting("i"), nil)
	f.ask(deploy("first", configuration("c1", names...)))
	f.pass(time.Second)
	f.out = nil
	return f
}

func TestHello(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.pass(time.Hour)
	compare(t, "hellos without peers", 0, len(published[zeekapi.AgentHello](f)))

	f.step(PeerAdded{})
	want := zeekapi.AgentHello{Instance: "i", EndpointID: "x", Connecting: true, APIVersion: 1, Host: netip.IPv4Unspecified()}
	if got := one[zeekapi.AgentHello](f); got != want {
		t.Errorf("hello is %+v, want %+v", got, want)
	}
	f.step(PeerAdded{})
	one[zeekapi.AgentHello](f)
	compare(t, "revision", uint64(zeekapi.AgentRevision), published[zeekapi.AgentDescription](f)[1].Revision)

	f.pass(10*HelloInterval + time.Second)
	compare(t, "hellos in ten intervals", 10, len(published[zeekapi.AgentHello](f)))
	f.step(PeerLost{})
	f.step(PeerLost{})
	f.pass(time.Hour)
	compare(t, "hellos after the last peer", 0, len(published[zeekapi.AgentHello](f)))
}

// A peer that connects again and again must not cost the others a hello each time.
func TestHelloOfNewPeer(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	hellos := func() (to []uuid.UUID) {
		for _, out := range f.out {
			if p, ok := out.(Publish); ok {
				if _, hello := p.Message.(zeekapi.AgentHello); hello {
					to = append(to, p.To)
				}
			}
		}
		f.out = nil
		return to
	}
	first, second := broker.Peer{ID: uuid.New()}, broker.Peer{ID: uuid.New()}
	f.step(PeerAdded{first})
	compare(t, "hellos to", []uuid.UUID{first.ID}, hellos())
	f.pass(HelloInterval / 2)
	f.step(PeerAdded{second})
	compare(t, "hellos to", []uuid.UUID{second.ID}, hellos())
	f.pass(HelloInterval/2 + time.Second)
	compare(t, "hellos to", []uuid.UUID{uuid.Nil}, hellos())
}

func TestWelcome(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.ask(zeekapi.AgentWelcomeRequest{ReqID: id("r")})
	compare(t, "response", zeekapi.AgentWelcomeResponse{ReqID: id("r"), Result: ok("r", "")}, one[zeekapi.AgentWelcomeResponse](f))
}

func TestResponsesUseDialectOfRequest(t *testing.T) {
	d := management.Dialect(management.DefaultTopics)
	f := newFleet(t, connecting("i"), nil)
	f.step(PeerAdded{})
	f.step(Received{Dialect: d, Message: deploy("r", configuration("c", "w"))})
	f.pass(time.Second)
	for _, p := range take[Publish](f) {
		// These precede any request, so they are sent in all dialects.
		switch p.Message.(type) {
		case zeekapi.AgentHello, zeekapi.AgentDescription, zeekapi.AgentProblems:
			if p.Dialect != nil {
				t.Errorf("%T is published in dialect %v only", p.Message, p.Dialect)
			}
		default:
			if p.Dialect != d {
				t.Errorf("%T is published in dialect %v", p.Message, p.Dialect)
			}
		}
	}
}

func TestDeployStartsByRoleAndRespondsPerNode(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	config := configuration("c", "w2", "m", "w1", "p", "l", "other/w3")
	f.ask(deploy("r", config))
	compare(t, "persisted", []Persist{{Assignment: assigned(config)}}, take[Persist](f))
	for name, s := range f.statuses() {
		if s.State != zeekapi.StatePending {
			t.Errorf("%s is %s", name, s.State)
		}
	}
	for _, stage := range [][]string{{"l"}, {"m"}, {"p"}, {"w1", "w2"}} {
		compare(t, "responses before all nodes are up", 0, len(published[zeekapi.AgentDeployResponse](f)))
		var names []string
		for _, s := range take[Start](f) {
			names = append(names, s.Node.Name)
			compare(t, "members of the cluster of "+s.Node.Name, 6, len(s.Node.Members()))
		}
		compare(t, "started", stage, names)
		f.pass(f.startUp)
	}
	compare(t, "response",
		zeekapi.AgentDeployResponse{ReqID: id("r"), Results: []zeekapi.Result{ok("r", "l"), ok("r", "m"), ok("r", "p"), ok("r", "w1"), ok("r", "w2")}},
		one[zeekapi.AgentDeployResponse](f))
	compare(t, "status of m",
		zeekapi.NodeStatus{Node: "m", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleManager, PID: 2, Port: broker.TCP(2201)},
		f.statuses()["m"])
}

func TestDeployRespondsAtOnce(t *testing.T) {
	same := configuration("c1", "l", "m", "w")
	forced := deploy("r", same)
	forced.Force = true
	for _, tt := range []struct {
		name    string
		request zeekapi.AgentDeployRequest
		want    []zeekapi.Result
		stopped []string
	}{
		{"the same configuration", deploy("r", same), []zeekapi.Result{ok("r", "")}, nil},
		{"another configuration with the same ID", deploy("r", configuration("c1", "l", "m")), nil, []string{"w", "m", "l"}},
		{"another name for the same configuration", deploy("r", configuration("c2", "l", "m", "w")),
			[]zeekapi.Result{ok("r", "l"), ok("r", "m"), ok("r", "w")}, nil},
		{"an empty configuration", deploy("r", zeekapi.Configuration{ID: "c2"}), []zeekapi.Result{ok("r", "")}, []string{"w", "m", "l"}},
		{"nodes of other instances only", deploy("r", configuration("c2", "other/w")), []zeekapi.Result{ok("r", "")}, []string{"w", "m", "l"}},
		{"a node of an unknown instance", deploy("r", configuration("c2", "nowhere/w")),
			[]zeekapi.Result{failed("r", "", `node w is on instance "nowhere", which is not in the configuration`)}, nil},
		{"two nodes with the same name", deploy("r", configuration("c2", "w", "other/w")),
			[]zeekapi.Result{failed("r", "", "two nodes have the name w")}, nil},
		{"an invalid name", deploy("r", configuration("c2", "i/../etc")),
			[]zeekapi.Result{failed("r", "", `node name "../etc": want printable characters other than spaces, slashes and quotes`)}, nil},
		{"forced", forced, nil, []string{"w", "m", "l"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "m", "w")
			f.ask(tt.request)
			var got []zeekapi.Result
			for _, r := range published[zeekapi.AgentDeployResponse](f) {
				got = append(got, r.Results...)
			}
			compare(t, "results", tt.want, got)
			compare(t, "stopped", tt.stopped, stopped(f))
		})
	}
}

// ours converts a request of Zeek's controller to the corresponding request of
// ours.
func ours(req zeekapi.AgentDeployRequest) zeekapi.AgentDeployNodesRequest {
	a := assigned(req.Config)
	return zeekapi.AgentDeployNodesRequest{ReqID: req.ReqID, Config: a.ID, Nodes: a.Nodes, Layout: a.Layout.Pack(), Force: req.Force, Site: a.Site}
}

// some is a request of our controller to continue with a configuration without the given
// nodes, because they are stopped.
func some(reqID string, c zeekapi.Configuration, without ...string) zeekapi.AgentDeployNodesRequest {
	req := ours(deploy(reqID, c))
	req.Continue = true
	req.Nodes = slices.DeleteFunc(slices.Clone(req.Nodes), func(n zeekapi.Node) bool { return slices.Contains(without, n.Name) })
	return req
}

// TestDeployNodes checks the deploy request of our controller, which has the
// same effects as that of Zeek's.
func TestDeployNodes(t *testing.T) {
	config := configuration("c1", "l", "m", "w", "other/v")
	for _, tt := range []struct {
		name    string
		change  func(*zeekapi.AgentDeployNodesRequest)
		want    []zeekapi.Result
		stopped []string
	}{
		{"the same", func(*zeekapi.AgentDeployNodesRequest) {}, []zeekapi.Result{ok("r", "")}, nil},
		{"with another ID", func(r *zeekapi.AgentDeployNodesRequest) { r.Config = "c2" },
			[]zeekapi.Result{ok("r", "l"), ok("r", "m"), ok("r", "w")}, nil},
		{"forced", func(r *zeekapi.AgentDeployNodesRequest) { r.Force = true }, nil, []string{"w", "m", "l"}},
		{"another cluster", func(r *zeekapi.AgentDeployNodesRequest) {
			r.Layout = (assigned(config).Layout + "z WORKER - - -\n").Pack()
		}, nil, []string{"w", "m", "l"}},
		{"fewer nodes", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes = r.Nodes[:2] },
			[]zeekapi.Result{ok("r", "l"), ok("r", "m")}, []string{"w"}},
		{"no nodes", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes = nil }, []zeekapi.Result{ok("r", "")}, []string{"w", "m", "l"}},

		{"no layout", func(r *zeekapi.AgentDeployNodesRequest) { r.Layout = zeekapi.Layout("").Pack() },
			[]zeekapi.Result{failed("r", "", "node l is not in the layout of its cluster")}, nil},
		{"a layout that is not packed", func(r *zeekapi.AgentDeployNodesRequest) { r.Layout = "l LOGGER - - -\n" },
			[]zeekapi.Result{failed("r", "", "zeekapi: layout: s2: corrupt input")}, nil},
		{"an invalid layout", func(r *zeekapi.AgentDeployNodesRequest) { r.Layout = zeekapi.Layout("l \n").Pack() },
			[]zeekapi.Result{failed("r", "", `node l has the unknown role ""`)}, nil},
		{"an invalid name", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes[0].Name = "../etc" },
			[]zeekapi.Result{failed("r", "", `node name "../etc": want printable characters other than spaces, slashes and quotes`)}, nil},
		{"another role in the layout", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes[0].Role = zeekapi.RoleWorker },
			[]zeekapi.Result{failed("r", "", "node l differs from its entry in the layout of its cluster")}, nil},
		{"a duplicate node", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes = append(r.Nodes, r.Nodes[2]) },
			[]zeekapi.Result{failed("r", "", "node w does not come after node w")}, nil},
		{"a node of another instance", func(r *zeekapi.AgentDeployNodesRequest) { r.Nodes[0].Instance = "other" },
			[]zeekapi.Result{failed("r", "", `node l is on instance "other", this is i`)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "m", "w", "other/v")
			req := ours(deploy("r", config))
			tt.change(&req)
			f.ask(req)
			var got []zeekapi.Result
			for _, r := range published[zeekapi.AgentDeployResponse](f) {
				got = append(got, r.Results...)
			}
			compare(t, "results", tt.want, got)
			compare(t, "stopped", tt.stopped, stopped(f))
		})
	}
}

// A deployment with StartLimit can wait longer for nodes that are still starting.
func TestDeployWithStartLimit(t *testing.T) {
	for _, tt := range []struct {
		limit, after time.Duration
		timeout      bool
	}{
		{0, RequestTimeout, true},
		{-time.Second, RequestTimeout, true},
		{5 * time.Second, 5 * time.Second, true},
		{time.Minute, 20 * time.Second, false},
		{24 * time.Hour, 20 * time.Second, false},
	} {
		t.Run(tt.limit.String(), func(t *testing.T) {
			f := newFleet(t, connecting("i"), nil)
			f.startUp = 20*time.Second - RequestTimeout/2
			request := ours(deploy("r", configuration("c", "l", "w")))
			request.StartLimit = tt.limit
			f.ask(request)
			f.pass(min(tt.after, RequestTimeout/2) - time.Nanosecond)
			compare(t, "started", []string{"l"}, started(f))
			f.pass(tt.after - min(tt.after, RequestTimeout/2))
			compare(t, "responses before", 0, len(published[zeekapi.AgentDeployResponse](f)))
			f.pass(time.Nanosecond)
			compare(t, "timeout", tt.timeout, one[zeekapi.AgentDeployResponse](f).Results[0].Error == zeekapi.ErrorTimeout)
		})
	}

	f := newFleet(t, connecting("i"), nil)
	f.silent = func(launch.Node) bool { return true }
	request := ours(deploy("r", configuration("c", "w")))
	request.StartLimit = 24 * time.Hour
	f.ask(request)
	f.pass(MaxStartLimit - time.Nanosecond)
	compare(t, "responses before", 0, len(published[zeekapi.AgentDeployResponse](f)))
	f.pass(time.Nanosecond)
	compare(t, "result", troubled("r", "w", "still starting"), one[zeekapi.AgentDeployResponse](f).Results[1])
}

// The site is part of the configuration of nodes.
func TestDeployWithSite(t *testing.T) {
	for _, wrap := range []func(zeekapi.AgentDeployRequest) zeekapi.Message{
		func(r zeekapi.AgentDeployRequest) zeekapi.Message { return r },
		func(r zeekapi.AgentDeployRequest) zeekapi.Message { return ours(r) },
	} {
		f := running(t, "w")
		config := configuration("c1", "w")
		config.Site = "5173"
		f.ask(wrap(deploy("r", config)))
		f.pass(time.Second)
		compare(t, "stored", "5173", take[Persist](f)[0].Assignment.Site)
		compare(t, "stopped", []string{"w"}, stopped(f))
		compare(t, "started", "5173", take[Start](f)[0].Node.Site)
		f.ask(wrap(deploy("again", config)))
		compare(t, "the same", []zeekapi.Result{ok("again", "")}, published[zeekapi.AgentDeployResponse](f)[1].Results)
	}
}

// An agent that has restarted, or receives a request twice, already has the
// configuration. The response still covers nodes that do not run yet or cannot
// run.
func TestDeploySameConfigurationBeforeItRuns(t *testing.T) {
	same := configuration("c1", "l", "w")
	for _, request := range []zeekapi.Message{deploy("r", same), ours(deploy("r", same))} {
		f := newFleet(t, connecting("i"), assigned(same))
		f.step(Tick{})
		f.ask(request)
		compare(t, "responses before the nodes run", 0, len(published[zeekapi.AgentDeployResponse](f)))
		f.pass(time.Second)
		compare(t, "nodes that start", []zeekapi.Result{ok("r", "l"), ok("r", "w")}, one[zeekapi.AgentDeployResponse](f).Results)

		f = newFleet(t, connecting("i"), assigned(same))
		f.refuses = func(n launch.Node) error {
			if n.Name == "w" {
				return errors.New("no interface")
			}
			return nil
		}
		f.step(Tick{})
		f.pass(time.Second)
		f.ask(request)
		compare(t, "a node that cannot run", []zeekapi.Result{ok("r", "l"), troubled("r", "w", "no interface")}, one[zeekapi.AgentDeployResponse](f).Results)
	}
}

// An agent that is shutting down still confirms the configuration that it runs.
func TestDeploySameConfigurationDuringShutdown(t *testing.T) {
	f := running(t, "l", "w")
	f.step(Shutdown{})
	same := deploy("r", configuration("c1", "l", "w"))
	for _, request := range []zeekapi.Message{same, ours(same)} {
		f.ask(request)
		compare(t, "the same", []zeekapi.Result{ok("r", "")}, one[zeekapi.AgentDeployResponse](f).Results)
	}
	f.ask(deploy("r", configuration("c2", "l")))
	compare(t, "another", []zeekapi.Result{failed("r", "", errorEnding)}, one[zeekapi.AgentDeployResponse](f).Results)
}

func TestDeployRestartsOnlyChangedNodes(t *testing.T) {
	affinity := int64(1)
	node := func(name string, change func(*zeekapi.Node)) func(*zeekapi.Configuration) {
		return func(c *zeekapi.Configuration) {
			change(&c.Nodes[slices.IndexFunc(c.Nodes, func(n zeekapi.Node) bool { return n.Name == name })])
		}
	}
	for _, tt := range []struct {
		name             string
		change           func(*zeekapi.Configuration)
		stopped, started []string
	}{
		{"nothing", func(*zeekapi.Configuration) {}, nil, nil},
		{"scripts", node("w1", func(n *zeekapi.Node) { n.Scripts = []string{"x"} }), []string{"w1"}, []string{"w1"}},
		{"environment", node("w1", func(n *zeekapi.Node) { n.Env = map[string]string{"X": "y"} }), []string{"w1"}, []string{"w1"}},
		{"interface", node("m", func(n *zeekapi.Node) { n.Interface = "eth0" }), []string{"m"}, []string{"m"}},
		{"CPU", node("w2", func(n *zeekapi.Node) { n.CPUAffinity = &affinity }), []string{"w2"}, []string{"w2"}},
		{"several CPUs", node("w2", func(n *zeekapi.Node) { n.SetCPUs([]int64{0, 1}) }), []string{"w2"}, []string{"w2"}},
		{"options and state, which have no effect", node("w1", func(n *zeekapi.Node) {
			n.State, n.Options = zeekapi.StateStopped, []zeekapi.Option{{Name: "x"}}
		}), nil, nil},
		{"a port, which is in the layout of all nodes", node("m", func(n *zeekapi.Node) { n.Port = broker.TCP(4711) }),
			[]string{"w2", "w1", "m", "l"}, []string{"l", "m", "w1", "w2"}},
		{"a metrics port", node("w3", func(n *zeekapi.Node) { n.MetricsPort = broker.TCP(9000) }),
			[]string{"w2", "w1", "m", "l"}, []string{"l", "m", "w1", "w2"}},
		{"an address", func(c *zeekapi.Configuration) { c.Instances[1].Host = netip.MustParseAddr("10.0.0.3") },
			[]string{"w2", "w1", "m", "l"}, []string{"l", "m", "w1", "w2"}},
		{"a node of another instance", func(c *zeekapi.Configuration) { c.Nodes = c.Nodes[:4] },
			[]string{"w2", "w1", "m", "l"}, []string{"l", "m", "w1", "w2"}},
		{"a node of this instance", func(c *zeekapi.Configuration) { c.Nodes = c.Nodes[1:] },
			[]string{"w2", "w1", "m", "l"}, []string{"m", "w1", "w2"}},
	} {
		test := func(t *testing.T, request func(zeekapi.AgentDeployRequest) zeekapi.Message) {
			names := []string{"l", "m", "w1", "w2", "other/w3"}
			f := running(t, names...)
			config := configuration("c2", names...)
			tt.change(&config)
			f.ask(request(deploy("r", config)))
			compare(t, "stopped", tt.stopped, stopped(f))
			compare(t, "started before the others have ended", 0, len(started(f)))
			f.pass(time.Second)
			compare(t, "started", tt.started, started(f))
			for _, r := range one[zeekapi.AgentDeployResponse](f).Results {
				if !r.Success {
					t.Errorf("result %+v", r)
				}
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			test(t, func(r zeekapi.AgentDeployRequest) zeekapi.Message { return r })
		})
		t.Run(tt.name+", by our controller", func(t *testing.T) {
			test(t, func(r zeekapi.AgentDeployRequest) zeekapi.Message { return ours(r) })
		})
	}
}

func TestDeployWithFailingNodes(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	outputs := zeekapi.NodeOutputs{Stdout: "out", Stderr: "fatal error"}
	f.dies = func(n launch.Node) *launch.Exited {
		if n.Name != "m" {
			return nil
		}
		return &launch.Exited{Node: n.Name, Err: errors.New("exit status 1"), Outputs: outputs}
	}
	f.silent = func(n launch.Node) bool { return n.Name == "w" }
	f.ask(deploy("r", configuration("c", "l", "m", "w")))
	f.pass(RequestTimeout - time.Millisecond)
	compare(t, "responses before the timeout", 0, len(published[zeekapi.AgentDeployResponse](f)))
	f.pass(time.Millisecond)
	dead := failed("r", "m", "exit status 1")
	dead.Data = mustMarshal(outputs)
	compare(t, "results",
		[]zeekapi.Result{
			failed("r", "", "request timed out"),
			ok("r", "l"), dead, troubled("r", "w", "still starting"),
		},
		one[zeekapi.AgentDeployResponse](f).Results)
}

func TestDeployIsSuperseded(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.ask(deploy("r1", configuration("c1", "m", "w1")))
	f.ask(deploy("r2", configuration("c2", "m", "w2")))
	compare(t, "the older", zeekapi.AgentDeployResponse{ReqID: id("r1"),
		Results: []zeekapi.Result{failed("r1", "", "superseded by a newer deployment")}}, one[zeekapi.AgentDeployResponse](f))
	f.pass(time.Second)
	compare(t, "the newer", zeekapi.AgentDeployResponse{ReqID: id("r2"),
		Results: []zeekapi.Result{ok("r2", "m"), ok("r2", "w2")}}, one[zeekapi.AgentDeployResponse](f))
	f.pass(time.Minute)
	compare(t, "more", 0, len(published[zeekapi.AgentDeployResponse](f)))

	f.ask(deploy("r3", configuration("c3", "m", "w3")))
	f.ask(zeekapi.AgentStandbyRequest{})
	compare(t, "deployment before standby",
		[]zeekapi.Result{failed("r3", "", "the agent was told to stand by")}, one[zeekapi.AgentDeployResponse](f).Results)
}

func TestStandby(t *testing.T) {
	f := running(t, "l", "m", "w")
	f.ask(zeekapi.AgentStandbyRequest{})
	compare(t, "response", zeekapi.AgentStandbyResponse{Result: ok("", "")}, one[zeekapi.AgentStandbyResponse](f))
	compare(t, "stopped", []string{"w", "m", "l"}, stopped(f))
	compare(t, "persisted", []Persist{{}}, take[Persist](f))
	compare(t, "statuses", 0, len(f.statuses()))
	f.pass(time.Minute)
	compare(t, "deploy responses", 0, len(published[zeekapi.AgentDeployResponse](f)))
	compare(t, "running", 0, len(f.running))
	for _, c := range published[zeekapi.AgentChange](f) {
		compare(t, "change of "+c.Node.Name, []zeekapi.State{zeekapi.StateRunning, zeekapi.StateStopped}, []zeekapi.State{c.Old, c.New})
	}

	// The same configuration is deployed again, because it is no longer
	// running.
	f.ask(deploy("r", configuration("c1", "l", "m", "w")))
	f.pass(time.Second)
	compare(t, "started", []string{"l", "m", "w"}, started(f))
}

func TestStandbyWithoutNodes(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.ask(zeekapi.AgentStandbyRequest{ReqID: id("r")})
	compare(t, "response", zeekapi.AgentStandbyResponse{ReqID: id("r"), Result: ok("r", "")}, one[zeekapi.AgentStandbyResponse](f))
}

func TestGetNodesListsTheAgent(t *testing.T) {
	self := zeekapi.NodeStatus{Node: "i", State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementAgent, ClusterRole: zeekapi.RoleNone, PID: 1}
	passive := self
	passive.Port = broker.TCP(2152)
	for _, tt := range []struct {
		self Settings
		want zeekapi.NodeStatus
	}{{connecting("i"), self}, {listening("i", 2152), passive}} {
		f := newFleet(t, tt.self, nil)
		f.ask(zeekapi.AgentGetNodesRequest{ReqID: id("r")})
		want := ok("r", "")
		want.Data = mustMarshal([]zeekapi.NodeStatus{tt.want})
		compare(t, "response", zeekapi.AgentGetNodesResponse{ReqID: id("r"), Result: want}, one[zeekapi.AgentGetNodesResponse](f))
	}
}

func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name             string
		nodes            []string
		stopped, started []string
		want             []zeekapi.Result
	}{
		{"one", []string{"w1"}, []string{"w1"}, []string{"w1"}, []zeekapi.Result{ok("r", "w1")}},
		{"all", nil, []string{"w2", "w1", "l"}, []string{"l", "w1", "w2"}, []zeekapi.Result{ok("r", "l"), ok("r", "w1"), ok("r", "w2")}},
		{"nodes of two instances", []string{"w1", "w3"}, []string{"w1"}, []string{"w1"}, []zeekapi.Result{ok("r", "w1")}},
		{"nodes of another instance", []string{"w3"}, nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "w1", "w2", "other/w3")
			f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: tt.nodes})
			compare(t, "stopped", tt.stopped, stopped(f))
			f.pass(time.Second)
			compare(t, "started", tt.started, started(f))
			compare(t, "response", zeekapi.AgentRestartResponse{ReqID: id("r"), Results: tt.want}, one[zeekapi.AgentRestartResponse](f))
		})
	}
}

// All nodes of a request are checked before the first is stopped.
func TestRestartOfNodesThatCannotRun(t *testing.T) {
	const other = "another node of the request cannot run"
	unchanged := func(name, why string) zeekapi.Result {
		r := troubled("r", name, why)
		r.Error = "node " + name + " was not restarted: " + why
		return r
	}
	broken := func(name string) zeekapi.Result {
		r := troubled("r", name, "no")
		r.Error = "could not restart node " + name + ": no"
		return r
	}
	for _, tt := range []struct {
		name   string
		nodes  []string
		broken []string
		want   []zeekapi.Result
	}{
		{"one", []string{"w1"}, []string{"w1", "l"}, []zeekapi.Result{broken("w1")}},
		{"some", []string{"w1", "w2", "w3"}, []string{"w2", "l"}, []zeekapi.Result{unchanged("w1", other), broken("w2")}},
		{"all", nil, []string{"l", "w2"}, []zeekapi.Result{broken("l"), unchanged("w1", other), broken("w2")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "w1", "w2", "other/w3")
			f.checkTime = time.Second
			f.refuses = refuse(tt.broken...)
			before := f.statuses()
			f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: tt.nodes})
			compare(t, "pending", 1, f.machine.Pending())
			f.pass(f.checkTime)
			compare(t, "response", zeekapi.AgentRestartResponse{ReqID: id("r"), Results: tt.want}, one[zeekapi.AgentRestartResponse](f))
			var complaints, failures []string
			for _, r := range tt.want {
				if strings.HasPrefix(r.Error, "could not restart") {
					failures = append(failures, r.Node)
				}
			}
			for _, e := range published[zeekapi.AgentError](f) {
				complaints = append(complaints, e.Node)
			}
			compare(t, "error events", failures, complaints)
			take[Check](f)
			f.refuses = nil
			f.pass(time.Hour)
			compare(t, "other outputs", []Output(nil), f.out)
			compare(t, "statuses", before, f.statuses())
			for name, d := range details(f) {
				if d.LastError != "" || d.Restarts != 0 {
					t.Errorf("%s: %q, %d restarts", name, d.LastError, d.Restarts)
				}
			}
		})
	}

	f := running(t, "l", "w1")
	f.checkTime = time.Hour
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")})
	f.step(Launched{launch.Checked{Node: f.running["l"]}})
	f.pass(RequestTimeout)
	compare(t, "results of checks that take too long", []zeekapi.Result{
		failed("r", "", zeekapi.ErrorTimeout), unchanged("l", "another node of the request is still being checked"), unchanged("w1", "still being checked"),
	}, one[zeekapi.AgentRestartResponse](f).Results)
	f.pass(2 * time.Hour)
	compare(t, "stopped", 0, len(stopped(f)))
}

// Requests that overlap do not depend on each other.
func TestRestartsAtTheSameTime(t *testing.T) {
	f := running(t, "w1", "w2", "w3")
	f.checkTime = time.Second
	f.refuses = refuse("w1")
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("first"), Nodes: []string{"w1", "w2"}})
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("second"), Nodes: []string{"w2", "w3"}})
	f.pass(f.checkTime)
	compare(t, "stopped", []string{"w3", "w2"}, stopped(f))
	f.pass(time.Second)
	responses := published[zeekapi.AgentRestartResponse](f)
	compare(t, "the second", zeekapi.AgentRestartResponse{ReqID: id("second"), Results: []zeekapi.Result{ok("second", "w2"), ok("second", "w3")}}, responses[1])
	compare(t, "started", []string{"w2", "w3"}, started(f))
}

// A failed check does not matter if its node is no longer assigned.
func TestRestartOfARemovedNodeThatCannotRun(t *testing.T) {
	f := running(t, "w1", "w2")
	f.checkTime = time.Second
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")})
	f.step(Launched{launch.Checked{Node: f.running["w1"], Err: errors.New("no")}})
	f.ask(deploy("d", configuration("c2", "w2")))
	f.pass(5 * time.Second)
	compare(t, "result of w2", ok("r", "w2"), one[zeekapi.AgentRestartResponse](f).Results[1])
}

// A restart concerns the configuration that is assigned when its checks have passed.
func TestRestartAndDeployment(t *testing.T) {
	config := configuration("c2", "w1", "w2", "w3")
	config.Nodes[0].Scripts = []string{"bad"}
	for _, tt := range []struct {
		name    string
		request zeekapi.Message
		stopped []string
		want    []string
	}{
		{"another configuration that cannot run", deploy("d", config), nil,
			[]string{"could not restart node w1: syntax error", "node w2 was not restarted: another node of the request cannot run"}},
		{"fewer nodes", deploy("d", configuration("c2", "w2", "w3")), []string{"w3", "w2", "w1"},
			[]string{"could not restart node w1: no longer assigned to this instance", ""}},
		{"standby", zeekapi.AgentStandbyRequest{}, []string{"w3", "w2", "w1"},
			[]string{"could not restart node w1: no longer assigned to this instance", "could not restart node w2: no longer assigned to this instance"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "w1", "w2", "w3")
			f.checkTime = time.Second
			f.refuses = badScript
			f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w1", "w2"}})
			f.pass(f.checkTime / 2)
			f.ask(tt.request)
			f.pass(5 * time.Second)
			var got []string
			for _, r := range one[zeekapi.AgentRestartResponse](f).Results {
				got = append(got, r.Error)
			}
			compare(t, "results", tt.want, got)
			compare(t, "stopped", tt.stopped, stopped(f))
		})
	}
}

func TestRestartTimesOut(t *testing.T) {
	f := running(t, "l", "w")
	f.stopTime = time.Minute
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r"), Nodes: []string{"w"}})
	f.pass(RequestTimeout)
	stuck := troubled("r", "w", "still stopping what it replaces")
	stuck.Error = "could not restart node w: " + stuck.Error
	compare(t, "results",
		[]zeekapi.Result{
			failed("r", "", "request timed out"),
			stuck,
		},
		one[zeekapi.AgentRestartResponse](f).Results)
	f.pass(2 * time.Minute)
	compare(t, "final state", zeekapi.StateRunning, f.statuses()["w"].State)
}

func TestRestartStartsFailedNode(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.dies = func(n launch.Node) *launch.Exited { return &launch.Exited{Node: n.Name, Err: errors.New("no")} }
	f.ask(deploy("r", configuration("c", "w")))
	f.pass(time.Hour)
	compare(t, "state", zeekapi.StateFailed, f.statuses()["w"].State)
	f.dies = nil
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")})
	f.pass(time.Second)
	compare(t, "results", []zeekapi.Result{ok("r", "w")}, one[zeekapi.AgentRestartResponse](f).Results)
}

func TestDispatch(t *testing.T) {
	f := running(t, "l", "w1", "w2", "other/w3")
	f.answers = func(req zeekapi.NodeDispatchRequest) (out []zeekapi.NodeDispatchResponse) {
		for _, node := range req.Nodes {
			r := zeekapi.Result{ReqID: req.ID, Success: true, Node: node, Data: broker.String(node)}
			if node == "w2" {
				r.Data = broker.Count(1)
			}
			answer := zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: r}
			unknown := answer
			unknown.Result.Node = "unknown"
			out = append(out, unknown, answer, answer)
		}
		return out
	}
	value := func(node string) zeekapi.Result {
		r := ok("r", node)
		r.Data = broker.String(node)
		return r
	}
	for _, tt := range []struct {
		name  string
		nodes []string
		want  []zeekapi.Result
	}{
		{"one", []string{"w1"}, []zeekapi.Result{value("w1")}},
		{"all", nil, []zeekapi.Result{value("l"), value("w1"), failed("r", "w2", "node answered with a count, want string")}},
		{"nodes of another instance", []string{"w3"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.ask(zeekapi.AgentDispatchRequest{ReqID: id("r"), Action: []string{"get_id_value", "x"}, Nodes: tt.nodes})
			f.pass(0)
			compare(t, "response", zeekapi.AgentDispatchResponse{ReqID: id("r"), Results: tt.want}, one[zeekapi.AgentDispatchResponse](f))
		})
	}
}

func TestDispatchTimesOut(t *testing.T) {
	f := running(t, "l", "w1", "w2")
	f.silent = func(launch.Node) bool { return true }
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart"), Nodes: []string{"w2"}})
	f.ask(zeekapi.AgentDispatchRequest{ReqID: id("r"), Action: []string{"get_id_value", "x"}})
	compare(t, "nodes of the request", []string{"l", "w1"}, take[Dispatch](f)[0].Request.Nodes)
	f.after(time.Second, launch.Exited{Node: "l", Err: errors.New("died")})
	f.pass(RequestTimeout)
	compare(t, "results", []zeekapi.Result{
		failed("r", "w2", "cluster node w2 not in running state"),
		failed("r", "l", "cluster node l not in running state"),
		failed("r", "w1", "request timed out"),
	}, one[zeekapi.AgentDispatchResponse](f).Results)
}

func TestRequestsAreLimited(t *testing.T) {
	f := running(t, "w")
	for i := range MaxRequests + 1 {
		f.ask(zeekapi.AgentDispatchRequest{ReqID: id(fmt.Sprint(i)), Action: []string{"get_id_value", "x"}})
	}
	compare(t, "dispatch over the limit", []zeekapi.Result{failed(fmt.Sprint(MaxRequests), "", errorBusy)}, one[zeekapi.AgentDispatchResponse](f).Results)
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("r")})
	compare(t, "restart over the limit", []zeekapi.Result{failed("r", "", errorBusy)}, one[zeekapi.AgentRestartResponse](f).Results)
}

// peerNumber returns a peer for each number.
func peerNumber(n int) broker.Peer { return broker.Peer{ID: uuid.UUID{15: byte(n + 1)}} }

// TestRequestsAreShared checks that a controller with many requests leaves room for
// others, and that connecting again gives it no more.
func TestRequestsAreShared(t *testing.T) {
	f := running(t, "w")
	asked := 0
	flood := func(p broker.Peer) (accepted int) {
		f.peer = p
		for range MaxRequests + 1 {
			asked++
			f.ask(zeekapi.AgentDispatchRequest{ReqID: id(fmt.Sprint(asked)), Action: []string{"x"}})
		}
		return MaxRequests + 1 - len(published[zeekapi.AgentDispatchResponse](f))
	}
	compare(t, "of the first", MaxRequests, flood(peerNumber(0)))
	compare(t, "of the second", MaxRequests/2, flood(peerNumber(1)))
	compare(t, "of the first", 0, flood(peerNumber(0)))
	compare(t, "of the third", MaxRequests/3, flood(peerNumber(2)))
	for n := range 100 {
		p := peerNumber(3 + n)
		f.step(PeerAdded{p})
		flood(p)
		f.step(PeerLost{p})
		published[zeekapi.AgentDispatchResponse](f)
	}
	if n := f.machine.Pending(); n > MaxRequests*17/6 { // 1 + 1/2 + 1/3 for the peers, and 1 for those that were lost
		t.Errorf("%d requests are pending", n)
	}
	compare(t, "of the last", MaxRequests/4, flood(peerNumber(200)))
	f.pass(RequestTimeout)
	published[zeekapi.AgentDispatchResponse](f)
	compare(t, "after the timeout", MaxRequests, flood(peerNumber(200)))
}

func TestShutdownCompletesPendingRequests(t *testing.T) {
	f := running(t, "w")
	f.silent = func(launch.Node) bool { return true }
	f.ask(zeekapi.AgentDispatchRequest{ReqID: id("before"), Action: []string{"get_id_value", "x"}})
	f.step(Shutdown{})
	compare(t, "pending", 1, f.machine.Pending())

	f.ask(deploy("deploy", configuration("c", "w")))
	compare(t, "deployment", []zeekapi.Result{failed("deploy", "", errorEnding)}, one[zeekapi.AgentDeployResponse](f).Results)
	f.ask(zeekapi.AgentRestartRequest{ReqID: id("restart")})
	compare(t, "restart", []zeekapi.Result{failed("restart", "", errorEnding)}, one[zeekapi.AgentRestartResponse](f).Results)
	f.ask(zeekapi.AgentDispatchRequest{ReqID: id("dispatch"), Action: []string{"get_id_value", "x"}})
	compare(t, "dispatch", []zeekapi.Result{failed("dispatch", "", errorEnding)}, one[zeekapi.AgentDispatchResponse](f).Results)

	f.pass(RequestTimeout)
	compare(t, "the earlier request", []zeekapi.Result{failed("before", "w", "request timed out")}, one[zeekapi.AgentDispatchResponse](f).Results)
	compare(t, "pending", 0, f.machine.Pending())
}

func TestErrorOfNodeIncludesLastLine(t *testing.T) {
	for _, tt := range []struct{ stderr, want string }{
		{"", "node w died: exit status 1"},
		{"listening on lo\n\nfatal error: no such interface\n\n", `node w died: exit status 1, saying "fatal error: no such interface"`},
		{"\x1b[2J\xff", `node w died: exit status 1, saying "\x1b[2J\xff"`},
		{strings.Repeat("x", 300), `node w died: exit status 1, saying "` + strings.Repeat("x", 200) + `"`},
	} {
		f := running(t, "w")
		f.step(Launched{launch.Exited{Node: "w", Err: errors.New("exit status 1"), Outputs: zeekapi.NodeOutputs{Stderr: tt.stderr}}})
		compare(t, "error event", zeekapi.AgentError{Instance: "i", Node: "w", Text: tt.want}, one[zeekapi.AgentError](f))
	}
}

func TestCrashedNodeIsRestartedWithBackOff(t *testing.T) {
	f := running(t, "w")
	crash := func() {
		f.step(Launched{launch.Exited{Node: "w", Err: errors.New("signal: killed")}})
		delete(f.running, "w")
	}

	f.pass(StableAfter)
	for i := range MaxDeaths - 1 {
		crash()
		compare(t, "state after a crash", zeekapi.StateCrashed, f.statuses()["w"].State)
		compare(t, "error event", zeekapi.AgentError{Instance: "i", Node: "w", Text: "node w died: signal: killed"}, one[zeekapi.AgentError](f))
		wait := MinBackOff << i
		f.pass(wait - time.Millisecond)
		compare(t, "starts before the end of the back-off", 0, len(started(f)))
		f.pass(time.Millisecond)
		compare(t, "starts", []string{"w"}, started(f))
		f.pass(time.Second)
		compare(t, "state after the start", zeekapi.StateRunning, f.statuses()["w"].State)
	}

	// A long run resets the number of deaths.
	f.pass(StableAfter)
	f.out = nil
	crash()
	f.pass(MinBackOff)
	compare(t, "starts", []string{"w"}, started(f))
	for range MaxDeaths - 1 {
		f.pass(0)
		crash()
		f.pass(MaxBackOff / 6)
	}
	compare(t, "final state", zeekapi.StateFailed, f.statuses()["w"].State)
	f.out = nil
	f.pass(24 * time.Hour)
	compare(t, "starts after giving up", 0, len(started(f)))

	// A new configuration starts the node again.
	f.ask(deploy("r", configuration("c2", "w")))
	compare(t, "starts", []string{"w"}, started(f))
}

func TestNodeThatCannotBeCreated(t *testing.T) {
	f := newFleet(t, connecting("i"), nil)
	f.ask(deploy("r", configuration("c", "w")))
	f.due = nil
	f.step(Launched{launch.Exited{Node: "w", Err: errors.New("no such file")}})
	compare(t, "error event", zeekapi.AgentError{Instance: "i", Node: "w", Text: "failed to create node w: no such file"}, one[zeekapi.AgentError](f))
}

func TestLosingControllerHasNoEffect(t *testing.T) {
	f := running(t, "l", "w")
	f.step(PeerAdded{})
	f.out = nil
	f.step(PeerLost{})
	f.pass(time.Hour)
	compare(t, "outputs", 0, len(f.out))
	compare(t, "running", 2, len(f.running))
}

func TestRestoredConfigurationIsStarted(t *testing.T) {
	config := configuration("c1", "l", "w")
	f := newFleet(t, connecting("i"), assigned(config))
	f.step(Tick{})
	f.pass(time.Second)
	compare(t, "started", []string{"l", "w"}, started(f))
	f.ask(deploy("r", config))
	compare(t, "results", []zeekapi.Result{ok("r", "")}, one[zeekapi.AgentDeployResponse](f).Results)

	bad := Assignment{ID: "c1", Nodes: config.NodesOn("i")}
	if _, err := NewMachine(connecting("i"), State{Known: true, Assignment: &bad}); err == nil {
		t.Error("no error for an invalid configuration")
	}
}

func TestEventsOfUnknownNodesAreIgnored(t *testing.T) {
	f := running(t, "w")
	for _, ev := range []launch.Event{
		launch.Started{Node: "x", PID: 1}, launch.Up{Node: "x"}, launch.Exited{Node: "x"},
		launch.Answered{Response: zeekapi.NodeDispatchResponse{ReqID: id("x"), Result: ok("x", "w")}},
	} {
		f.step(Launched{ev})
	}
	for _, m := range []zeekapi.Message{zeekapi.NodeHello{Node: "x"}, zeekapi.NodeExit{Node: "w"}, zeekapi.DeployRequest{}} {
		f.ask(m)
	}
	compare(t, "outputs", 0, len(f.out))
}

func TestDeployRejectsTooManyNodes(t *testing.T) {
	config := configuration("c")
	for i := range MaxNodes + 1 {
		config.Nodes = append(config.Nodes, configuration("", fmt.Sprintf("w%d", i)).Nodes...)
	}
	f := newFleet(t, connecting("i"), nil)
	f.ask(deploy("r", config))
	compare(t, "results", []zeekapi.Result{failed("r", "", "1001 nodes on one instance, limit is 1000")}, one[zeekapi.AgentDeployResponse](f).Results)
}

// refuse returns a check that fails for these nodes.
func refuse(names ...string) func(launch.Node) error {
	return func(n launch.Node) error {
		if slices.Contains(names, n.Name) {
			return errors.New("no")
		}
		return nil
	}
}

// answered returns the IDs of the published responses, sorted.
func answered(f *fleet) []string {
	var ids []string
	for _, o := range f.out {
		p, _ := o.(Publish)
		switch m := p.Message.(type) {
		case zeekapi.AgentDeployResponse, zeekapi.AgentRestartResponse, zeekapi.AgentDispatchResponse,
			zeekapi.AgentCheckResponse, zeekapi.AgentCheckRestartResponse, zeekapi.AgentFiguresResponse, zeekapi.AgentScriptsResponse:
			ids = append(ids, m.RequestID())
		}
	}
	slices.Sort(ids)
	return ids
}

// After any sequence of events, every request has received exactly one response
// in time, unless the agent was killed, and exactly the nodes that should run are
// running. The fleet checks that no node is started twice, stopped while it is not
// running, or stopped against the rules.
func TestAnyOrderOfEvents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		settings := connecting("i")
		settings.Disks = diskwatch.Settings{Warn: diskwatch.Threshold{Percent: 20}, Stop: diskwatch.Threshold{Percent: 10}}
		settings.MeasureInterval = time.Duration(rapid.SampledFrom([]int{0, 1, 10}).Draw(rt, "measure s")) * time.Second
		f := newFleet(rt, settings, nil)
		f.answers = func(req zeekapi.NodeDispatchRequest) (all []zeekapi.NodeDispatchResponse) {
			for _, node := range req.Nodes {
				if rapid.Bool().Draw(rt, "answers") {
					all = append(all, report(req.ID, node, `{"received":7}`))
				}
			}
			return all
		}
		f.listTime = time.Duration(rapid.IntRange(0, 3000).Draw(rt, "list ms")) * time.Millisecond
		f.startUp = time.Duration(rapid.IntRange(0, 6000).Draw(rt, "start-up ms")) * time.Millisecond
		f.stopTime = time.Duration(rapid.IntRange(0, 8000).Draw(rt, "stop ms")) * time.Millisecond
		f.checkTime = time.Duration(rapid.IntRange(0, 5000).Draw(rt, "check ms")) * time.Millisecond
		if bad := rapid.SampledFrom([]string{"", "m", "w1"}).Draw(rt, "refused"); bad != "" {
			f.refuses = refuse(bad)
		}
		f.trialTime = time.Duration(rapid.IntRange(0, 5000).Draw(rt, "trial ms")) * time.Millisecond
		f.scanTime = time.Duration(rapid.IntRange(0, 3000).Draw(rt, "scan ms")) * time.Millisecond
		f.edited = make(map[string][]string)
		names := []string{"l", "m", "w1", "w2", "w3", "other/w4"}
		draw := func() []string { return rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(rt, "nodes") }
		var asked []string
		number := 0
		var config zeekapi.Configuration
		next := func(kind string) zeekapi.ReqID {
			number++
			asked = append(asked, fmt.Sprintf("%s %d", kind, number))
			return id(asked[len(asked)-1])
		}
		rt.Repeat(map[string]func(*rapid.T){
			"deploy": func(rt *rapid.T) {
				config = configuration(rapid.StringMatching("[ab]").Draw(rt, "config"), draw()...)
				for i := range config.Nodes {
					limit := rapid.SampledFrom([]string{"", "1G", "0", "much"}).Draw(rt, "memory limit")
					config.Nodes[i].Options = []zeekapi.Option{{Name: zeekapi.OptionMemoryLimit, Value: limit}}
				}
				req := zeekapi.AgentDeployRequest{ReqID: next("deploy"), Config: config, Force: rapid.Bool().Draw(rt, "force")}
				if rapid.Bool().Draw(rt, "ours") {
					m := ours(req)
					m.Edited = rapid.Bool().Draw(rt, "edited")
					m.StartLimit = time.Duration(rapid.IntRange(0, 20).Draw(rt, "limit s")) * time.Second
					f.ask(m)
				} else {
					f.ask(req)
				}
			},
			"stop and start": func(*rapid.T) { f.ask(some(next("deploy").ID, config, draw()...)) },
			"check": func(rt *rapid.T) {
				c := configuration(rapid.StringMatching("[ab]").Draw(rt, "config"), draw()...)
				f.ask(check(next("check").ID, c, rapid.Bool().Draw(rt, "force")))
			},
			"check restart": func(*rapid.T) {
				f.ask(zeekapi.AgentCheckRestartRequest{ReqID: next("check"), Nodes: draw()})
			},
			"break": func(rt *rapid.T) {
				f.refuses = refuse(rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(rt, "broken")...)
			},
			"edit": func(rt *rapid.T) {
				for name := range f.running {
					f.edited[name] = []string{"local.zeek"}
				}
				f.after(0, f.report())
			},
			"revive": func(rt *rapid.T) {
				if len(f.running) > 0 {
					name := rapid.SampledFrom(slices.Sorted(maps.Keys(f.running))).Draw(rt, "node")
					f.pids++
					f.pid[name] = f.pids
					delete(f.edited, name)
					f.after(0, launch.Revived{Node: name, PID: f.pids})
					f.at(f.now.Add(f.startUp), Received{Message: zeekapi.NodeHello{Node: name}})
				}
			},
			"other controller": func(rt *rapid.T) {
				f.peer = peerNumber(rapid.IntRange(0, 3).Draw(rt, "controller"))
			},
			"lose controller": func(*rapid.T) {
				f.step(PeerAdded{f.peer}) // only those are lost that were there
				f.step(PeerLost{f.peer})
			},
			"flood": func(rt *rapid.T) {
				for range rapid.IntRange(1, MaxRequests+1).Draw(rt, "requests") {
					f.ask(zeekapi.AgentDispatchRequest{ReqID: next("flood"), Action: []string{"x"}})
				}
			},
			"kill": func(*rapid.T) {
				asked = answered(f)
				f.kill()
			},
			"standby": func(*rapid.T) { f.ask(zeekapi.AgentStandbyRequest{}) },
			"restart": func(*rapid.T) { f.ask(zeekapi.AgentRestartRequest{ReqID: next("restart"), Nodes: draw()}) },
			"dispatch": func(*rapid.T) {
				f.ask(zeekapi.AgentDispatchRequest{ReqID: next("dispatch"), Action: []string{"x"}, Nodes: draw()})
			},
			"figures": func(rt *rapid.T) {
				maxAge := time.Duration(rapid.IntRange(-1, 20).Draw(rt, "age s")) * time.Second
				f.ask(zeekapi.AgentFiguresRequest{ReqID: next("figures"), MaxAge: maxAge})
			},
			"scripts": func(*rapid.T) { f.ask(zeekapi.AgentScriptsRequest{ReqID: next("scripts"), Nodes: draw()}) },
			"crash": func(rt *rapid.T) {
				if len(f.running) > 0 {
					var names []string
					for name := range f.running {
						names = append(names, name)
					}
					slices.Sort(names)
					name := rapid.SampledFrom(names).Draw(rt, "node")
					f.due = slices.DeleteFunc(f.due, func(d due) bool {
						l, isEvent := d.input.(Launched)
						exited, isExit := l.Event.(launch.Exited)
						return isEvent && isExit && exited.Node == name
					})
					f.after(0, launch.Exited{Node: name, Err: errors.New("crash")})
				}
			},
			"disk": func(rt *rapid.T) { f.step(disk(rapid.Uint64Range(0, 1).Draw(rt, "free") * 900)) },
			"memory": func(rt *rapid.T) {
				usage := make(map[string]launch.Usage)
				for _, name := range draw() {
					usage[name] = launch.Usage{Memory: rapid.Uint64Range(0, 2).Draw(rt, "GiB") << 30}
				}
				f.step(Launched{launch.Measured{Nodes: usage}})
			},
			"time": func(rt *rapid.T) {
				f.pass(time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "ms")) * time.Millisecond)
			},
		})

		f.step(disk(900))
		f.pass(RequestTimeout + 20*time.Second)
		slices.Sort(asked)
		if diff := gocmp.Diff(asked, answered(f), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("requests (-) and responses (+):\n%s", diff)
		}

		f.pass(time.Hour)
		for name, s := range f.statuses() {
			if _, runs := f.running[name]; runs != (s.State == zeekapi.StateRunning) || s.State == zeekapi.StatePending || s.State == zeekapi.StateCrashed {
				rt.Errorf("%s is %s, running: %t", name, s.State, runs)
			}
		}
		if len(f.running) > len(f.statuses()) {
			rt.Errorf("unassigned nodes are running: %v", f.running)
		}
	})
}
