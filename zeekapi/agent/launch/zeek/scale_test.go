package zeek

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Two hundred nodes start, die all at once, start again, are adopted by another launcher,
// and end. Their processes are minimal; the nodes of TestManyNodes connect to their agent.
func TestTwoHundredNodes(t *testing.T) {
	t.Parallel()
	const many = 200
	c := Config{StateDir: t.TempDir()}
	binary := filepath.Join(c.StateDir, "zeek")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	launcher := func() *Launcher {
		t.Helper()
		l := start(t, c)
		l.install.Store(&installation{binary: binary, version: version{8, 0}, file: stat(t, binary)})
		return l
	}
	// await receives events until there is one of a kind for each node.
	await := func(l *Launcher, kind func(launch.Event) bool) {
		t.Helper()
		for n := 0; n < many; {
			ev, err := l.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if kind(ev) {
				n++
			}
		}
	}
	pids := make(map[string]int)
	started := func(ev launch.Event) bool {
		s, ok := ev.(launch.Started)
		if ok {
			pids[s.Node] = int(s.PID)
		}
		return ok
	}
	begin := func(l *Launcher) {
		t.Helper()
		for i := range many {
			l.Start(node(fmt.Sprintf("w%d", i), ""))
		}
		await(l, started)
	}

	l := launcher()
	begin(l)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	await(l, func(ev launch.Event) bool {
		e, ok := ev.(launch.Exited)
		if ok && (e.Err == nil || e.Err.Error() != "signal: killed") {
			t.Errorf("%s ended with %v", e.Node, e.Err)
		}
		return ok
	})
	begin(l)
	l.Leave()

	l = launcher()
	found := l.Running()
	if len(found) != many {
		t.Errorf("%d nodes are found, want %d", len(found), many)
	}
	for _, f := range found {
		if f.PID != int64(pids[f.Node.Name]) {
			t.Errorf("%s is process %d, was %d", f.Node.Name, f.PID, pids[f.Node.Name])
		}
	}
	l.Close(t.Context())
	for name, pid := range pids {
		if alive(pid) {
			t.Errorf("%s still runs", name)
		}
	}
}

func stat(t *testing.T, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
