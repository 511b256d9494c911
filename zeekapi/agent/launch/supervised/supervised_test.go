package supervised

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

// member returns a node of a cluster of these nodes: l is a logger, m a
// manager, others are workers.
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

// rig is a launcher and its Supervisor, in time of their own.
type rig struct {
	serving
	*Launcher
}

// within runs a test on a launcher, in a bubble of time.
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

// settle lets happen what happens without time passing, and returns what the
// launcher reported.
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

func (r *rig) expect(what string, want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, r.settle()); diff != "" {
		r.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLifeOfNodes(t *testing.T) {
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
					t.Errorf("it was asked to %q, want %q", r.fake.log, want)
				}
				c := r.fake.nodes["w"].Config
				if want := filepath.Join(r.machineDir(), "nodes", "w"); c.Directory != want {
					t.Errorf("directory is %s, want %s", c.Directory, want)
				}
				if got := c.Env["ZEEK_AGENT_PORT"] + " " + c.Env["K"]; got != "2151/tcp v" {
					t.Errorf("environment has %q", got)
				}
				scripts := strings.Join(slices.Concat(c.BaseScripts, c.UserScripts), " ")
				scripts = strings.ReplaceAll(scripts, r.machineDir()+"/scripts/", "")
				if want := "zeekwire-defaults.zeek local zeekwire-node.zeek"; scripts != want {
					t.Errorf("scripts are %q, want %q", scripts, want)
				}

				r.Stop("w")
				r.Stop("nobody")
				r.expect("stopped", "w exited: <nil>")
				r.Start(member("w", "l", "m", "w"))
				r.expect("started again", "w started as 4")
			})
		})
	}
}

func (r *rig) machineDir() string { return r.config.StateDir }

// Of what it does not understand the Supervisor complains, so the newest layout
// is tried first and none after the right one.
func TestProbesEndWithTheRightLayout(t *testing.T) {
	for i, layout := range control.Layouts {
		within(t, layout, func(r *rig) {
			r.connect()
			r.Start(member("w", "w"))
			time.Sleep(10 * probeInterval)
			r.settle()
			if r.fake.refused.Load() != int64(i) {
				t.Errorf("%s: %d requests it did not understand, want %d", layout, r.fake.refused.Load(), i)
			}
		})
	}
}

// The layout must be found out also when a Supervisor has nodes to show it.
func TestLayoutOfAStatus(t *testing.T) {
	for _, layout := range control.Layouts {
		t.Run(layout.String(), func(t *testing.T) {
			within(t, layout, func(r *rig) {
				r.fake.run(control.NodeConfig{Name: "agent", Env: map[string]string{"ZEEK_MANAGEMENT_NODE": "AGENT"}})
				r.connect()
				r.Keep(nil)
				r.Start(member("w", "w"))
				r.expect("started", "w started as 2")
				if want := []string{"agent", "w"}; !slices.Equal(r.has(), want) {
					t.Errorf("it has %q, want %q", r.has(), want)
				}
			})
		})
	}
}

func TestNodesWaitForTheSupervisor(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.Start(member("w", "l", "w"))
		r.Start(member("l", "l", "w"))
		r.Start(member("x", "l", "w"))
		r.Stop("x")
		time.Sleep(time.Hour)
		r.expect("without a Supervisor")
		r.connect()
		r.expect("with it", "x exited: <nil>", "l started as 1", "w started as 2")
	})
}

func TestAdoption(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		// As Zeek's agent has them.
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
			t.Errorf("without knowing what should run, it has %q", got)
		}
		r.Keep([]string{"l", "w", "m", "changed"})
		for _, name := range []string{"l", "m", "w", "changed"} {
			r.Start(member(name, "l", "m", "w"))
		}
		r.expect("adopted", "l started as 1", "l up", "m started as 2", "m up", "w started as 3", "w up", "changed started as 6")
		if want := []string{"destroy old", "destroy changed", "create changed"}; !slices.Equal(r.fake.log, want) {
			t.Errorf("it was asked to %q, want %q", r.fake.log, want)
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
		r.publish(exit) // of a former life

		r.publish(r.fake.spawn("w"), exit)
		r.expect("with outputs", "w revived as 2: fatal error")
		r.publish(r.fake.spawn("w"))
		r.expect("at once")
		time.Sleep(outputsGrace)
		r.expect("without outputs", "w revived as 3: ")
		r.publish(r.fake.spawn("w"), r.fake.spawn("w"), exit)
		r.expect("twice", "w revived as 4: ", "w revived as 5: fatal error")
	})
}

func TestLosingTheSupervisor(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		for _, name := range []string{"a", "b", "c"} {
			r.Start(member(name, "a", "b", "c"))
		}
		r.settle()
		r.disconnect()
		r.expect("without it")
		r.fake.spawn("b")
		delete(r.fake.nodes, "c")
		r.connect()
		r.expect("back again", "b revived as 4: ", "c exited: the Supervisor does not have it any more")

		// A new one of another version, which has nothing.
		r.disconnect()
		r.fake = newFake(control.Layout51)
		r.connect()
		r.expect("another", "a exited: the Supervisor does not have it any more", "b exited: the Supervisor does not have it any more")
		r.Start(member("a", "a", "b", "c"))
		time.Sleep(4 * probeInterval)
		r.expect("started there", "a started as 1")
	})
}

func TestErrors(t *testing.T) {
	within(t, control.Layout61, func(r *rig) {
		r.connect()
		r.settle()
		r.fake.run(control.NodeConfig{Name: "w"}) // without telling
		r.Start(member("w", "w"))
		r.expect("refused", "w exited: node with name 'w' already exists")

		r.fake.mute.Store(true)
		r.Start(member("v", "v"))
		time.Sleep(3 * requestTimeout)
		r.expect("without an answer")
		r.fake.mute.Store(false)
		time.Sleep(requestTimeout)
		r.expect("with an answer", "v started as 2")
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
		if got, err := r.Outputs("nobody", 5); !errors.Is(err, launch.ErrNoOutputs) {
			t.Errorf("of nobody: %+v, %v", got, err)
		}
		r.Stop("w")
		r.settle()
		if got, err := r.Outputs("w", 5); err != nil || got != (zeekapi.NodeOutputs{Stderr: "error"}) {
			t.Errorf("of what has ended: %+v, %v", got, err)
		}
	})
}

// Whatever Zeek's agent asked a real Supervisor, the fake must answer as that
// did, but for process IDs and what nodes wrote.
func TestFakeIsLikeZeek(t *testing.T) {
	for folder, layout := range map[string]control.Layout{"zeek-8.0.10-management": control.Layout61, "zeek-5.0.10-cluster": control.Layout40} {
		t.Run(folder, func(t *testing.T) {
			f := newFake(layout)
			d := control.Dialect(control.Topic, layout)
			answers := make(map[string]zeekapi.Message)
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
					for _, a := range f.answer(ev.Event) {
						answers[a.RequestID()] = a
					}
					continue
				}
				got := answers[msg.RequestID()]
				if s, ok := msg.(control.StatusResponse); ok && len(f.nodes) == 0 {
					for _, n := range s.Nodes { // that were there from the start
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
				t.Errorf("compared only %d answers", compared)
			}
		})
	}
}

// The launcher must describe nodes as Zeek's agent did, so that each takes over
// those of the other.
func TestSameAsZeeksAgent(t *testing.T) {
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
