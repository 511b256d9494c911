package live

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// agentKind is a kind of agent: Zeek's, or ours with a node transport. The tests
// of this file expect the same of all kinds.
type agentKind struct {
	name string
	ours bool

	// start starts an agent with a state directory, without TLS. The arguments
	// are those of the kind.
	start func(t *testing.T, state, name string, port, controller int, args ...string) *process
}

// zeekKind and ourKind return the kinds of agents, and eachAgent runs a test with
// both.
func (z *installation) zeekKind() agentKind {
	return agentKind{name: "Zeek's agent", start: func(t *testing.T, state, name string, port, controller int, args ...string) *process {
		return z.startAgentIn(t, state, name, port, controller, append(args, "Broker::disable_ssl=T")...)
	}}
}

func (z *installation) ourKind(more ...string) agentKind {
	return agentKind{name: "our agent", ours: true, start: func(t *testing.T, state, name string, port, controller int, args ...string) *process {
		return startOurAgentIn(t, z, state, name, port, at(controller), slices.Concat([]string{"--tls", "off"}, more, args)...)
	}}
}

func (z *installation) eachAgent(t *testing.T, test func(t *testing.T, kind agentKind)) {
	for _, kind := range []agentKind{z.zeekKind(), z.ourKind()} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind) })
	}
}

// scriptFile writes a script that all programs can read, and returns its path.
func scriptFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// withScript returns the cluster with a script for its worker.
func withScript(script string) string {
	return strings.Replace(cluster, "role = worker", "role = worker\nscripts = "+script, 1)
}

// TestOutputIsWrittenAtOnce checks that the lines that a node prints are in its
// file while it runs, so that they survive when it is killed.
func TestOutputIsWrittenAtOnce(t *testing.T) {
	const want = "while loading\ninitialized\n"
	test := func(t *testing.T, kind agentKind) {
		script := scriptFile(t, "talk.zeek", `
function talk(): bool { print "while loading"; return T; }
global talked = talk();
event zeek_init() { print "initialized"; Reporter::warning("a warning"); }
`)
		native, websocket := ourController(t, "off")
		state := t.TempDir()
		kind.start(t, state, "agent-one", freePort(t), native)
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, withScript(script))
		worker := c.running(t, "agent-one", nodes...)["worker"]
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(state, "nodes", "worker", name))
			if err != nil {
				t.Error(err)
			}
			return string(text)
		}
		eventually(t, "output of the running worker", func() error {
			if out, errOut := read("stdout"), read("stderr"); out != want || !strings.Contains(errOut, "a warning") {
				return fmt.Errorf("got %q and %q, want %q", out, errOut, want)
			}
			return nil
		})
		if kind.ours {
			var logs struct{ Stdout string }
			if err := c.call(t, &logs, "logs", "--json", "worker"); err != nil || logs.Stdout != want {
				t.Errorf("logs: %q, %v", logs.Stdout, err)
			}
		}
		if err := syscall.Kill(worker.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "output of another worker", func() error {
			if pid := c.running(t, "agent-one", nodes...)["worker"].PID; pid == worker.PID {
				return fmt.Errorf("still process %d", pid)
			}
			if out := read("stdout"); out != want {
				return fmt.Errorf("got %q, want %q", out, want)
			}
			return nil
		})
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		z.eachAgent(t, test)
		t.Run("our agent, nodes with WebSockets", func(t *testing.T) {
			z.needs(t, 8, 0, "WebSocket server for nodes")
			test(t, z.ourKind("--node-transport", "websocket"))
		})
	})
}

// TestProcessNames checks the names of the processes of nodes and agents.
func TestProcessNames(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		seen := make(map[string]map[string]string)
		z.eachAgent(t, func(t *testing.T, kind agentKind) {
			const worker = "worker-with-a-long-name" // longer than the kernel's limit
			native, websocket := ourController(t, "off")
			state, port := t.TempDir(), freePort(t)
			agent := kind.start(t, state, "agent-one", port, native)
			c := ours(t, websocket)
			c.instances(t, "agent-one")
			c.deploy(t, strings.Replace(cluster, "[worker]", "["+worker+"]", 1))
			before := c.running(t, "agent-one", "manager", "logger", worker)
			seen[kind.name] = c.processNames(t)
			for name, process := range seen[kind.name] {
				want := "zeek." + name
				if process != want[:min(len(want), 15)] {
					t.Errorf("the process of %s is %q", name, process)
				}
			}
			if !kind.ours {
				return
			}
			agent.kill()
			kind.start(t, state, "agent-one", port, native)
			c.instances(t, "agent-one")
			c.same(t, "after the agent was killed", before)
		})
		if zeeks, ours := seen["Zeek's agent"], seen["our agent"]; len(ours) != 4 || !maps.Equal(zeeks, ours) {
			t.Errorf("with Zeek's agent %q, with ours %q", zeeks, ours)
		}
	})
}

// processNames returns the names of the processes of an instance, by node.
func (c client) processNames(t *testing.T) map[string]string {
	t.Helper()
	var got struct {
		Results map[string]map[string]nodeStatus
	}
	if err := c.call(t, &got, "get-nodes"); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for node, status := range got.Results["agent-one"] {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", status.PID))
		if err != nil {
			t.Error(err)
		}
		names[node] = strings.TrimSuffix(string(name), "\n")
	}
	return names
}

