package live

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// status is the part of the status command's output that the tests check.
type status struct {
	Controller *struct{ Version string }
	Target     string
	Instances  map[string]struct {
		Connected, Drained bool
		Zeek               string
		Nodes              map[string]struct{ State string }
	}
}

// wantStatus waits until the given number of nodes runs on agent-one, and no
// other node exists.
func (c client) wantStatus(t *testing.T, running int) (s status) {
	t.Helper()
	eventually(t, "status", func() error {
		s = status{}
		if err := c.call(t, &s, "status"); err != nil {
			return err
		}
		one := s.Instances["agent-one"]
		for name, n := range one.Nodes {
			if n.State != "RUNNING" {
				return fmt.Errorf("%s is %s", name, n.State)
			}
		}
		if len(one.Nodes) != running {
			return fmt.Errorf("want %d nodes: %+v", running, s)
		}
		return nil
	})
	return s
}

// TestOperationsOfZeekController checks the commands that zeek-client does not
// have. Zeek's controller does not support most of them: status shows the
// available information, and the others report an error.
func TestOperationsOfZeekController(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := z.controller(t)
		ourAgent(t, z, native, "simulated", "anonymous")
		c := z.clientOf(t, native, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		if s := c.wantStatus(t, len(nodes)); s.Controller != nil || !s.Instances["agent-one"].Connected || s.Target == "" {
			t.Errorf("%+v", s)
		}
		for _, args := range []string{
			"history", "events", "rollback", "diff", "deploy --dry-run", "deploy --force", "rolling-restart", "rolling-restart --cancel",
			"drain agent-one", "undrain agent-one", "logs worker", "get-config --number 1",
		} {
			stdout, stderr, code := run(t, nil, append(c.argv, strings.Fields(args)...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, "knows nothing of") {
				t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
			}
		}
		c.wantStatus(t, len(nodes))
	})
}

// TestOperations runs the commands that zeek-client does not have, with Zeek
// nodes.
func TestOperations(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		native, websocket := ourController(t, "anonymous")
		ourAgent(t, z, native, "zeek", "anonymous")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		cluster := regexp.MustCompile("role = .*").ReplaceAllStringFunc(cluster, func(role string) string {
			return fmt.Sprintf("%s\nport = %d\nmetrics_port = %d", role, freePort(t), freePort(t))
		})
		c.deploy(t, cluster)
		first := c.wantStatus(t, len(nodes))
		if got := first.Instances["agent-one"].Zeek; got != z.version {
			t.Errorf("nodes run Zeek %q, want %q", got, z.version)
		}

		var job struct {
			Done  []string
			Error *string
		}
		if err := c.call(t, &job, "rolling-restart"); err != nil || len(job.Done) != len(nodes) || job.Error != nil {
			t.Errorf("%+v, %v", job, err)
		}

		script := filepath.Join(t.TempDir(), "talk.zeek")
		if err := os.WriteFile(script, []byte("event zeek_init() { print \"here I am\"; flush_all(); }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.deploy(t, strings.Replace(cluster, "role = worker", "role = worker\nscripts = "+script, 1))
		eventually(t, "logs", func() error {
			var logs struct{ Stdout string }
			if err := c.call(t, &logs, "logs", "--json", "worker"); err != nil {
				return err
			}
			if logs.Stdout != "here I am\n" {
				return fmt.Errorf("output of the worker is %q", logs.Stdout)
			}
			return nil
		})
		second := c.wantStatus(t, len(nodes))
		if second.Target == first.Target {
			t.Errorf("the configuration is still %s", first.Target)
		}
		var answer json.RawMessage
		if err := c.call(t, &answer, "rollback"); err != nil {
			t.Logf("nodes are late: %v", err)
		}
		if third := c.wantStatus(t, len(nodes)); third.Target != first.Target {
			t.Errorf("rolled back to %s, want %s", third.Target, first.Target)
		}

		if err := c.call(t, &answer, "drain", "agent-one"); err != nil {
			t.Error(err)
		}
		if s := c.wantStatus(t, 0); !s.Instances["agent-one"].Drained {
			t.Errorf("%+v", s)
		}
		if err := c.call(t, &answer, "undrain", "agent-one"); err != nil {
			t.Logf("nodes are late: %v", err)
		}
		c.wantStatus(t, len(nodes))
	})
}

// clusterOfAgent deploys the cluster on an agent of Zeek, with our controller, and waits
// until it runs.
func (z *installation) clusterOfAgent(t *testing.T) client {
	t.Helper()
	native, websocket := ourController(t, "anonymous")
	z.agent(t, native)
	c := ours(t, websocket)
	c.instances(t, "agent-one")
	c.deploy(t, cluster)
	c.running(t, "agent-one", nodes...)
	return c
}

// TestOperationsWithZeekAgent checks that these commands also work with Zeek's
// agents, which do not support the requests behind them.
func TestOperationsWithZeekAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		c := z.clusterOfAgent(t)

		var job struct {
			Done  []string
			Error *string
		}
		if err := c.call(t, &job, "rolling-restart"); err != nil || len(job.Done) != len(nodes) || job.Error != nil {
			t.Errorf("%+v, %v", job, err)
		}

		var answer json.RawMessage
		if err := c.call(t, &answer, "drain", "agent-one"); err != nil {
			t.Error(err)
		}
		eventually(t, "end of the drained nodes", func() error {
			var s status
			if err := c.call(t, &s, "status"); err != nil {
				return err
			}
			one := s.Instances["agent-one"]
			if !one.Drained {
				return fmt.Errorf("not drained: %+v", s)
			}
			for _, node := range nodes {
				if _, there := one.Nodes[node]; there {
					return fmt.Errorf("%s is still running", node)
				}
			}
			return nil
		})
		if err := c.call(t, &answer, "undrain", "agent-one"); err != nil {
			t.Logf("nodes are late: %v", err)
		}
		c.running(t, "agent-one", nodes...)
		if err := c.call(t, &answer, "deploy", "--force"); err != nil {
			t.Logf("nodes are late: %v", err)
		}
		c.running(t, "agent-one", nodes...)
	})
}
