package live

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// intended lists the observables in which our agent and its nodes differ from
// Zeek's on purpose. DESIGN.md has the reasons.
var intended = map[string]bool{
	"process group of a node":                    true,
	"environment of a node":                      true,
	"further files of a node":                    true,
	"nodes after the agent was killed":           true,
	"processes between the agent and its parent": true,
}

// TestObservables compares what other programs can see of an agent and its nodes:
// processes, files, streams, signals and exit codes.
func TestObservables(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		var zeek, ours map[string]string
		t.Run("Zeek's agent", func(t *testing.T) { zeek = observe(t, z.zeekKind()) })
		t.Run("our agent", func(t *testing.T) { ours = observe(t, z.ourKind()) })
		if len(zeek) < 10 || len(zeek) != len(ours) {
			t.Fatalf("observed %d properties of Zeek, and %d of ours", len(zeek), len(ours))
		}
		for _, name := range slices.Sorted(maps.Keys(zeek)) {
			checked(t)
			t.Logf("%s: Zeek %q, ours %q", name, zeek[name], ours[name])
			switch same := zeek[name] == ours[name]; {
			case !same && !intended[name]:
				t.Errorf("%s: Zeek %q, ours %q", name, zeek[name], ours[name])
			case same && intended[name]:
				t.Errorf("%s: both %q, but that is an intended difference", name, zeek[name])
			}
		}
	})
}

// TestControllerObservables compares what other programs can see of a controller.
func TestControllerObservables(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		observe := func(t *testing.T, start func(native, websocket int, state string) *process) map[string]string {
			seen := make(map[string]string)
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				native, websocket := freePort(t), freePort(t)
				p := start(native, websocket, t.TempDir())
				z.clientOf(t, native, websocket).instances(t)
				name, _ := serviceProcess(p, "controller-one")
				seen["name of the controller's process"] = name
				seen["exit code after "+signal.String()] = exitCode(p, signal)
			}
			return seen
		}
		var zeek, ours map[string]string
		t.Run("Zeek's controller", func(t *testing.T) {
			zeek = observe(t, func(native, websocket int, state string) *process {
				return z.startController(t, native, websocket, state, "Broker::disable_ssl=T")
			})
		})
		t.Run("our controller", func(t *testing.T) {
			ours = observe(t, func(native, websocket int, state string) *process {
				return startController(t, native, websocket, state, "off")
			})
		})
		t.Logf("Zeek's %v, ours %v", zeek, ours)
		if checked(t); len(zeek) != 3 || !maps.Equal(zeek, ours) {
			t.Errorf("Zeek's %v, ours %v", zeek, ours)
		}
	})
}

