package controller_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func instance(name string) zeekapi.Instance {
	return zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()}
}

func instanceAt(name, address string) zeekapi.Instance {
	a := netip.MustParseAddrPort(address)
	return zeekapi.Instance{Name: name, Host: a.Addr(), Port: broker.TCP(a.Port())}
}

func node(name, instance string, role zeekapi.ClusterRole, ports ...uint16) zeekapi.Node {
	n := zeekapi.Node{Name: name, Instance: instance, Role: role, State: zeekapi.StateRunning}
	if len(ports) > 0 && ports[0] != 0 {
		n.Port = broker.TCP(ports[0])
	}
	if len(ports) > 1 {
		n.MetricsPort = broker.TCP(ports[1])
	}
	return n
}

// stageWith stages a configuration. It returns the errors of the response and the
// saved configurations.
func stageWith(s controller.Settings, c zeekapi.Configuration) (errs []string, saved map[controller.Slot]zeekapi.Configuration) {
	m := newMachine(s, controller.State{}, nil, zerolog.Nop())
	saved = make(map[controller.Slot]zeekapi.Configuration)
	for _, o := range m.Step(testStart, controller.FromClient{Message: stage("r", c)}) {
		switch o := o.(type) {
		case controller.Save:
			saved[o.Slot] = o.Config
		case controller.ToClients:
			for _, res := range o.Message.(zeekapi.StageConfigurationResponse).Results {
				if !res.Success {
					errs = append(errs, res.Error)
				}
			}
		}
	}
	return errs, saved
}

func TestStageValidates(t *testing.T) {
	const (
		manager = zeekapi.RoleManager
		logger  = zeekapi.RoleLogger
		proxy   = zeekapi.RoleProxy
		worker  = zeekapi.RoleWorker
	)
	for _, tt := range []struct {
		name     string
		settings func(*controller.Settings)
		config   zeekapi.Configuration
		want     []string
	}{
		{
			name: "valid",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a"), instanceAt("b", "10.0.0.1:2151")},
				Nodes:     []zeekapi.Node{node("m", "a", manager, 2151), node("l", "b", logger, 5000), node("w", "a", worker)},
			},
		},
		{
			name: "repeated names, reported once each",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a"), instanceAt("a", "10.0.0.1:2151"), instanceAt("a", "10.0.0.2:2151")},
				Nodes:     []zeekapi.Node{node("m", "a", manager), node("m", "a", worker), node("m", "a", proxy)},
			},
			want: []string{"multiple instances named 'a'", "multiple nodes named 'm'"},
		},
		{
			name: "names used by nodes and instances",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("y"), instance("x"), instance("z")},
				Nodes:     []zeekapi.Node{node("z", "x", worker), node("x", "x", worker), node("w", "x", worker)},
			},
			want: []string{"node and instance names collide: x, z"},
		},
		{
			name: "undeclared instances",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("w2", "b", worker), node("w1", "b", worker), node("w0", "a", worker)},
			},
			want: []string{"node 'w1' has undeclared instance name 'b'", "node 'w2' has undeclared instance name 'b'"},
		},
		{
			name: "ports",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instanceAt("a", "10.0.0.1:2151"), instanceAt("b", "10.0.0.2:2152")},
				Nodes: []zeekapi.Node{
					node("m", "a", manager, 2151), node("n", "a", logger, 2152),
					node("c", "b", proxy, 2150),
					node("p1", "b", proxy, 5000), node("p2", "b", proxy, 5000), node("p3", "b", proxy, 5000), node("p4", "a", proxy, 5000),
				},
			},
			want: []string{
				"multiple nodes on instance 'b' using port 5000/tcp",
				"node 'c' port 2150/tcp conflicts with controller port",
				"node 'm' port 2151/tcp conflicts with agent port on instance 'a'",
			},
		},
		{
			name: "metrics ports",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instanceAt("a", "10.0.0.1:2151"), instanceAt("b", "10.0.0.2:2152")},
				Nodes: []zeekapi.Node{
					node("m", "a", manager, 5000, 2151), node("w", "a", worker, 0, 5000), node("own", "b", logger, 5000, 5000),
					node("p1", "b", proxy, 0, 9001), node("p2", "b", proxy, 0, 9001), node("p3", "a", proxy, 0, 9001), node("p4", "a", proxy, 0, 2150),
				},
			},
			want: []string{
				"multiple nodes on instance 'b' using metrics port 9001/tcp",
				"node 'm' metrics port 2151/tcp conflicts with agent port on instance 'a'",
				"node 'own' metrics port 5000/tcp conflicts with a Broker port on instance 'b'",
				"node 'w' metrics port 5000/tcp conflicts with a Broker port on instance 'a'",
			},
		},
		{
			name:     "missing ports without assignment",
			settings: func(s *controller.Settings) { s.AssignBrokerPorts = false },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes: []zeekapi.Node{
					node("p", "a", proxy), node("m", "a", manager), node("l", "a", logger, 5000),
					node("w", "a", worker), node("n", "a", zeekapi.RoleNone),
				},
			},
			want: []string{"Broker port auto-assignment disabled but nodes m, p lack ports"},
		},
		{
			name: "instance names that are prefixes of others",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("agent-10"), instance("agent-1"), instance("agent-1-b")},
			},
		},
		{
			name:     "many errors, sorted by byte",
			settings: func(s *controller.Settings) { s.AssignBrokerPorts = false },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instanceAt("a", "10.0.0.1:2150"), instance("a"), instance("ab"), instance("w")},
				Nodes: []zeekapi.Node{
					node("w", "c", worker), node("w", "a", manager), node("x", "a", worker, 2150), node("y", "a", worker, 2150),
				},
			},
			want: []string{
				"Broker port auto-assignment disabled but nodes w lack ports",
				"multiple instances named 'a'",
				"multiple nodes named 'w'",
				"multiple nodes on instance 'a' using port 2150/tcp",
				"node 'w' has undeclared instance name 'c'",
				"node 'x' port 2150/tcp conflicts with agent port on instance 'a'",
				"node 'x' port 2150/tcp conflicts with controller port",
				"node 'y' port 2150/tcp conflicts with agent port on instance 'a'",
				"node 'y' port 2150/tcp conflicts with controller port",
				"node and instance names collide: w",
			},
		},
		{
			name:     "no Broker port left",
			settings: func(s *controller.Settings) { s.BrokerStartPort = 65535 },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("l", "a", logger), node("m", "a", manager)},
			},
			want: []string{"no Broker port left for node 'l'"},
		},
		{
			name:     "no metrics port left",
			settings: func(s *controller.Settings) { s.MetricsStartPort = 65535 },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("w1", "a", worker), node("w2", "a", worker)},
			},
			want: []string{"no metrics port left for node 'w2'"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := controller.DefaultSettings()
			if tt.settings != nil {
				tt.settings(&s)
			}
			errs, saved := stageWith(s, tt.config)
			if diff := cmp.Diff(tt.want, errs); diff != "" {
				t.Errorf("errors (-want +got)\n%s", diff)
			}
			if (len(saved) > 0) != (len(tt.want) == 0) {
				t.Errorf("%d configurations saved", len(saved))
			}
		})
	}
}

