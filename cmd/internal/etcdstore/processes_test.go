package etcdstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/cmd/internal/testprocess"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// process is a running controller.
type process struct {
	*testprocess.Process
	clients string // address
	agents  string
}

// site is a cluster of processes on this machine.
type site struct {
	t           *testing.T
	program     string
	dir         string
	etcd        *etcdtest.Cluster
	controllers []*process
}

// startSite starts an etcd with some members, and controllers that use it.
func startSite(t *testing.T, members, controllers int) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := &site{t: t, etcd: etcdtest.Start(t, members), program: testbinary.Path(t), dir: t.TempDir()}
	for i := range controllers {
		s.controller(i)
	}
	return s
}

func (s *site) run(name string, args ...string) *testprocess.Process {
	s.t.Helper()
	return testprocess.Start(s.t, s.dir, name, nil, append([]string{s.program}, args...)...)
}

// controller starts a controller, with further flags.
func (s *site) controller(i int, flags ...string) {
	s.t.Helper()
	name, clients, agents := fmt.Sprint("c", i), peertest.FreeAddress(s.t), peertest.FreeAddress(s.t)
	p := s.run(name, append([]string{
		"controller", "--name", name, "--state-dir", filepath.Join(s.dir, name), "--listen", agents, "--websocket-listen", clients,
		"--tls", "off", "--store", "etcd", "--etcd-endpoints", strings.Join(s.etcd.Endpoints(), ","), "--etcd-lease", "2s",
	}, flags...)...)
	s.controllers = append(s.controllers, &process{p, clients, agents})
}

// agent starts an agent with simulated nodes.
func (s *site) agent(name string, controllers ...*process) *testprocess.Process {
	s.t.Helper()
	var addresses []string
	for _, p := range controllers {
		addresses = append(addresses, p.agents)
	}
	return s.run(name, "agent", "--name", name, "--state-dir", filepath.Join(s.dir, name), "--launcher", "simulated", "--tls", "off",
		"--listen", peertest.FreeAddress(s.t), "--controller", strings.Join(addresses, ","))
}

// ask runs a command of a client, and returns its output.
func (s *site) ask(at *process, args ...string) (string, error) {
	out, _, err := s.askAll(at, args...)
	return out, err
}

// askAll is ask that also returns the messages on standard error.
func (s *site) askAll(at *process, args ...string) (out, messages string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, append(args, "--controller", at.clients)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%q: %w: %s", args, err, stderr.String())
	}
	return string(output), stderr.String(), err
}

// status is a part of the JSON of a status.
type statusJSON struct {
	AsOf      *time.Time `json:"as_of"`
	Term      uint64     `json:"term"`
	Instances map[string]struct {
		Nodes map[string]struct {
			State string `json:"state"`
			PID   *int   `json:"pid"`
		} `json:"nodes"`
	} `json:"instances"`
}

// leader waits until one of some controllers leads and all nodes run, and returns it with the
// processes of the nodes and the term.
func (s *site) leader(nodes int, among ...*process) (*process, map[string]int, uint64) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		for _, p := range among {
			var status statusJSON
			out, err := s.ask(p, "status")
			if err != nil || json.Unmarshal([]byte(out), &status) != nil || status.AsOf != nil {
				continue
			}
			pids := make(map[string]int)
			for name, n := range status.Instances["a1"].Nodes {
				if n.State == "RUNNING" && n.PID != nil {
					pids[name] = *n.PID
				}
			}
			if len(pids) == nodes {
				return p, pids, status.Term
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no leader with %d running nodes", nodes)
		}
	}
}

// others returns all controllers but one.
func (s *site) others(but *process) []*process {
	var all []*process
	for _, p := range s.controllers {
		if p != but {
			all = append(all, p)
		}
	}
	return all
}

// deploy deploys a configuration with an environment variable of its own for a node that no
// test looks at.
func (s *site) deploy(at *process, id string) {
	s.t.Helper()
	text := fmt.Sprintf("[instances]\na1\n\n[m]\ninstance = a1\nrole = manager\n\n[w]\ninstance = a1\nrole = worker\n\n[x]\ninstance = a1\nrole = worker\nenv = ID=%s\n", id)
	file := filepath.Join(s.dir, id+".cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.deployFile(at, file)
}

// deployFile deploys a cluster file as soon as its agents are connected.
func (s *site) deployFile(at *process, file string, flags ...string) {
	s.t.Helper()
	until(s.t, "the agents are connected", func() bool {
		_, err := s.ask(at, append([]string{"deploy-config", file}, flags...)...)
		if err != nil && !strings.Contains(err.Error(), "is not connected") {
			s.t.Fatal(err)
		}
		return err == nil
	})
}

// deployments returns the number of deployments in the history that succeeded.
func (s *site) deployments(at *process) int {
	s.t.Helper()
	out, err := s.ask(at, "history")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(out, `"outcome": "deployed"`)
}

// A leader is killed, and the next one is suspended for longer than its lease. Another one
// takes over each time, without restarting a node or losing a deployment. The one that was
// suspended changes nothing when it continues.
func TestLeaderIsKilledAndSuspended(t *testing.T) {
	s := startSite(t, 3, 3)
	s.agent("a1", s.controllers...)
	first, _, _ := s.leader(0, s.controllers...)
	s.deploy(first, "one")
	first, pids, term := s.leader(3, first)

	first.Kill()
	s.controllers = s.others(first)
	second, now, next := s.leader(3, s.controllers...)
	if !maps.Equal(pids, now) || next <= term {
		t.Errorf("after a kill: term %d after %d, nodes %v, before %v", next, term, now, pids)
	}
	s.deploy(second, "two")
	second, pids, term = s.leader(3, second)

	second.Signal(syscall.SIGSTOP)
	third, now, next := s.leader(3, s.others(second)...)
	if !maps.Equal(pids, now) || next <= term {
		t.Errorf("after a suspension: term %d after %d, nodes %v, before %v", next, term, now, pids)
	}
	s.deploy(third, "three")
	head := s.etcd.Control("get", DefaultPrefix+"/head", "--print-value-only")
	second.Signal(syscall.SIGCONT)
	want := 3
	if _, err := s.ask(second, "deploy"); err == nil {
		want++ // the client has followed it to the leader, which deployed the configuration again
	}
	if leader := strings.Split(head, `"by":"`)[1]; !strings.Contains(s.etcd.Control("get", DefaultPrefix+"/head", "--print-value-only"), leader[:strings.LastIndexByte(leader, '/')]) {
		t.Error("a controller that was suspended has written")
	}
	until(t, "the controller that was suspended knows the deployments", func() bool { return s.deployments(second) == want })
	if n := s.deployments(third); n != want {
		t.Errorf("%d deployments, want %d", n, want)
	}
}
