package zeek

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Only directories of nodes that are not needed, do not run and have not changed recently
// are leftovers, and core files of all nodes of the instance.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	l := start(t, Config{Instance: "i"})
	running(t, l, node("runs", ""))
	old := time.Now().Add(-2 * time.Hour)
	add := func(changed time.Time, path, text string) {
		t.Helper()
		path = filepath.Join(l.config.StateDir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for dir := path; dir != l.nodesDir() && dir != l.config.StateDir; dir = filepath.Dir(dir) {
			if err := os.Chtimes(dir, changed, changed); err != nil {
				t.Fatal(err)
			}
		}
	}
	ours, theirs := layoutTitle("i")+"\n", layoutTitle("i2")+"\n"
	for _, name := range []string{"gone", "stopped", "logs", "noted"} {
		add(old, "nodes/"+name+"/"+layoutFile, ours)
	}
	add(old, "nodes/logs/conn.log", "a record")
	add(old, "nodes/noted/"+noteFile, "{}")
	add(old, "nodes/stopped/core.7", "ELF")
	add(time.Now(), "nodes/fresh/"+layoutFile, ours)
	add(old, "nodes/theirs/"+layoutFile, theirs)
	add(old, "nodes/agent/state.json", "{}")
	add(old, "nodes/"+removedPrefix+"before/x", "four")
	add(old, "crashes/gone/1/report.json", "{}")
	add(old, "crashes/vanished/1/report.json", "{}")
	add(old, "crashes/stopped/1/report.json", "{}")
	add(old, "crashes/theirs/1/report.json", "{}")
	add(old, "crashes/fresh/1/report.json", "{}")
	add(time.Now(), "crashes/fresh/2/report.json", "{}")
	add(old, "checks/i/1/x", "five!")
	add(old, "checks/i2/1/x", "five!")
	add(old, "nodes/runs/core", "ELF")

	needed := func(name string) bool { return name == "stopped" || name == "runs" }
	before := time.Now().Add(-time.Hour)
	shown := func(all []zeekapi.Leftover) (list []string) {
		for _, o := range all {
			text := o.Kind + " " + strings.TrimPrefix(o.Path, l.config.StateDir+"/")
			if o.Error != "" {
				text += ": " + o.Error
			}
			list = append(list, text)
		}
		slices.Sort(list)
		return list
	}
	found := l.Leftovers(needed, before)
	logs := "node nodes/logs: has logs that were not archived, such as conn.log; keep what you need and remove the directory"
	want := []string{"check checks/i/1", "core nodes/runs/core", "core nodes/stopped/core.7", "crash crashes/gone", "crash crashes/vanished", "node nodes/.removed-before", "node nodes/gone", logs}
	if got := shown(found); !slices.Equal(got, want) {
		t.Errorf("leftovers %q\nwant %q", got, want)
	}
	for _, o := range found {
		if o.Error != "" {
			continue
		}
		if o.Bytes == 0 || o.Since.After(before) {
			t.Errorf("%+v", o)
		}
		if err := l.Remove(o, needed, before); err != nil {
			t.Error(err)
		}
	}
	if got := shown(l.Leftovers(needed, before)); !slices.Equal(got, []string{logs}) {
		t.Errorf("left after the removal: %q", got)
	}
	gone := zeekapi.Leftover{Path: l.nodeDir("stopped"), Kind: zeekapi.LeftoverNode}
	if err := l.Remove(gone, needed, before); !errors.Is(err, errNeeded) {
		t.Errorf("removing the directory of a node that is needed: %v", err)
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	l := start(t, Config{Instance: "i"})
	n := node("worker", "")
	n.Scripts = []string{"local.zeek"}
	n.Env["LOADED"] = "/opt/a.zeek:/opt/b.zeek"
	running(t, l, n)
	if err := os.WriteFile(filepath.Join(l.nodeDir("worker"), "reporter.log"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := l.Diagnose("worker", 4)
	facts := make(map[string]string)
	for _, f := range d.Facts {
		facts[f.Name] = f.Value
	}
	if !strings.Contains(facts["arguments"], "local.zeek") || facts["process"] == "none" || facts["directory"] != l.nodeDir("worker") {
		t.Errorf("facts %v", facts)
	}
	if !slices.Equal(d.Scripts, []string{"/opt/a.zeek", "/opt/b.zeek"}) {
		t.Errorf("scripts %q", d.Scripts)
	}
	if i := slices.IndexFunc(d.Files, func(f zeekapi.NodeFile) bool { return f.Name == "reporter.log" }); i < 0 || d.Files[i].Data != "6789" || d.Files[i].Size != 10 {
		t.Errorf("files %+v", d.Files)
	}
	if !strings.Contains(d.Limits, "Max open files") {
		t.Errorf("limits %q", d.Limits)
	}

	d = l.Diagnose("never", 4)
	if len(d.Scripts)+len(d.Files) > 0 || !strings.Contains(d.Limits, "Max open files") {
		t.Errorf("diagnosis of a node that was never started: %+v", d)
	}
	l.Stop("worker")
	next[launch.Exited](t, l)
}