// observe returns the observables of an agent and of its node "worker".
func observe(t *testing.T, kind agentKind) map[string]string {
	native, websocket := ourController(t, "off")
	state, c := t.TempDir(), ours(t, websocket)
	seen := make(map[string]string)
	deploy := func() (*process, map[string]nodeStatus) {
		p := kind.start(t, state, "agent-one", freePort(t), native)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		return p, c.running(t, "agent-one", nodes...)
	}

	p, running := deploy()
	worker := running["worker"].PID
	observeNode(t, seen, worker, p, state)
	seen["name of the agent's process"], seen["processes between the agent and its parent"] = serviceProcess(p, "agent-one")
	if err := os.WriteFile(filepath.Join(state, "nodes", "worker", "stderr"), []byte("earlier\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(worker, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another worker", func() error {
		if pid := c.running(t, "agent-one", nodes...)["worker"].PID; pid == worker {
			return fmt.Errorf("still process %d", pid)
		}
		return nil
	})
	seen["a node that ended by itself"] = "started again"
	text, err := os.ReadFile(filepath.Join(state, "nodes", "worker", "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	seen["earlier output of a node that was started again"] = fmt.Sprint("kept: ", strings.Contains(string(text), "earlier"))

	running = c.running(t, "agent-one", nodes...)
	seen["exit code of the agent after SIGTERM"] = exitCode(p, syscall.SIGTERM)
	seen["nodes after the agent received SIGTERM"] = left(running)
	p, _ = deploy()
	seen["exit code of the agent after SIGINT"] = exitCode(p, syscall.SIGINT)
	p, running = deploy()
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL)
	seen["nodes after the agent was killed"] = left(running)
	for _, n := range running {
		_ = syscall.Kill(n.PID, syscall.SIGKILL) // which are left on purpose
	}
	return seen
}

func observeNode(t *testing.T, seen map[string]string, pid int, agent *process, state string) {
	t.Helper()
	proc := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	link := func(name string) string {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(target, state)
	}
	seen["name of a node's process"] = strings.TrimSpace(proc("comm"))
	seen["program of a node"] = link("exe")
	seen["working directory of a node"] = link("cwd")
	seen["standard input of a node"] = link("fd/0")
	for line := range strings.Lines(proc("status")) {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "Umask":
			seen["umask of a node"] = strings.TrimSpace(value)
		case "SigIgn":
			seen["signals that a node ignores"] = signalSet(value)
		case "SigCgt":
			seen["signals that a node catches"] = signalSet(value)
		case "NSpgid":
			seen["process group of a node"] = "the agent's"
			if strings.TrimSpace(value) == strconv.Itoa(pid) {
				seen["process group of a node"] = "its own"
			}
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", agent.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	seen["limits of a node"] = fmt.Sprint("the agent's: ", proc("limits") == string(limits))
	seen["environment of a node"] = strings.Join(addedVariables(proc("environ"), agent), " ")
	seen["further files of a node"] = observeFiles(t, seen, filepath.Join(state, "nodes", "worker"))
}

// signalSet returns a set of signals as the kernel writes it, without SIGHUP if the
// tests run with nohup. Zeek's nodes inherit that; ours do not, because their agent
// handles the signal.
func signalSet(text string) string {
	set, _ := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	if signal.Ignored(syscall.SIGHUP) {
		set &^= 1 << (syscall.SIGHUP - 1)
	}
	return fmt.Sprintf("%016x", set)
}

// addedVariables returns the names of the environment variables that the agent
// does not have.
func addedVariables(environ string, agent *process) (names []string) {
	for entry := range strings.SplitSeq(environ, "\x00") {
		if entry != "" && !slices.Contains(agent.cmd.Env, entry) {
			name, _, _ := strings.Cut(entry, "=")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// observeFiles observes the modes of the files in the directory of a node, and
// returns the names of those that are not logs or output.
func observeFiles(t *testing.T, seen map[string]string, dir string) string {
	var further []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen["mode of a node's directory"] = info.Mode().String()
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == "stdout", name == "stderr":
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			seen["mode of "+name] = info.Mode().String()
		case !strings.HasSuffix(name, ".log") && e.Type()&fs.ModeDir == 0:
			further = append(further, name)
		}
	}
	return cmp.Or(strings.Join(further, " "), "none")
}

// serviceProcess returns the name of the process that is the service, and the number
// of processes between it and the test.
func serviceProcess(p *process, service string) (name, between string) {
	child := func(pid int, prefix string) (int, string) {
		entries, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, e := range entries {
			text, err := os.ReadFile(e)
			if err != nil {
				continue
			}
			id, rest, _ := strings.Cut(string(text), " (")
			comm, rest, _ := strings.Cut(rest, ") ")
			fields := strings.Fields(rest)
			if len(fields) > 1 && fields[1] == strconv.Itoa(pid) && strings.HasPrefix(comm, prefix) {
				n, _ := strconv.Atoi(id)
				return n, comm
			}
		}
		return 0, ""
	}
	pid := p.cmd.Process.Pid
	stem, _ := child(pid, "zeek.stem")
	want := "zeek." + service
	if _, comm := child(stem, want[:min(len(want), 15)]); stem != 0 && comm != "" {
		return comm, "2"
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(comm)), "0"
}

// exitCode ends a process with a signal and returns its exit code.
func exitCode(p *process, signal syscall.Signal) string {
	_ = syscall.Kill(p.cmd.Process.Pid, signal) // the exit code shows whether it had ended
	select {
	case <-p.done:
	case <-time.After(patience):
		return "none"
	}
	return strconv.Itoa(p.cmd.ProcessState.ExitCode())
}

// left tells whether processes of nodes end within some seconds.
func left(running map[string]nodeStatus) string {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if !slices.ContainsFunc(slices.Collect(maps.Values(running)), func(n nodeStatus) bool { return alive(n.PID) }) {
			return "ended"
		}
	}
	return "running"
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}