// Names that begin with another are refused only if the agent of that is Zeek's own,
// which obeys requests for both.
func TestNamesThatBeginWithAnother(t *testing.T) {
	c := zeekapi.Configuration{ID: "c"}
	for _, name := range []string{"a", "a1", "a10", "a1-b", "b"} {
		c.Instances = append(c.Instances, instance(name))
	}
	refusal := func(name, prefix string) string {
		return fmt.Sprintf("F instance name '%s' begins with '%s', whose agent is Zeek's own and would obey requests for both; "+
			"rename one of them, or run zeekwire's agent on '%s'", name, prefix, prefix)
	}
	b := newBench(t, nil)
	b.agent(peer(1), hello("a1"))
	b.agent(peer(2), hello("a10"))
	b.client(stage("r1", c), fmt.Sprintf("answer StageConfigurationResponse r1 [%s] [%s]", refusal("a1-b", "a1"), refusal("a10", "a1")))
	b.agent(peer(1), zeekapi.AgentDescription{Instance: "a1"})
	b.client(stage("r2", c), "save staged c", "save ready c", "answer StageConfigurationResponse r2 [T = c]")
}

// An agent of Zeek's takes assignments for scripts, so nodes with them are refused there.
func TestAssignmentsOfZeeksAgents(t *testing.T) {
	c := zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{instance("a"), instance("b")}}
	for _, name := range []string{"a1", "a2", "b1"} {
		n := node(name, name[:1], zeekapi.RoleWorker)
		n.Scripts = []string{"local", "Site::local_nets={10.0.0.0/8}"}
		c.Nodes = append(c.Nodes, n)
	}
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(stage("r1", c), "answer StageConfigurationResponse r1 [F node 'a1' has the assignment Site::local_nets={10.0.0.0/8} among its scripts, "+
		"and the agent of 'a' is Zeek's own, which treats it as a script; write it into a script, or run zeekwire's agent on 'a']")
	b.agent(peer(1), zeekapi.AgentDescription{Instance: "a"})
	b.client(stage("r2", c), "save staged c", "save ready c", "answer StageConfigurationResponse r2 [T = c]")
}

