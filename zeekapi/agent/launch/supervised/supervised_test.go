package supervised

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/internal/recorded"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member returns a node of a cluster with the given members. Names that begin with l are
// loggers, with m managers, and others workers.
func member(name string, all ...string) launch.Node {
	n := launch.Node{Node: zeekapi.Node{Name: name, Instance: "i", Role: role(name), Scripts: []string{"local"}, Env: map[string]string{"K": "v"}}}
	for i, other := range all {
		n.Layout += zeekapi.Layout(fmt.Sprintf("%s %s 10.0.0.1 %d/tcp %d/tcp\n", other, role(other), 2200+i, 9000+i))
	}
	return n
}

func role(name string) zeekapi.ClusterRole {
	switch name[0] {
	case 'l':
		return zeekapi.RoleLogger
	case 'm':
		return zeekapi.RoleManager
	}
	return zeekapi.RoleWorker
}

// rig is a launcher and its Supervisor in a synctest bubble.
type rig struct {
	serving
	*Launcher
}

// within runs a test with a launcher in a synctest bubble.
func within(t *testing.T, l control.Layout, test func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{serving: serving{T: t, fake: newFake(l), hub: membus.New()}}
		var err error
		r.Launcher, err = New(t.Context(), Config{
			Bus: r.hub.Endpoint(Topics("")...), StateDir: t.TempDir(), Agent: nodescript.Agent{Listen: netip.MustParseAddrPort("0.0.0.0:2151")},
		})
		if err != nil {
			t.Fatal(err)
		}
		test(r)
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if r.bus != nil {
			r.disconnect()
		}
	})
}

// settle waits until all goroutines are blocked, and returns the events of the launcher.
func (r *rig) settle() []string {
	r.Helper()
	synctest.Wait()
	var got []string
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
		ev, err := r.Next(ctx)
		cancel()
		if err != nil {
			return got
		}
		switch ev := ev.(type) {
		case launch.Started:
			got = append(got, fmt.Sprintf("%s started as %d", ev.Node, ev.PID))
		case launch.Up:
			got = append(got, ev.Node+" up")
		case launch.Revived:
			got = append(got, fmt.Sprintf("%s revived as %d: %s", ev.Node, ev.PID, ev.Outputs.Stderr))
		case launch.Exited:
			got = append(got, fmt.Sprintf("%s exited: %v", ev.Node, ev.Err))
		}
	}
}

func (r *rig) expect(step string, want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, r.settle()); diff != "" {
		r.Errorf("%s (-want +got):\n%s", step, diff)
	}
}

func TestStartAndStop(t *testing.T) {
	for _, layout := range control.Layouts {
		t.Run(layout.String(), func(t *testing.T) {
			within(t, layout, func(r *rig) {
				r.connect()
				r.settle()
				r.Keep([]string{"l", "m", "w"})
				for _, name := range []string{"l", "m", "w"} {
					r.Start(member(name, "l", "m", "w"))
					r.Start(member(name, "l", "m", "w")) // has no effect
				}
				time.Sleep(4 * probeInterval)
				r.expect("started", "l started as 1", "m started as 2", "w started as 3")
				if want := []string{"create l", "create m", "create w"}; !slices.Equal(r.fake.log, want) {
					t.Errorf("requests are %q, want %q", r.fake.log, want)
				}
				c := r.fake.nodes["w"].Config
				if want := filepath.Join(r.machineDir(), "nodes", "w"); c.Directory != want {
					t.Errorf("directory is %s, want %s", c.Directory, want)
				}
				if got := c.Env["ZEEK_AGENT_PORT"] + " " + c.Env["K"]; got != "2151/tcp v" {
					t.Errorf("environment has %q", got)
				}
				scripts := strings.Join(slices.Concat(c.BaseScripts, c.UserScripts), " ")
				scripts = regexp.MustCompile(regexp.QuoteMeta(r.machineDir())+`/scripts/[0-9a-f]{12}/`).ReplaceAllString(scripts, "")
				if want := "zeekwire-defaults.zeek local zeekwire-node.zeek"; scripts != want {
					t.Errorf("scripts are %q, want %q", scripts, want)
				}

				r.Stop("w")
				r.Stop("unknown")
				r.expect("stopped", "w exited: <nil>")
				r.Start(member("w", "l", "m", "w"))
				r.expect("started again", "w started as 4")
			})
		})
	}
}

func (r *rig) machineDir() string { return r.config.StateDir }

// The Supervisor logs an error for each unknown layout. The launcher therefore tries the
// newest layout first, and none after the right one.
func TestProbeOrder(t *testing.T) {
	for i, layout := range control.Layouts {
		within(t, layout, func(r *rig) {
			r.connect()
			r.Start(member("w", "w"))
			time.Sleep(10 * probeInterval)
			r.settle()
			if r.fake.refused.Load() != int64(i) {
				t.Errorf("%s: %d requests with another layout, want %d", layout, r.fake.refused.Load(), i)
			}
		})
	}
}

