package zeek

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// recorded waits until the launcher has the fingerprint of a node that runs.
func recorded(t *testing.T, l *Launcher, name string) {
	t.Helper()
	if !poll(t.Context(), func() bool {
		_, err := os.Stat(filepath.Join(l.nodeDir(name), loaded.FingerprintFile))
		return err == nil
	}) {
		t.Fatal("no fingerprint")
	}
}

func scanned(t *testing.T, l *Launcher) map[string][]string {
	t.Helper()
	l.Scan()
	return next[launch.Edited](t, l).Nodes
}

func TestScan(t *testing.T) {
	t.Parallel()
	state, scripts := t.TempDir(), t.TempDir()
	file := func(name string) string { return filepath.Join(scripts, name) }
	base, site := file("zeek"), file("zeek/site")
	names := []string{"a.zeek", "b.zeek", "touched.zeek", "removed.zeek", "zeek/base.zeek", "zeek/site/local.zeek"}
	changedAt := func(name string, ago time.Duration) {
		t.Helper()
		at := time.Now().Add(-ago)
		if err := os.Chtimes(file(name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		write(t, file(name), "old "+name)
		changedAt(name, 2*time.Hour)
	}
	install := func(l *Launcher) { l.zeek().scriptDirs, l.zeek().siteDirs = []string{base}, []string{site} }
	l := start(t, Config{StateDir: state})
	install(l)
	n := node("w", "")
	own := []string{"./own.zeek", l.scripts.Node, layoutFile, "/nonexistent.zeek"}
	write(t, filepath.Join(l.nodeDir("w"), "own.zeek"), "own")
	for _, name := range names {
		own = append(own, file(name))
	}
	n.Env["LOADED"] = strings.Join(own, ":")
	write(t, filepath.Join(l.nodeDir("w"), nodescript.LoadedList), "of the previous start")
	running(t, l, n)
	other := node("other", "")
	running(t, l, other)
	recorded(t, l, "w")
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("before any change: %v", got)
	}

	changedAt("touched.zeek", time.Hour)
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("touched: %v", got)
	}
	for _, name := range []string{"b.zeek", "zeek/base.zeek", "zeek/site/local.zeek"} {
		write(t, file(name), "new "+name)
		changedAt(name, time.Hour)
	}
	if err := os.Remove(file("removed.zeek")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.nodeDir("w"), "own.zeek"), "changed")
	want := map[string][]string{"w": {file("b.zeek"), file("removed.zeek"), file("zeek/site/local.zeek"), filepath.Join(l.nodeDir("w"), "own.zeek")}}
	slices.Sort(want["w"])
	if diff := cmp.Diff(want, scanned(t, l)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// The next launcher knows the same, and reports it without a request.
	l.Leave()
	l = start(t, Config{StateDir: state})
	install(l)
	if diff := cmp.Diff(want, scanned(t, l)); diff != "" {
		t.Errorf("next launcher (-want +got):\n%s", diff)
	}
	write(t, file("b.zeek"), "old b.zeek") // its former content, later
	want["w"] = slices.DeleteFunc(want["w"], func(path string) bool { return path == file("b.zeek") })
	if diff := cmp.Diff(want, scanned(t, l)); diff != "" {
		t.Errorf("changed back (-want +got):\n%s", diff)
	}

	l.Stop("w")
	next[launch.Exited](t, l)
	running(t, l, n)
	recorded(t, l, "w")
	if got := scanned(t, l); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
}