// An agent of Zeek's ignores several CPUs, so nodes with them are refused there. It knows a
// single one.
func TestCPUsOfZeeksAgents(t *testing.T) {
	c := zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{instance("a"), instance("b")}}
	for _, name := range []string{"a1", "a2", "b1"} {
		n := node(name, name[:1], zeekapi.RoleWorker)
		n.SetCPUs([]int64{1, 2})
		c.Nodes = append(c.Nodes, n)
	}
	c.Nodes[0].SetCPUs([]int64{4})
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.client(stage("r1", c), "answer StageConfigurationResponse r1 [F node 'a2' has the CPUs 1-2, "+
		"and the agent of 'a' is Zeek's own, which knows a single CPU only; give it one, or run zeekwire's agent on 'a']")
	b.agent(peer(1), zeekapi.AgentDescription{Instance: "a"})
	b.client(stage("r2", c), "save staged c", "save ready c", "answer StageConfigurationResponse r2 [T = c]")
}

// A random configuration is staged unchanged, or refused with sorted errors.
func TestStageRandomConfigurations(t *testing.T) {
	for seed := range uint64(scale(2000, 200_000)) {
		random := rand.New(rand.NewPCG(seed, 1))
		pick := func(from ...string) string { return from[random.IntN(len(from))] }
		name := func() string { return pick("", "a", "a\x00", "ab", "\xff", "ä", "%s", "x/../y", "b", "a b", "c") }
		port := func() broker.Port {
			return broker.Port{Number: []uint16{0, 1, 2150, 2200, 9000, 65535}[random.IntN(6)], Protocol: broker.Protocol(random.IntN(4))}
		}
		var c zeekapi.Configuration
		c.ID = name()
		for range random.IntN(4) {
			c.Instances = append(c.Instances, zeekapi.Instance{Name: name(), Host: netip.MustParseAddr(pick("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1")), Port: port()})
		}
		for range random.IntN(6) {
			c.Nodes = append(c.Nodes, zeekapi.Node{
				Name: name(), Instance: name(), Role: zeekapi.ClusterRole(pick("NONE", "MANAGER", "LOGGER", "PROXY", "WORKER")),
				State: zeekapi.StateRunning, Port: port(), MetricsPort: port(), Scripts: []string{name()}, Interface: name(),
			})
		}
		s := controller.DefaultSettings()
		s.AssignBrokerPorts, s.AssignMetricsPorts = random.IntN(2) == 0, random.IntN(2) == 0
		s.BrokerStartPort = uint16(random.IntN(2) * 65534)
		errs, saved := stageWith(s, c)
		if len(errs) > 0 {
			if !slices.IsSorted(errs) || len(saved) != 0 {
				t.Fatalf("seed %d: staged despite errors %q, or the errors are not sorted", seed, errs)
			}
			continue
		}
		if diff := cmp.Diff(c, saved[controller.Staged], cmpState); diff != "" || len(saved[controller.Ready].Nodes) != len(c.Nodes) {
			t.Fatalf("seed %d: the staged configuration differs (-want +got)\n%s", seed, diff)
		}
	}
}

