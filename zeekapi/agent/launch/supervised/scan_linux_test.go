package supervised

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// Edits are reported for the nodes whose processes are known. A list that is older than
// the process belongs to an earlier one.
func TestScan(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	file := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	script := file("script.zeek", "old")
	ours := file("zeekwire-node.zeek", "old")
	early := time.Now().Add(-time.Hour)
	for _, name := range []string{script, ours} {
		if err := os.Chtimes(name, early, early); err != nil {
			t.Fatal(err)
		}
	}
	list := file(nodescript.LoadedList, script+"\x00"+ours+"\x00\x00")
	if err := os.Chtimes(list, early, early); err != nil {
		t.Fatal(err)
	}

	l := &Launcher{machine: newMachine("", nil, nil), scripts: nodescript.Files{Defaults: "/x/zeekwire-defaults.zeek", Node: "/x/zeekwire-node.zeek"}}
	l.watcher = loaded.NewWatcher(loaded.Config{Nodes: l.loadedNodes, Ignored: l.ignores, Events: &l.events})
	l.machine.nodes["w"] = &node{taken: &launch.Node{}, has: &control.NodeConfig{Directory: dir}, pid: int64(begin(t, "zeek.w"))}
	l.machine.nodes["x"] = &node{taken: &launch.Node{}, has: &control.NodeConfig{Directory: dir}, pid: int64(begin(t, "another"))}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { l.watcher.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	expect := func(when string, want ...string) {
		t.Helper()
		l.Scan()
		ev, err := l.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, ev.(launch.Edited).Nodes["w"]); diff != "" || len(ev.(launch.Edited).Nodes) > 1 {
			t.Errorf("%s: %v (-want +got):\n%s", when, ev, diff)
		}
	}
	expect("with the list of an earlier process")
	if _, err := os.Stat(filepath.Join(dir, loaded.FingerprintFile)); err == nil {
		t.Error("there is a fingerprint already")
	}
	file(nodescript.LoadedList, script+"\x00"+ours+"\x00\x00")
	expect("listed")
	if _, err := os.Stat(filepath.Join(dir, loaded.FingerprintFile)); err != nil {
		t.Error(err)
	}
	file("script.zeek", "changed")
	file("zeekwire-node.zeek", "of a later agent")
	expect("changed", script)
}
