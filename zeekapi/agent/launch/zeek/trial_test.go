package zeek

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// trialOf returns the errors of a trial, by name.
func trialOf(t *testing.T, l *Launcher, nodes ...launch.Node) map[string]string {
	t.Helper()
	l.Check(nodes, true)
	wrong := make(map[string]string)
	for range nodes {
		c := next[launch.Checked](t, l)
		if !c.Trial {
			t.Errorf("%s: not reported as a trial", c.Node.Name)
		}
		if c.Err != nil {
			wrong[c.Node.Name] = c.Err.Error()
		}
	}
	return wrong
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// counter returns the file in which nodes count their parses, and a function that returns
// the new lines in it.
func counter(t *testing.T) (file string, parses func() []string) {
	file = filepath.Join(t.TempDir(), "parses")
	seen := 0
	return file, func() []string {
		text, _ := os.ReadFile(file) // missing before the first parse
		lines := strings.Split(string(text), "\n")
		lines = lines[:len(lines)-1]
		defer func() { seen = len(lines) }()
		return lines[seen:]
	}
}

// A trial always parses, nodes that are alike once. Only a check within a short time after
// it relies on its result.
func TestParses(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	file, parses := counter(t)
	script := filepath.Join(t.TempDir(), "script.zeek")
	var nodes []launch.Node
	for _, name := range []string{"w1", "w2", "w3"} {
		n := node(name, "")
		n.Env["PARSES"] = file
		n.Interface = "lo"
		n.Scripts = []string{script}
		nodes = append(nodes, n)
	}
	nodes[1].Interface = ""
	for _, step := range []struct {
		what, text string
		check      func(*testing.T, *Launcher, ...launch.Node) map[string]string
		wrong      int
		want       int // parses
	}{
		{"new", "good", errorsOf, 0, 1},
		{"checked again", "", errorsOf, 0, 1},
		{"trial", "", trialOf, 0, 1},
		{"check after the trial", "", errorsOf, 0, 0},
		{"trial of the same", "", trialOf, 0, 1},
		{"check of an edited script", "syntax error", errorsOf, 3, 1},
		{"trial of it", "", trialOf, 3, 1},
		{"check after a trial that failed", "", errorsOf, 3, 1},
		{"mended", "good again", trialOf, 0, 1},
	} {
		if step.text != "" {
			write(t, script, step.text)
		}
		if wrong, n := step.check(t, l, nodes...), len(parses()); len(wrong) != step.wrong || n != step.want {
			t.Errorf("%s: %d parses, want %d; wrong is %v", step.what, n, step.want, wrong)
		}
	}
	l.parsed.mu.Lock()
	for key, at := range l.parsed.keys {
		l.parsed.keys[key] = at.Add(-parsedValid)
	}
	l.parsed.mu.Unlock()
	if errorsOf(t, l, nodes...); len(parses()) != 1 {
		t.Error("a trial counts for too long")
	}
	trialOf(t, l, nodes...)
	parses()
	nodes[0].Env = map[string]string{"PARSES": file, "MORE": "x"}
	nodes[1].Role, nodes[1].Port = zeekapi.RoleProxy, broker.TCP(1)
	if errorsOf(t, l, nodes...); len(parses()) != 2 {
		t.Error("the result of a trial counts for nodes that differ")
	}
}

// Zeek also loads the scripts of nodes that have none of their own.
func TestTrialParsesEveryKind(t *testing.T) {
	file, parses := counter(t)
	t.Setenv("PARSES", file)
	l := start(t, Config{})
	var nodes []launch.Node
	for i, role := range []zeekapi.ClusterRole{zeekapi.RoleManager, zeekapi.RoleWorker, zeekapi.RoleWorker} {
		n := node(fmt.Sprint("n", i), "")
		n.Role, n.Port, n.Env = role, broker.TCP(uint16(1+i)), nil
		n.Layout, _ = zeekapi.NewLayout([]zeekapi.Member{{Name: n.Name, Role: role, Port: n.Port}})
		nodes = append(nodes, n)
	}
	if wrong := errorsOf(t, l, nodes...); len(wrong) != 0 || len(parses()) != 0 {
		t.Errorf("a check parses them, or refuses: %v", wrong)
	}
	if wrong := trialOf(t, l, nodes...); len(wrong) != 0 || len(parses()) != 2 {
		t.Errorf("a trial parses not once per kind, or refuses: %v", wrong)
	}
}

// A trial reports all problems of a node.
func TestTrialReportsAllProblems(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.resources = resources{
		memory: func() (uint64, bool) { return 100 << 20, true },
		disk:   func(string) (disk, bool) { return disk{bytes: 63<<20 + 1, files: 1000}, true },
	}
	bad := filepath.Join(t.TempDir(), "bad.zeek")
	write(t, bad, "syntax error")
	n, cpu := node("worker", ""), int64(1<<40)
	n.Interface, n.Port, n.CPUAffinity, n.Scripts = "nosuchdev", listen(t), &cpu, []string{bad}
	got := strings.Split(trialOf(t, l, n, node("other", ""))["worker"], "\n")
	want := []string{
		"interface nosuchdev: no such network interface",
		"CPU 1099511627776 is not available",
		"port ",
		"memory: 2 nodes that do not run yet need at least 128 MiB, only 100 MiB are available",
		"directory " + l.nodeDir("worker") + ": only 63 MiB of disk space are free, want at least 64 MiB",
		"scripts do not load: error in bad.zeek, line 1: syntax error",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

// Nodes that run have their memory.
func TestTrialCountsMemory(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	l.resources.memory = func() (uint64, bool) { return minMemory, true }
	running(t, l, node("runs", ""))
	if wrong := trialOf(t, l, node("runs", ""), node("new", "")); len(wrong) != 0 {
		t.Error(wrong)
	}
	l.resources.memory = func() (uint64, bool) { return 0, false }
	if wrong := trialOf(t, l, node("new", "")); len(wrong) != 0 {
		t.Errorf("unknown memory: %v", wrong)
	}
}

func TestTrialOfDirectories(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	write(t, l.nodeDir("file"), "")
	if err := os.Symlink("/nonexistent/directory", l.nodeDir("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(l.nodeDir("good"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"file": fmt.Sprintf("directory %[1]s: %[1]s is not a directory", l.nodeDir("file")),
		"link": fmt.Sprintf("directory %[1]s: stat %[1]s: no such file or directory", l.nodeDir("link")),
	}
	if diff := cmp.Diff(want, trialOf(t, l, node("file", ""), node("link", ""), node("good", ""), node("new", ""))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l.resources.disk = func(string) (disk, bool) { return disk{bytes: minDisk, files: 3}, true }
	want = map[string]string{"new": "directory " + l.nodeDir("new") + ": the file system can hold only 3 more files, want at least 64"}
	if diff := cmp.Diff(want, trialOf(t, l, node("new", ""))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := os.Stat(l.nodeDir("new")); err == nil {
		t.Error("the trial has created a directory")
	}
}

// Scripts that do not load in time have not passed.
func TestTrialThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	l := start(t, Config{CheckTimeout: 4 * time.Second})
	for range cap(l.trials) - 1 {
		l.trials <- struct{}{}
	}
	other := node("other", "hang")
	other.Env["MORE"] = "x"
	wrong := trialOf(t, l, node("worker", "hang"), other)
	var loading, waiting int
	for _, text := range wrong {
		switch text {
		case "its scripts were still loading after 4s; raise the agent's setting check-timeout":
			loading++
		case "its scripts could not be loaded within 4s, as other scripts were still loading; raise the agent's setting check-timeout":
			waiting++
		}
	}
	if loading != 1 || waiting != 1 {
		t.Error(wrong)
	}
	if _, err := newLauncher(t.Context(), Config{StateDir: t.TempDir(), CheckTimeout: -1}, installation{}); err == nil {
		t.Error("accepted a negative timeout")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c := l.trial(ctx, []launch.Node{node("worker", "")}); c[0].Err == nil {
		t.Error("passed while the agent was ending")
	}
}

// A trial runs the program, also if it is the same as before.
func TestTrialOfZeek(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	binary := filepath.Join(t.TempDir(), "zeek")
	l.zeek().binary = binary
	if got := trialOf(t, l, node("w", ""))["w"]; !strings.Contains(got, `no Zeek, see the agent's setting "zeek": stat `+binary) {
		t.Errorf("missing: %q", got)
	}
	for text, want := range map[string]string{
		"exit 1":                     "exit status 1",
		"echo something":             "no version in",
		"echo zeek version 4.2.0":    "is Zeek 4.2, want 5.0 or later",
		"echo zeek version 8.0.10":   "",
		"[ $1 = --version ] && exit": "no version in",
	} {
		if err := os.WriteFile(binary+".new", []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(binary+".new", binary); err != nil {
			t.Fatal(err)
		}
		c := l.trial(t.Context(), []launch.Node{node("w", "")})[0]
		if want == "" && c.Err != nil || want != "" && (c.Err == nil || !strings.Contains(c.Err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, c.Err, want)
		}
	}
}

// A site comes before the search path, and after the directory of the node.
func TestSite(t *testing.T) {
	t.Parallel()
	sites := t.TempDir()
	l := start(t, Config{SitesDir: sites})
	l.zeek().path, l.zeek().plugins = ".:/zeek", "/plugins"
	file, parses := counter(t)
	const plain, plugin = "aa01", "bb02"
	write(t, filepath.Join(sites, plain, "local.zeek"), "")
	write(t, filepath.Join(sites, plugin, "packages", "x", "__bro_plugin__"), "Some::Plugin")
	at := func(site string) launch.Node {
		n := node("w", "")
		n.Site, n.Env["PARSES"] = site, file
		return n
	}
	environment := func(n launch.Node) (path, plugins string) {
		for _, entry := range l.environ(n) {
			if value, ok := strings.CutPrefix(entry, "ZEEKPATH="); ok {
				path = value
			}
			if value, ok := strings.CutPrefix(entry, "ZEEK_PLUGIN_PATH="); ok {
				plugins = value
			}
		}
		return path, plugins
	}
	own := at(plugin)
	own.Env["ZEEKPATH"], own.Env["ZEEK_PLUGIN_PATH"] = "/own", "/own-plugins"
	for _, c := range []struct {
		n             launch.Node
		path, plugins string
	}{
		{at(""), ".:.:/zeek", ""},
		{at(plain), ".:" + sites + "/" + plain + ":.:/zeek", ""},
		{at(plugin), ".:" + sites + "/" + plugin + ":.:/zeek", sites + "/" + plugin + ":/plugins"},
		{own, ".:" + sites + "/" + plugin + ":/own", sites + "/" + plugin + ":/own-plugins"},
	} {
		path, plugins := environment(c.n)
		if path != c.path || plugins != c.plugins {
			t.Errorf("site %q: got %q, %q, want %q, %q", c.n.Site, path, plugins, c.path, c.plugins)
		}
		if wrong := trialOf(t, l, c.n); len(wrong) != 0 {
			t.Errorf("site %q: %v", c.n.Site, wrong)
		}
		want := ":.:" + strings.TrimPrefix(c.path, ".:") + " " + c.plugins
		if got := parses(); len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("site %q: parsed with %q, want %q", c.n.Site, got, want)
		}
	}

	running(t, l, at(plain))
	running(t, l, node("without", ""))
	l.Leave()
	if text, err := os.ReadFile(filepath.Join(l.nodeDir("without"), noteFile)); err != nil || strings.Contains(string(text), `"Site"`) {
		t.Errorf("note of a node without a site: %s, %v", text, err)
	}
	l = start(t, Config{SitesDir: sites, StateDir: l.config.StateDir})
	for _, r := range l.Running() {
		if want := map[string]string{"w": plain}[r.Node.Name]; r.Node.Site != want {
			t.Errorf("found node %s with site %q, want %q", r.Node.Name, r.Node.Site, want)
		}
		l.Stop(r.Node.Name)
		next[launch.Exited](t, l)
	}
	l.zeek().path = ".:/zeek"

	l.Start(at("cc03"))
	if got := next[launch.Exited](t, l); got.Err == nil || got.Err.Error() != "site cc03 is not on this machine" {
		t.Errorf("start with a missing site: %v", got.Err)
	}
	l.zeek().path = ""
	if got := errorsOf(t, l, at(plain))["w"]; !strings.Contains(got, "there is no zeek-config; set ZEEKPATH") {
		t.Errorf("without a known path: %q", got)
	}
	colon := start(t, Config{SitesDir: filepath.Join(t.TempDir(), "a:b")})
	colon.zeek().path = "/zeek"
	write(t, filepath.Join(colon.config.SitesDir, plain, "x"), "")
	if got := errorsOf(t, colon, at(plain))["w"]; !strings.Contains(got, "has a colon") {
		t.Errorf("with a colon: %q", got)
	}
}