// The status of a Supervisor with nodes contains their layout.
func TestLayoutOfStatus(t *testing.T) {
	for _, layout := range control.Layouts {
		t.Run(layout.String(), func(t *testing.T) {
			within(t, layout, func(r *rig) {
				r.fake.run(control.NodeConfig{Name: "agent", Env: map[string]string{"ZEEK_MANAGEMENT_NODE": "AGENT"}})
				r.connect()
				r.Keep(nil)
				r.Start(member("w", "w"))
				r.expect("started", "w started as 2")
				if want := []string{"agent", "w"}; !slices.Equal(r.has(), want) {
					t.Errorf("nodes are %q, want %q", r.has(), want)
				}
			})
		})
	}
}

func TestSites(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		n := member("w", "w")
		n.Site = "00"
		r.Start(n)
		r.expect("with a site", "w exited: nodes of a Supervisor cannot load the scripts of a site")
		n.Site, n.Scripts = "", []string{"local", "Site::local_nets={10.0.0.0/8}"}
		r.Start(n)
		r.expect("with an assignment", "w exited: Site::local_nets={10.0.0.0/8}: a Supervisor treats this assignment as a script, so args and networks require another launcher")
		n.Scripts = nil
		n.SetCPUs([]int64{0, 1})
		r.Start(n)
		r.expect("with two CPUs", "w exited: a Supervisor runs a node on one CPU, or on any")
		n.SetCPUs(nil)
		r.Start(n)
		time.Sleep(time.Minute)
		r.expect("without one", "w started as 1")
	})
}

func TestStartBeforeConnection(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.Start(member("w", "l", "w"))
		r.Start(member("l", "l", "w"))
		r.Start(member("x", "l", "w"))
		r.Stop("x")
		time.Sleep(time.Hour)
		r.expect("not connected")
		r.connect()
		r.expect("connected", "x exited: <nil>", "l started as 1", "w started as 2")
	})
}

func TestAdoption(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		// As created by Zeek's agent.
		for _, name := range []string{"l", "m", "w", "changed", "old"} {
			c := r.machine.configure(member(name, "l", "m", "w"))
			c.Directory, c.BaseScripts = "/var/lib/zeek/nodes/"+name, nil
			c.UserScripts = []string{"local", stockScript}
			c.Env = map[string]string{"K": "v"}
			if name == "changed" {
				c.Interface = "eth0"
			}
			r.fake.run(c)
		}
		r.connect()
		r.settle()
		time.Sleep(time.Hour)
		if got := r.has(); len(got) != 5 {
			t.Errorf("before Keep, nodes are %q, want all 5", got)
		}
		r.Keep([]string{"l", "w", "m", "changed"})
		for _, name := range []string{"l", "m", "w", "changed"} {
			r.Start(member(name, "l", "m", "w"))
		}
		r.expect("adopted", "l started as 1", "l up", "m started as 2", "m up", "w started as 3", "w up", "changed started as 6")
		if want := []string{"destroy old", "destroy changed", "create changed"}; !slices.Equal(r.fake.log, want) {
			t.Errorf("requests are %q, want %q", r.fake.log, want)
		}
		r.Stop("l")
		r.expect("stopped", "l exited: <nil>")
	})
}

func TestRevival(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		r.Start(member("w", "w"))
		r.expect("started", "w started as 1")
		exit := zeekapi.NodeExit{Node: "w", Outputs: zeekapi.NodeOutputs{Stderr: "fatal error"}}
		r.publish(exit) // of an earlier process

		r.publish(r.fake.spawn("w"), exit)
		r.expect("with outputs", "w revived as 2: fatal error")
		r.publish(r.fake.spawn("w"))
		r.expect("before the outputs")
		time.Sleep(outputsGrace)
		r.expect("without outputs", "w revived as 3: ")
		r.publish(r.fake.spawn("w"), r.fake.spawn("w"), exit)
		r.expect("twice", "w revived as 4: ", "w revived as 5: fatal error")
	})
}

func TestReconnection(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		for _, name := range []string{"a", "b", "c"} {
			r.Start(member(name, "a", "b", "c"))
		}
		r.settle()
		r.disconnect()
		r.expect("disconnected")
		r.fake.spawn("b")
		delete(r.fake.nodes, "c")
		r.connect()
		r.expect("reconnected", "b revived as 4: ", "c exited: the Supervisor no longer has the node")

		// Another version of the Supervisor, without nodes.
		r.disconnect()
		r.fake = newFake(control.Layout51)
		r.connect()
		r.expect("another Supervisor", "a exited: the Supervisor no longer has the node", "b exited: the Supervisor no longer has the node")
		r.Start(member("a", "a", "b", "c"))
		time.Sleep(4 * probeInterval)
		r.expect("started by another Supervisor", "a started as 1")
	})
}