// TestAgentDirectory checks which directory an agent creates for itself.
func TestAgentDirectory(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tt := range []struct{ name, directory, want string }{
			{"by default", "", "nodes/agent-one"},
			{"relative", "own", "nodes/own"},
			{"absolute", "/elsewhere", "/elsewhere"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				z.eachAgent(t, func(t *testing.T, kind agentKind) {
					state, directory := t.TempDir(), tt.directory
					want := filepath.Join(state, tt.want)
					if filepath.IsAbs(tt.directory) {
						directory = filepath.Join(t.TempDir(), tt.directory)
						want = directory
					}
					flag := "Management::Agent::directory="
					if kind.ours {
						flag = "--directory="
					}
					native, websocket := ourController(t, "off")
					if directory == "" {
						kind.start(t, state, "agent-one", freePort(t), native)
					} else {
						kind.start(t, state, "agent-one", freePort(t), native, flag+directory)
					}
					ours(t, websocket).instances(t, "agent-one")
					if info, err := os.Stat(want); err != nil || !info.IsDir() {
						t.Errorf("no directory %s: %v", want, err)
					}
					if other := filepath.Join(state, "nodes", "agent-one"); other != want {
						if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
							t.Errorf("also %s: %v", other, err)
						}
					}
				})
			})
		}
	})
}

// TestScriptsOfAllNodes checks that all nodes load what Zeek's Supervisor was
// started with, or what a setting of our agent names, before their own scripts.
func TestScriptsOfAllNodes(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		seen := make(map[string]string) // the first answer of an agent
		z.eachAgent(t, func(t *testing.T, kind agentKind) {
			all := scriptFile(t, "all.zeek", `
module Live;
export { const order = "" &redef; const option_value = "default" &redef; }
redef Live::order += "all";
`)
			own := scriptFile(t, "own.zeek", `redef Live::order += ", own";`)
			args := []string{all, "policy/tuning/json-logs", "-C", "Live::option_value=two words"}
			if kind.ours {
				args = []string{"--node-args", all + ` policy/tuning/json-logs -C "Live::option_value=two words"`}
			}
			native, websocket := ourController(t, "off")
			kind.start(t, t.TempDir(), "agent-one", freePort(t), native, args...)
			c := ours(t, websocket)
			c.instances(t, "agent-one")
			c.deploy(t, withScript(own))
			c.running(t, "agent-one", nodes...)
			for _, node := range nodes {
				order := `"all"`
				if node == "worker" {
					order = `"all, own"`
				}
				for id, want := range map[string]string{
					"Live::order": order, "Live::option_value": `"two words"`, "LogAscii::use_json": "true",
					"ignore_checksums": seen[node], // not in all versions a sign of -C
				} {
					got := c.value(t, node, id)
					if want != "" && got != want {
						t.Errorf("%s of %s is %s, want %s", id, node, got, want)
					}
					if id == "ignore_checksums" {
						seen[node] = got
					}
				}
			}
		})
	})
}

// TestYoungLogsAreArchived checks that logs are archived soon after the end of
// nodes, and before the end of the agent, although the interval is an hour.
func TestYoungLogsAreArchived(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		archiver := filepath.Join(filepath.Dir(z.zeek), "zeek-archiver")
		for name, args := range map[string][]string{"our archive": nil, "zeek-archiver": {"--archive-cmd", archiver}} {
			t.Run(name, func(t *testing.T) {
				native, websocket := ourController(t, "off")
				state := t.TempDir()
				agent := z.ourKind("--archive-dir", filepath.Join(state, "logs")).start(t, state, "agent-one", freePort(t), native, args...)
				c := ours(t, websocket)
				c.instances(t, "agent-one")
				c.deploy(t, cluster)
				c.running(t, "agent-one", nodes...)
				archived := func(more int) func() error {
					return func() error {
						logs, err := filepath.Glob(filepath.Join(state, "logs", "*", "*.gz"))
						queued, _ := filepath.Glob(filepath.Join(state, "log-queue", "*.log"))
						if err != nil || len(logs) < more || len(queued) > 0 {
							return fmt.Errorf("archive has %q, queue has %q, %w", logs, queued, err)
						}
						return nil
					}
				}
				var answer any
				if err := c.call(t, &answer, "restart", "logger"); err != nil {
					t.Logf("nodes are late: %v", err)
				}
				eventually(t, "logs of the restarted logger", archived(1))
				logs, _ := filepath.Glob(filepath.Join(state, "logs", "*", "*.gz"))
				c.running(t, "agent-one", nodes...)

				agent.stop()
				if err := archived(len(logs) + 1)(); err != nil {
					t.Errorf("after the end of the agent: %v", err)
				}
			})
		}
	})
}

// TestAgentsShareStateDirectory checks that two agents on one machine can have
// the same state directory.
func TestAgentsShareStateDirectory(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		z.eachAgent(t, func(t *testing.T, kind agentKind) {
			native, websocket := ourController(t, "off")
			state, port := t.TempDir(), freePort(t)
			first := kind.start(t, state, "agent-one", port, native)
			kind.start(t, state, "agent-two", freePort(t), native)
			config, named := clusterFile("agent-one", "agent-two")
			c := ours(t, websocket)
			c.instances(t, "agent-one", "agent-two")
			c.deploy(t, config)
			before := make(map[string]nodeStatus)
			for instance, node := range named {
				maps.Copy(before, c.running(t, instance, node))
			}
			for _, name := range []string{named["agent-one"], named["agent-two"], "agent-one", "agent-two"} {
				if info, err := os.Stat(filepath.Join(state, "nodes", name)); err != nil || !info.IsDir() {
					t.Errorf("directory of %s: %v", name, err)
				}
			}
			if !kind.ours {
				return
			}
			first.kill()
			kind.start(t, state, "agent-one", port, native)
			c.instances(t, "agent-one", "agent-two")
			for instance, node := range named {
				if got := c.running(t, instance, node)[node].PID; got != before[node].PID {
					t.Errorf("node %s: process %d became %d", node, before[node].PID, got)
				}
			}
		})
	})
}