// A launcher lists the scripts of a node in order. Those of the Zeek installation have no
// fingerprints, and are listed only on request.
func TestScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	names := []string{"b.zeek", "zeek/base.zeek", "a.zeek"}
	for _, name := range names {
		write(t, file(name), "old")
	}
	l := start(t, Config{})
	l.zeek().scriptDirs = []string{file("zeek")}
	n := node("w", "")
	n.Env["LOADED"] = strings.Join([]string{file(names[0]), file(names[1]), file(names[2])}, ":")
	running(t, l, n)
	recorded(t, l, "w")
	write(t, file("a.zeek"), "new")
	shown := func(all bool) (text []string, omitted uint64) {
		t.Helper()
		scripts, err := l.Scripts(t.Context(), "w", all)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scripts.Scripts {
			text = append(text, fmt.Sprintf("%s %d %t", strings.TrimPrefix(s.Path, dir), len(s.Hash), s.Changed))
		}
		return text, scripts.Omitted
	}
	text, omitted := shown(false)
	if diff := cmp.Diff([]string{"/b.zeek 64 false", "/a.zeek 64 true"}, text); diff != "" || omitted != 1 {
		t.Errorf("%d left out (-want +got):\n%s", omitted, diff)
	}
	text, omitted = shown(true)
	if diff := cmp.Diff([]string{"/b.zeek 64 false", "/zeek/base.zeek 0 false", "/a.zeek 64 true"}, text); diff != "" || omitted != 0 {
		t.Errorf("all, %d left out (-want +got):\n%s", omitted, diff)
	}
	if _, err := l.Scripts(t.Context(), "other", false); !errors.Is(err, launch.ErrNoScripts) {
		t.Errorf("node that does not run: %v", err)
	}
	if err := os.Remove(filepath.Join(l.nodeDir("w"), loaded.FingerprintFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Scripts(t.Context(), "w", false); !errors.Is(err, launch.ErrNoScripts) {
		t.Errorf("no fingerprint: %v", err)
	}
	write(t, filepath.Join(l.nodeDir("w"), loaded.FingerprintFile), "{")
	if _, err := l.Scripts(t.Context(), "w", false); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("damaged fingerprint: %v", err)
	}
}

// A scan without a request reports only changes.
func TestScansByItself(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script.zeek")
	write(t, script, "old")
	l := start(t, Config{})
	n := node("w", "")
	n.Env["LOADED"] = script
	running(t, l, n)
	recorded(t, l, "w")
	l.Leave()
	l = start(t, Config{StateDir: l.config.StateDir, scanInterval: 10 * time.Millisecond})
	write(t, script, "changed")
	if got := next[launch.Edited](t, l).Nodes; len(got["w"]) != 1 {
		t.Errorf("got %v", got)
	}
	l.Stop("w")
	next[launch.Exited](t, l)
	if got := next[launch.Edited](t, l).Nodes; len(got) != 0 {
		t.Errorf("after its end: %v", got)
	}
}

// A file that changed before the fingerprint was taken counts as edited, also if the
// launcher was gone meanwhile.
func TestEditedBeforeTheFingerprint(t *testing.T) {
	t.Parallel()
	dir, script := t.TempDir(), filepath.Join(t.TempDir(), "script.zeek")
	write(t, script, "old")
	early := time.Now().Add(-time.Hour)
	if err := os.Chtimes(script, early, early); err != nil {
		t.Fatal(err)
	}
	l := start(t, Config{StateDir: dir})
	running(t, l, node("w", ""))
	l.Leave()
	write(t, script, "new") // after the start
	write(t, filepath.Join(l.nodeDir("w"), nodescript.LoadedList), script+"\x00\x00")
	l = start(t, Config{StateDir: dir})
	want := map[string][]string{"w": {script}}
	if diff := cmp.Diff(want, scanned(t, l)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nodes that run another Zeek are edited, and the number of reported files is limited.
func TestScanOfManyAndOfAnotherZeek(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var paths []string
	for i := range 105 {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%03d.zeek", i)))
		write(t, paths[i], "old")
	}
	l := start(t, Config{})
	l.zeek().text = "8.0.9"
	n := node("w", "")
	n.Env["LOADED"] = strings.Join(paths, ":")
	running(t, l, n)
	recorded(t, l, "w")
	now := *l.zeek()
	now.text = "8.0.10"
	l.install.Store(&now)
	if diff := cmp.Diff(map[string][]string{"w": {"Zeek 8.0.9 (now 8.0.10)"}}, scanned(t, l)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, path := range paths {
		write(t, path, "changed")
	}
	got := scanned(t, l)["w"]
	if len(got) != 101 || got[0] != "Zeek 8.0.9 (now 8.0.10)" || got[100] != "and 6 more" {
		t.Errorf("got %d: %q", len(got), got)
	}
}
