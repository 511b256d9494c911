package live

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOperatorsCommands checks stop, start, diag, process and cleanup with Zeek nodes.
func TestOperatorsCommands(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		operatorsCommands(t, z)
	})
}

// operatorsCommands checks stop, start, diag, process and cleanup, with additional arguments
// of the agent.
func operatorsCommands(t *testing.T, z *installation, args ...string) {
	native, websocket, state := freePort(t), freePort(t), t.TempDir()
	c := ours(t, websocket)
	p := newPlace(t, z, native, func() *process { return startController(t, native, websocket, state, "off") })
	// A script of all nodes, which process must use, too.
	everywhere := filepath.Join(t.TempDir(), "everywhere.zeek")
	if err := os.WriteFile(everywhere, []byte("event zeek_init() { print \"of all nodes\"; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.args = append([]string{"--node-args", everywhere}, args...)
	agent := p.start(t)
	c.instances(t, "agent-one")
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "mark.zeek"), []byte("event zeek_init() { print getenv(\"MARK\"); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	others := section(t, "manager", "manager") + section(t, "logger", "logger")
	c.deploy(t, "[cluster]\nsite = "+site+"\n\n[instances]\nagent-one\n"+others+
		section(t, "worker", "worker", "scripts = mark.zeek", "env = MARK=\"of the worker\" DB_PASSWORD=hunter2-hunter2"))
	before := c.running(t, "agent-one", nodes...)
	delete(before, "worker")

	stopWorker(t, c, p, &agent, before)
	diagnoseWorker(t, c)
	processCapture(t, c, z)
	c.deploy(t, "[instances]\nagent-one\n"+others)
	cleanUpWorker(t, c, p)
}

// stopWorker stops the worker, which stays stopped when agent and controller are killed.
func stopWorker(t *testing.T, c client, p place, agent **process, others map[string]nodeStatus) {
	var answer struct {
		Results map[string]struct{ Success bool }
	}
	if err := c.call(t, &answer, "stop", "worker"); err != nil || !answer.Results["worker"].Success {
		t.Fatalf("%+v, %v", answer, err)
	}
	stays := func(when string) {
		t.Helper()
		eventually(t, when, func() error {
			var all struct {
				Results map[string]map[string]struct {
					nodeStatus
					StoppedBy string `json:"stopped_by"`
				}
			}
			if err := c.call(t, &all, "get-nodes"); err != nil {
				return err
			}
			worker := all.Results["agent-one"]["worker"]
			if worker.State != "STOPPED" || worker.PID != 0 || worker.StoppedBy == "" {
				return fmt.Errorf("%+v", all)
			}
			for name, n := range others {
				if now := all.Results["agent-one"][name]; now.State != "RUNNING" || now.PID != n.PID {
					return fmt.Errorf("%s is %+v, was %+v", name, now, n)
				}
			}
			return nil
		})
	}
	stays("after stop")
	(*agent).kill()
	*agent = p.start(t)
	c.instances(t, "agent-one")
	stays("after the agent was killed")
	p.killController()
	c.instances(t, "agent-one")
	stays("after the controller was killed")
	if _, stderr, code := run(t, nil, append(c.argv, "restart", "worker")...); code != 1 {
		t.Errorf("restart of a stopped node: exit code %d, %s", code, stderr)
	}
	if err := c.call(t, &answer, "start", "--all"); err != nil {
		t.Error(err)
	}
	now := c.running(t, "agent-one", nodes...)
	for name, n := range others {
		if now[name].PID != n.PID {
			t.Errorf("%s has restarted", name)
		}
	}
}

// diagnoseWorker kills the worker with a signal, and looks for the crash in the diagnosis
// and in the bundle.
func diagnoseWorker(t *testing.T, c client) {
	pid := c.running(t, "agent-one", nodes...)["worker"].PID
	if err := syscall.Kill(pid, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Crashes []struct{ Signal int }
		Scripts []string
		Limits  string
		Config  struct{ Env map[string]string }
		Facts   map[string]string
	}
	eventually(t, "diagnosis", func() error {
		if err := c.call(t, &d, "diag", "worker"); err != nil {
			return err
		}
		mark := func(s string) bool { return strings.HasSuffix(s, "/mark.zeek") }
		if len(d.Crashes) == 0 || d.Crashes[0].Signal != int(syscall.SIGSEGV) || !slices.ContainsFunc(d.Scripts, mark) || !strings.Contains(d.Limits, "Max open files") {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	if d.Config.Env["DB_PASSWORD"] != "(hidden)" || d.Config.Env["MARK"] != "of the worker" {
		t.Errorf("environment %v", d.Config.Env)
	}
	dir := t.TempDir()
	var answer json.RawMessage
	if err := c.call(t, &answer, "diag", "worker", "--bundle", filepath.Join(dir, "report.tar.gz")); err != nil {
		t.Fatal(err)
	}
	text, _, code := run(t, nil, "tar", "xzOf", filepath.Join(dir, "report.tar.gz"))
	if code != 0 || strings.Contains(text, "hunter2") || !strings.Contains(text, "mark.zeek") || !strings.Contains(text, "Cluster::nodes") {
		t.Errorf("tar: exit code %d, %d bytes; the secret is there: %t", code, len(text), strings.Contains(text, "hunter2"))
	}
	c.running(t, "agent-one", nodes...)
}

// processCapture runs a capture with one UDP packet through the scripts of the worker.
func processCapture(t *testing.T, c client, z *installation) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace.pcap")
	if err := os.WriteFile(trace, udpCapture(), 0o600); err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(dir, "logs")
	stdout, stderr, code := run(t, nil, append(c.argv, "process", trace, "--zeek", z.zeek, "--output", logs, "--", "-C")...)
	if code != 0 || !strings.Contains(stdout, `"conn.log"`) || !strings.Contains(stderr, "of the worker") || !strings.Contains(stderr, "of all nodes") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	conn, err := os.ReadFile(filepath.Join(logs, "conn.log"))
	if err != nil || !strings.Contains(string(conn), "192.0.2.1") {
		t.Errorf("%s, %v", conn, err)
	}
}

// udpCapture returns a capture with one packet, from 192.0.2.1 to 192.0.2.2.
func udpCapture() []byte {
	packet := slices.Concat(make([]byte, 12), []byte{8, 0}, // Ethernet
		[]byte{0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2},
		[]byte{0x30, 0x39, 0x30, 0x3a, 0, 12, 0, 0}, []byte("data"))
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	for _, n := range []uint32{4<<16 | 2, 0, 0, 65535, 1, 1_700_000_000, 0, uint32(len(packet)), uint32(len(packet))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, packet...)
}

// cleanUpWorker removes the directory of the worker, which no longer belongs to the cluster.
func cleanUpWorker(t *testing.T, c client, p place) {
	dir := filepath.Join(p.state, "nodes", "worker")
	leftovers := func(args ...string) (paths []string) {
		t.Helper()
		var all struct {
			Results map[string][]struct{ Path string }
		}
		if err := c.call(t, &all, append([]string{"cleanup"}, args...)...); err != nil {
			t.Error(err)
		}
		for _, l := range all.Results["agent-one"] {
			paths = append(paths, l.Path)
		}
		return paths
	}
	c.running(t, "agent-one", "manager", "logger")
	if found := leftovers("--dry-run"); slices.Contains(found, dir) {
		t.Errorf("what has changed recently is a leftover: %q", found)
	}
	old := time.Now().Add(-2 * time.Hour)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, log := range logs { // directories with logs stay
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	if found := leftovers("--dry-run"); !slices.Contains(found, dir) {
		t.Errorf("leftovers %q", found)
	}
	leftovers()
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory of the worker is still there")
	}
	c.running(t, "agent-one", "manager", "logger")
}

// TestStopWithZeekAgent checks that the controller refuses to stop a single node of Zeek's
// agent, and says why.
func TestStopWithZeekAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		c := z.clusterOfAgent(t)
		stdout, stderr, code := run(t, nil, append(c.argv, "stop", "worker")...)
		if code != 1 || !strings.Contains(stdout, "the agent is Zeek's own") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		c.running(t, "agent-one", nodes...)
	})
}
