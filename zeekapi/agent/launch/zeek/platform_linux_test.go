package zeek

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// TestProcessIsNamedAfterNode also checks that the link for the name does not remain, and
// that an earlier one is replaced.
func TestProcessIsNamedAfterNode(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	for _, name := range []string{"worker", "worker-with-a-long-name"} {
		dir := l.nodeDir(name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "zeek."+name)
		if err := os.Symlink("nowhere", link); err != nil {
			t.Fatal(err)
		}
		l.Start(node(name, ""))
		pid := int(next[launch.Started](t, l).PID)
		awaitOutput(t, l, name)
		want := "zeek." + name
		if s, err := proc.Read(pid); err != nil || s.Name != want[:min(len(want), 15)] {
			t.Errorf("the process of %s is %q, %v", name, s.Name, err)
		}
		if _, err := os.Lstat(link); err == nil {
			t.Errorf("%s still exists", link)
		}
	}
}

// TestNodeStartsWithoutItsName checks that nodes start if their processes cannot be named:
// if the program is a script, which may look for files beside its path, and if another file
// has the name of the link.
func TestNodeStartsWithoutItsName(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	program := l.zeek().binary
	wrapper := filepath.Join(t.TempDir(), "zeek")
	text := fmt.Sprintf("#!/bin/sh\necho $0\nexec %s \"$@\"\n", program)
	if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	wrapped := *l.zeek()
	wrapped.binary = wrapper
	wrapped.file, _ = os.Stat(wrapper)
	l.install.Store(&wrapped)
	l.Start(node("wrapped", "end"))
	next[launch.Started](t, l)
	if got := next[launch.Exited](t, l); got.Err != nil || got.Outputs.Stdout != wrapper+"\n" {
		t.Errorf("%+v", got)
	}

	direct := wrapped
	direct.binary = program
	direct.file, _ = os.Stat(program)
	l.install.Store(&direct)
	own := filepath.Join(l.nodeDir("taken"), "zeek.taken")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	l.Start(node("taken", "end"))
	next[launch.Started](t, l)
	if got := next[launch.Exited](t, l); got.Err != nil {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}
