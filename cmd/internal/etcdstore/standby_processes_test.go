package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// stock connects a client that is like Zeek's to a controller: it knows no other controllers.
func (s *site) stock(at *process) *client.Client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dialect := management.Dialect(management.DefaultTopics)
	bus, err := websocket.Dial(ctx, websocket.ClientConfig{Address: at.clients, Subscriptions: []string{dialect.Topics.Controller}})
	if err != nil {
		s.t.Fatal(err)
	}
	c := client.New(bus, dialect)
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Commands that a controller answers from its stored state warn the user, and those whose JSON is our
// own have the age of the state. The leader's answers have neither.
func TestStoredAnswers(t *testing.T) {
	s := startSite(t, 1, 2)
	s.agent("a1", s.controllers...)
	leads, _, _ := s.leader(0, s.controllers...)
	standby := s.others(leads)[0]
	s.deploy(leads, "c1")
	until(t, "the standby knows the deployment", func() bool { return s.deployments(standby) == 1 })
	for _, args := range [][]string{
		{"status"}, {"history"}, {"events"}, {"diff"}, {"diff", filepath.Join(s.dir, "c1.cfg")},
		{"get-config", "--as-json"}, {"get-config", "--as-json", "--deployed"}, {"get-config", "--as-json", "--number", "1"},
	} {
		for _, at := range []*process{standby, leads} {
			out, messages, err := s.askAll(at, args...)
			if err != nil {
				t.Fatal(err)
			}
			var all map[string]any
			if err := json.Unmarshal([]byte(out), &all); err != nil {
				t.Fatalf("%q: %v\n%s", args, err, out)
			}
			age, dated := all["age"].(float64)
			ours := args[0] != "get-config" // its JSON is Zeek's
			if want := at == standby; strings.Contains(messages, "stands by, and answers from the stored state of ") != want || dated != (want && ours) || age < 0 {
				t.Errorf("%q, standing by: %t: age %v, messages %q", args, want, all["age"], messages)
			}
		}
	}
}

// A client of Zeek stages, deploys and reads nodes at a controller that stands by.
func TestStockClientAtStandby(t *testing.T) {
	s := startSite(t, 1, 2)
	s.agent("a1", s.controllers...)
	leads, _, _ := s.leader(0, s.controllers...)
	standby := s.others(leads)[0]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := s.stock(standby)
	config := zeekapi.Configuration{ID: "c1", Instances: []zeekapi.Instance{{Name: "a1"}}}
	for _, name := range []string{"m", "w", "x"} {
		role := zeekapi.RoleWorker
		if name == "m" {
			role = zeekapi.RoleManager
		}
		config.Nodes = append(config.Nodes, zeekapi.Node{Name: name, Instance: "a1", Role: role, State: zeekapi.StateRunning})
	}
	until(t, "the configuration is staged through the standby", func() bool {
		_, err := c.Stage(ctx, config)
		if err != nil && !strings.Contains(err.Error(), "this controller stands by") {
			t.Fatal(err)
		}
		return err == nil
	})
	if d, err := c.Deploy(ctx); err != nil || d.ID != "c1" || d.Failed {
		t.Errorf("deployed %+v, %v", d, err)
	}
	s.leader(3, leads)
	until(t, "the nodes run, as the standby learns from the leader", func() bool {
		nodes, err := c.GetNodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, in := range nodes {
			for _, n := range in.Nodes {
				if n.State == zeekapi.StateRunning {
					running++
				}
			}
		}
		return running >= 3
	})
	leads.Signal(syscall.SIGSTOP)
	defer leads.Signal(syscall.SIGCONT)
	if _, err := c.Stage(ctx, config); err == nil || !strings.Contains(err.Error(), "see the status for the outcome") && !strings.Contains(err.Error(), "no controller leads") {
		t.Errorf("a request while the leader hangs: %v", err)
	}
}

// A controller that stands by ends while the leader works on a request that it has passed on: the
// client learns that the outcome is unknown.
func TestStandbyEndsWithRequests(t *testing.T) {
	s := startSite(t, 1, 0)
	for i := range 2 {
		s.controller(i, "--shutdown-timeout", "3s")
	}
	agent := s.agent("a1", s.controllers...)
	leads, _, _ := s.leader(0, s.controllers...)
	s.deploy(leads, "c1")
	standby := s.others(leads)[0]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := s.stock(standby)
	until(t, "the standby passes requests to the leader", func() bool {
		nodes, err := c.GetNodes(ctx)
		return err == nil && len(nodes) == 1 && nodes[0].Err == nil
	})
	agent.Signal(syscall.SIGSTOP)
	defer agent.Signal(syscall.SIGCONT)
	ended := make(chan string)
	go func() {
		nodes, err := c.GetNodes(ctx)
		ended <- fmt.Sprintf("%v, %v", nodes, err)
	}()
	until(t, "a request is passed on", func() bool {
		return s.etcd.Control("get", "--prefix", "--keys-only", DefaultPrefix+"/"+relayRequests) != ""
	})
	standby.Signal(syscall.SIGTERM)
	if got := <-ended; !strings.Contains(got, "this controller ends") || !strings.Contains(got, "see the status for the outcome") {
		t.Errorf("the controller ended: %s", got)
	}
}

// A site survives the loss of the machine of the controller to which it was uploaded: the next leader
// gives it to an agent that does not have it.
func TestSiteSurvivesLossOfMachine(t *testing.T) {
	s := startSite(t, 1, 2)
	s.agent("a1", s.controllers...)
	first, _, _ := s.leader(0, s.controllers...)
	scripts := filepath.Join(s.dir, "scripts")
	if err := os.Mkdir(scripts, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(scripts, "local.zeek"), []byte("# local\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	deploy := func(at *process, more string) {
		t.Helper()
		text := "[instances]\na1\n" + more + "\n[m]\ninstance = a1\nrole = manager\n\n[w]\ninstance = a1\nrole = worker\n\n[x]\ninstance = a1\nrole = worker\n"
		file := filepath.Join(s.dir, "cluster.cfg")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.deployFile(at, file, "--site", scripts)
	}
	deploy(first, "")
	s.leader(3, first)
	first.Kill()
	state := filepath.Join(s.dir, "c0")
	if first != s.controllers[0] {
		state = filepath.Join(s.dir, "c1")
	}
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	s.controllers = s.others(first)
	second, _, _ := s.leader(3, s.controllers...)
	other := filepath.Join(s.dir, map[bool]string{true: "c1", false: "c0"}[strings.HasSuffix(state, "c0")])
	if n := packedSites(t, other); n != 0 {
		t.Errorf("the other controller has %d sites without having needed one", n)
	}
	s.agent("a2", second) // needs the site, which is not uploaded again
	deploy(second, "a2\n")
	for _, dir := range []string{other, filepath.Join(s.dir, "a2")} {
		if n := packedSites(t, dir); n != 1 {
			t.Errorf("there are %d sites in %s, want 1", n, dir)
		}
	}
}

// packedSites returns the number of packed sites below a directory.
func packedSites(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".tar.zst") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