func TestErrors(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		r.settle()
		r.fake.run(control.NodeConfig{Name: "w"}) // without an event
		r.Start(member("w", "w"))
		r.expect("refused", "w exited: node with name 'w' already exists")

		r.fake.mute.Store(true)
		r.Start(member("v", "v"))
		time.Sleep(3 * requestTimeout)
		r.expect("without a response")
		r.fake.mute.Store(false)
		time.Sleep(requestTimeout)
		r.expect("with a response", "v started as 2")
	})
}

func TestUnknownLayout(t *testing.T) {
	within(t, control.LayoutUnknown, func(r *rig) {
		r.connect()
		r.Start(member("w", "w"))
		time.Sleep(2 * requestTimeout)
		r.expect("no layout", "w exited: "+errLayouts.Error())
	})
}

func TestOutputs(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		r.Start(member("w", "w"))
		r.settle()
		dir := r.fake.nodes["w"].Config.Directory
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stderr"), []byte("fatal error"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Outputs("w", 5); err != nil || got != (zeekapi.NodeOutputs{Stderr: "error"}) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := r.Outputs("unknown", 5); !errors.Is(err, launch.ErrNoOutputs) {
			t.Errorf("unknown node: %+v, %v", got, err)
		}
		r.Stop("w")
		r.settle()
		if got, err := r.Outputs("w", 5); err != nil || got != (zeekapi.NodeOutputs{Stderr: "error"}) {
			t.Errorf("ended node: %+v, %v", got, err)
		}
	})
}

// The fake must respond to the recorded requests of Zeek's agent like the recorded
// Supervisor, except for process IDs and the outputs of nodes.
func TestFakeMatchesRecordings(t *testing.T) {
	for folder, layout := range map[string]control.Layout{"zeek-8.0.10-management": control.Layout61, "zeek-5.0.10-cluster": control.Layout40} {
		t.Run(folder, func(t *testing.T) {
			f := newFake(layout)
			d := control.Dialect(control.Topic, layout)
			responses := make(map[string]zeekapi.Message)
			compared := 0
			for _, ev := range recorded.Read(t, "../../../../testdata/recordings/"+folder+"/agent-supervisor-*.jsonl") {
				msg, err := d.Decode(ev.Event)
				if errors.Is(err, zeekapi.ErrUnknown) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if ev.From == recording.Client {
					for _, a := range f.respond(ev.Event) {
						responses[a.RequestID()] = a
					}
					continue
				}
				got := responses[msg.RequestID()]
				if s, ok := msg.(control.StatusResponse); ok && len(f.nodes) == 0 {
					for _, n := range s.Nodes { // created before the recording
						f.run(n.Config)
					}
					got = control.StatusResponse{ReqID: s.ReqID, Nodes: f.nodes}
				}
				if _, ok := msg.(control.NodeStarted); ok {
					continue
				}
				compared++
				if diff := cmp.Diff(msg, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
					cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".PID" }, cmp.Ignore())); diff != "" {
					t.Errorf("%s at %v (-recorded +fake):\n%s", ev.File, ev.At, diff)
				}
			}
			if compared < 10 {
				t.Errorf("compared only %d responses", compared)
			}
		})
	}
}

// The launcher must configure nodes like Zeek's agent, so that each can adopt the nodes of
// the other.
func TestConfigMatchesZeeksAgent(t *testing.T) {
	d := control.Dialect(control.Topic, control.Layout61)
	agentDialect := management.Dialect(management.DefaultTopics)
	folder := "../../../../testdata/recordings/zeek-8.0.10-management/"
	var config zeekapi.Configuration
	compared := 0
	for _, ev := range recorded.Read(t, folder+"agent-*.jsonl") {
		if msg, err := agentDialect.Decode(ev.Event); err == nil {
			if r, ok := msg.(zeekapi.AgentDeployRequest); ok {
				config = r.Config
			}
		}
		msg, err := d.Decode(ev.Event)
		create, ok := msg.(control.CreateRequest)
		if err != nil || !ok {
			continue
		}
		s := setup{agent: nodescript.Agent{Listen: netip.MustParseAddrPort("127.0.0.1:2151")}, stateDir: "/state"}
		for _, n := range config.Nodes {
			if n.Name != create.Node.Name {
				continue
			}
			members, err := config.Members()
			if err != nil {
				t.Fatal(err)
			}
			layout, err := zeekapi.NewLayout(members)
			if err != nil {
				t.Fatal(err)
			}
			compared++
			if want := s.config(launch.Node{Node: n, Layout: layout}); !s.same(create.Node, want) {
				t.Errorf("%s at %v: %+v is not the same as %+v", ev.File, ev.At, create.Node, want)
			}
		}
	}
	if compared < 5 {
		t.Errorf("compared only %d nodes", compared)
	}
}