func TestPortAssignment(t *testing.T) {
	const (
		none    = zeekapi.RoleNone
		manager = zeekapi.RoleManager
		logger  = zeekapi.RoleLogger
		proxy   = zeekapi.RoleProxy
		worker  = zeekapi.RoleWorker
	)
	for _, tt := range []struct {
		name     string
		settings func(*controller.Settings)
		config   zeekapi.Configuration
		want     map[string]string // port and metrics port
	}{
		{
			// Zeek's test suite: stage-config-auto-assign-multi-instance.
			name: "several instances",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("instance-1"), instance("instance-2")},
				Nodes: []zeekapi.Node{
					node("worker-01", "instance-1", worker), node("worker-02", "instance-2", worker),
					node("proxy-04", "instance-2", proxy), node("proxy-03", "instance-2", proxy),
					node("proxy-02", "instance-1", proxy), node("proxy-01", "instance-1", proxy),
					node("logger-02", "instance-2", logger), node("logger-01", "instance-1", logger),
					node("manager", "instance-1", manager),
				},
			},
			want: map[string]string{
				"manager": "2200/tcp 9000/tcp", "logger-01": "2201/tcp 9001/tcp",
				"proxy-01": "2202/tcp 9002/tcp", "proxy-02": "2203/tcp 9003/tcp", "worker-01": "0/? 9004/tcp",
				"logger-02": "2204/tcp 9005/tcp", "proxy-03": "2205/tcp 9006/tcp", "proxy-04": "2206/tcp 9007/tcp",
				"worker-02": "0/? 9008/tcp",
			},
		},
		{
			name: "metrics ports are assigned per host",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instanceAt("a", "10.0.0.1:9000"), instanceAt("b", "10.0.0.2:9001"), instanceAt("c", "10.0.0.1:9001")},
				Nodes: []zeekapi.Node{
					node("wa", "a", worker), node("wb1", "b", worker), node("wb2", "b", worker), node("wc", "c", worker),
				},
			},
			want: map[string]string{"wa": "0/? 9002/tcp", "wb1": "0/? 9000/tcp", "wb2": "0/? 9002/tcp", "wc": "0/? 9003/tcp"},
		},
		{
			name: "explicit ports are kept and not assigned again",
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instanceAt("a", "10.0.0.1:2200"), instance("b")},
				Nodes: []zeekapi.Node{
					node("m", "a", manager), node("l", "a", logger, 2201, 2203), node("p", "b", proxy),
					node("w", "a", worker, 9000), node("n", "a", none), node("n2", "a", none, 7000, 9001),
				},
			},
			want: map[string]string{
				"m": "2202/tcp 9002/tcp", "l": "2201/tcp 2203/tcp", "p": "2204/tcp 9000/tcp",
				"w": "9000/tcp 9003/tcp", "n": "0/? 0/?", "n2": "7000/tcp 9001/tcp",
			},
		},
		{
			name:     "the port of the controller is not assigned",
			settings: func(s *controller.Settings) { s.BrokerStartPort, s.MetricsStartPort = 2149, 2150 },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("m", "a", manager), node("l", "a", logger)},
			},
			want: map[string]string{"m": "2149/tcp 2152/tcp", "l": "2151/tcp 2153/tcp"},
		},
		{
			name: "no assignment",
			settings: func(s *controller.Settings) {
				s.AssignBrokerPorts, s.AssignMetricsPorts = false, false
			},
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("m", "a", manager, 5000), node("w", "a", worker)},
			},
			want: map[string]string{"m": "5000/tcp 0/?", "w": "0/? 0/?"},
		},
		{
			name:     "port 0 means the default",
			settings: func(s *controller.Settings) { s.BrokerStartPort, s.MetricsStartPort = 0, 0 },
			config: zeekapi.Configuration{
				Instances: []zeekapi.Instance{instance("a")},
				Nodes:     []zeekapi.Node{node("m", "a", manager)},
			},
			want: map[string]string{"m": "2200/tcp 9000/tcp"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := controller.DefaultSettings()
			if tt.settings != nil {
				tt.settings(&s)
			}
			errs, saved := stageWith(s, tt.config)
			if len(errs) > 0 {
				t.Fatal(strings.Join(errs, "\n"))
			}
			got := make(map[string]string)
			for _, n := range saved[controller.Ready].Nodes {
				got[n.Name] = n.Port.String() + " " + n.MetricsPort.String()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ports (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.config, saved[controller.Staged], cmp.Comparer(sameAddr)); diff != "" {
				t.Errorf("the staged configuration differs from the uploaded one\n%s", diff)
			}
		})
	}
}

// Instances share a host if their agents have the same address when the
// configuration is staged.
func TestPortAssignmentUsesKnownAddresses(t *testing.T) {
	b := newBench(t, nil)
	b.agent(peer(1), hello("a"))
	b.agent(dialedPeer(2, "10.0.0.1:2151"), hello("b"))
	mapped := peer(3)
	mapped.Addr = netip.MustParseAddrPort("[::ffff:10.0.0.3]:40000")
	b.agent(mapped, hello("c"))
	b.client(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}},
		`answer GetInstancesResponse r1 [T = [["a", 10.0.0.1, nil], ["b", 10.0.0.1, 2151/tcp], ["c", 10.0.0.3, nil]]]`)
	c := config("c1", "a", "b", "c", "d")
	c.Instances[1].Host = netip.MustParseAddr("10.5.5.5")
	b.client(stage("r2", c), "save staged c1", "save ready c1", "answer StageConfigurationResponse r2 [T = c1]")
	got := make(map[string]string)
	for i, inst := range b.saved[controller.Ready].Instances {
		if inst.Host != c.Instances[i].Host {
			t.Errorf("the staged configuration has the address of %s", inst.Name)
		}
		got[inst.Name] = b.saved[controller.Ready].Nodes[i].MetricsPort.String()
	}
	want := map[string]string{"a": "9000/tcp", "b": "9000/tcp", "c": "9000/tcp", "d": "9000/tcp"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
