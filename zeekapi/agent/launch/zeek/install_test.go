package zeek

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// After Zeek was replaced, nodes start with the arguments of the new version, and the
// launcher reports the version.
func TestRefresh(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := start(t, Config{})
	binary := filepath.Join(t.TempDir(), "zeek")
	// Another process writes the file: one that starts meanwhile would inherit the
	// descriptor of this one, and until it closes that, the file cannot be executed.
	replace := func(text string) {
		t.Helper()
		next := binary + ".next"
		write := exec.Command("sh", "-c", `cat >"$0" && chmod 755 "$0"`, next)
		write.Stdin = strings.NewReader("#!/bin/sh\n" + text + "\n")
		if out, err := write.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Rename(next, binary); err != nil {
			t.Fatal(err)
		}
	}
	version := func(v string) string { return fmt.Sprintf("%s=%s exec %q \"$@\"", standIn, v, self) }
	replace(version("8.0.10"))
	l.refresh(t.Context())
	l.zeek().binary = binary
	l.refresh(t.Context())
	if ev := next[launch.Upgraded](t, l); ev.Version != "8.0.10" {
		t.Errorf("at first: %+v", ev)
	}
	n := node("w", "")
	loadsBackend := func() bool { return slices.Contains(l.args(n), zeekapi.BackendScripts+string(Broker)) }
	if loadsBackend() {
		t.Error("with Zeek 8.0, the node loads a backend")
	}

	pid := running(t, l, n)
	replace(version("8.2.2"))
	l.Check([]launch.Node{n}, false)
	if ev := next[launch.Upgraded](t, l); ev.Version != "8.2.2" || l.ZeekVersion() != "8.2.2" {
		t.Errorf("after the upgrade: %+v", ev)
	}
	if checked := next[launch.Checked](t, l); checked.Err != nil {
		t.Error(checked.Err)
	}
	if !loadsBackend() {
		t.Error("with Zeek 8.2, the node does not load a backend")
	}
	if !alive(pid) {
		t.Error("the node has ended")
	}

	replace("exit 1")
	l.refresh(t.Context())
	if got := l.ZeekVersion(); got != "8.2.2" {
		t.Errorf("version after an unusable replacement is %s", got)
	}
	replace(version("7.0.1"))
	l.Start(node("x", "end"))
	if ev := next[launch.Upgraded](t, l); ev.Version != "7.0.1" {
		t.Errorf("after the downgrade: %+v", ev)
	}
}
