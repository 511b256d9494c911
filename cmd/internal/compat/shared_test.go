package compat

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// firstShared is the first version whose controllers share a complete state in etcd.
var firstShared = version{"first-etcd", "bb9d094"}

// sharing returns the versions whose controllers can share their state.
func sharing(t *testing.T) []version {
	t.Helper()
	return append(slices.DeleteFunc(versions(t), func(v version) bool {
		return exec.Command("git", "-C", root, "merge-base", "--is-ancestor", firstShared.revision, v.revision).Run() != nil
	}), firstShared)
}

// storeFlags are the flags of a controller with an etcd.
func storeFlags(e *etcdtest.Cluster) []string {
	return []string{"--store", "etcd", "--etcd-endpoints", strings.Join(e.Endpoints(), ","), "--etcd-lease", "2s"}
}

// TestSharedState starts this version with the state of an earlier one in etcd, and an earlier
// one with the state of this version. Each must know what the other one knew.
func TestSharedState(t *testing.T) {
	for _, v := range sharing(t) {
		for _, tt := range []struct {
			name      string
			downgrade bool
		}{{"upgrade", false}, {"downgrade", true}} {
			t.Run(v.name+"/"+tt.name, func(t *testing.T) {
				from, to := v.former(t), present(t)
				if tt.downgrade {
					from, to = to, from
				}
				c := newCluster(t, from)
				c.store = storeFlags(etcdtest.Start(t, 1))
				wants := c.live()
				delete(wants, "status") // has what only one of them knows
				delete(wants, "nodes")
				if err := os.RemoveAll(c.state(controllerName)); err != nil { // everything is in etcd
					t.Fatal(err)
				}
				c.client = to
				c.continues(to, wants)
			})
		}
	}
}

// shift is a cluster with several controllers, which a test replaces by those of another version.
type shift struct {
	*cluster
	controllers []seat
	store       []string
	clients     []program // whose status is looked at
	processes   map[string]int64
}

// seat is a controller of a shift.
type seat struct{ name, agents, clients string }

// newShift starts three controllers, and an agent of each program.
func newShift(t *testing.T, controllers program, agents ...program) *shift {
	t.Helper()
	s := &shift{cluster: newCluster(t, agents[0]), store: storeFlags(etcdtest.Start(t, 1)), clients: agents}
	var native, clients []string
	for _, name := range []string{"c0", "c1", "c2"} {
		one := seat{name, peertest.FreeAddress(t), peertest.FreeAddress(t)}
		s.controllers = append(s.controllers, one)
		native, clients = append(native, one.agents), append(clients, one.clients)
		s.run(one, controllers)
	}
	s.agents, s.cluster.clients = strings.Join(native, ","), strings.Join(clients, ",")
	s.await("status") // of any controller
	for i, p := range agents {
		s.agent(p, sensors[i])
	}
	return s
}

// run starts a controller.
func (s *shift) run(at seat, p program) {
	s.t.Helper()
	s.start(p, at.name, "controller", append([]string{
		"--listen", at.agents, "--websocket-listen", at.clients, "--tls", "off",
		"--advertise-clients", at.clients, "--advertise-agents", at.agents,
	}, s.store...)...)
}

// overview is a part of a status.
type overview struct {
	Controllers []struct {
		Name  string `json:"name"`
		Leads bool   `json:"leads"`
	} `json:"controllers"`
	Instances map[string]struct {
		Connected bool `json:"connected"`
		Nodes     map[string]struct {
			State string `json:"state"`
			PID   *int64 `json:"pid"`
		} `json:"nodes"`
	} `json:"instances"`
}

// settled waits until all controllers take part and all nodes that do not change run, as clients of
// all versions see. It returns the leader. The nodes must be the processes that they were before.
func (s *shift) settled() (leader seat) {
	s.t.Helper()
	for _, s.client = range s.clients {
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			out, err := s.try("status")
			var o overview
			if err == nil && json.Unmarshal([]byte(out), &o) == nil {
				if name, processes := o.complete(len(s.controllers), len(s.clients)); processes != nil {
					leader = s.controllers[slices.IndexFunc(s.controllers, func(c seat) bool { return c.name == name })]
					s.compare(processes)
					break
				}
			}
			if time.Now().After(end) {
				s.t.Fatalf("the cluster does not settle: %v\n%s", err, out)
			}
		}
	}
	return leader
}

// complete returns the leader and the processes of the nodes that do not change, nil unless
// everything is there.
func (o overview) complete(controllers, agents int) (leader string, processes map[string]int64) {
	for _, c := range o.Controllers {
		if c.Leads {
			leader = c.Name
		}
	}
	processes = make(map[string]int64)
	for _, in := range o.Instances {
		for name, n := range in.Nodes {
			if in.Connected && strings.HasPrefix(name, constant) && n.State == "RUNNING" && n.PID != nil {
				processes[name] = *n.PID
			}
		}
	}
	if leader == "" || len(o.Controllers) < controllers || len(processes) < agents {
		return "", nil
	}
	return leader, processes
}

func (s *shift) compare(processes map[string]int64) {
	s.t.Helper()
	if s.processes == nil {
		s.processes = processes
	}
	if !maps.Equal(s.processes, processes) {
		s.t.Errorf("nodes were restarted: they were the processes %v, and are %v", s.processes, processes)
	}
}

// replace replaces all controllers by those of a program, one after the other, as the
// documentation says: first those that stand by. The leader steps down before or, if that is not
// wanted, because it ends.
func (s *shift) replace(p program, stepDown bool, after func()) {
	s.t.Helper()
	last := s.settled()
	for _, c := range s.controllers {
		if c != last {
			s.stop(c.name)
			s.run(c, p)
			s.settled()
			after()
		}
	}
	if stepDown {
		s.client = s.clients[0]
		s.do("step-down")
		for end := time.Now().Add(patience); s.settled() == last; time.Sleep(100 * time.Millisecond) { // it was the status before
			if time.Now().After(end) {
				s.t.Fatalf("%s still leads", last.name)
			}
		}
	}
	s.stop(last.name)
	s.run(last, p)
	if s.settled() == last {
		s.t.Errorf("%s leads, which was started last", last.name)
	}
	after()
}

// TestRollingUpgrade replaces the controllers of a cluster by those of another version, one after
// the other, and back, while a client deploys and reads. One agent is of each version.
func TestRollingUpgrade(t *testing.T) {
	for _, v := range sharing(t) {
		t.Run(v.name, func(t *testing.T) {
			former, now := v.former(t), present(t)
			s := newShift(t, former, now, former)
			l := startTraffic(t, s.controllers)
			l.progress()
			s.replace(now, true, l.progress)
			s.replace(former, false, l.progress)
			l.end()
		})
	}
}
