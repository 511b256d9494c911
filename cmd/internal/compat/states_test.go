package compat

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var record = flag.String("record", "", "record the state and output of the `VERSION` in the file \"versions\"")

// sensors are the agents of the recorded cluster. The last one does not know that
// its instance was removed.
var sensors = []string{"sensor-1", "sensor-2", "sensor-3"}

// queries are the commands whose output is recorded, by the names of their files.
var queries = map[string][]string{
	"staged":   {"get-config", "--as-json"},
	"deployed": {"get-config", "--as-json", "--deployed"},
	"first":    {"get-config", "--as-json", "--number", "1"},
	"history":  {"history"},
	"events":   {"events", "--limit", "1000"},
	"status":   {"status"},
	"nodes":    {"get-nodes"},
}

// TestRecord records the state of a version, when asked. A recorded state is never
// recorded again: it stands for the files that operators have.
func TestRecord(t *testing.T) {
	if *record == "" {
		t.Skip("records the state files of a version: -record VERSION")
	}
	all := versions(t)
	i := slices.IndexFunc(all, func(v version) bool { return v.name == *record })
	if i < 0 {
		t.Fatalf("%s is not in the file of versions", *record)
	}
	dir := filepath.Join(data, "states", *record)
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s exists", dir)
	}
	c := newCluster(t, all[i].former(t))
	for name, out := range c.live() {
		write(t, filepath.Join(dir, "want", name+".json"), []byte(out))
	}
	keep(t, c.dir, dir)
}

// live has the controller and the agents do everything of which they store
// something, ends them, and returns the output of the queries.
func (c *cluster) live() map[string]string {
	c.t.Helper()
	c.controller(c.client)
	for _, name := range sensors {
		c.agent(c.client, name)
	}
	c.do("deploy-config", "three.cfg")
	c.whereKnown("deploy-config", "site.cfg")
	c.stop("sensor-3")
	c.do("deploy-config", "two.cfg")
	c.whereKnown("stop", "worker-1")
	c.do("rolling-restart", "manager")
	c.do("drain", "sensor-2")
	c.do("stage-config", "staged.cfg")
	outputs := make(map[string]string)
	for name, args := range queries {
		if out, ok := c.whereKnown(args...); ok {
			outputs[name] = out
		}
	}
	for name := range c.running {
		c.stop(name)
	}
	return outputs
}

// whereKnown runs a command that old versions may lack, and reports whether this
// one has it.
func (c *cluster) whereKnown(args ...string) (string, bool) {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Logf("not recorded: %v", err)
	}
	return out, err == nil
}

// keep copies the state files of a cluster. Files of controllers are compressed,
// because they have a reserve of free pages.
func keep(t *testing.T, from, to string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(from), "state", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "lock") {
			return err
		}
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if filepath.Ext(name) == ".db" {
			var small bytes.Buffer
			w := gzip.NewWriter(&small)
			w.Write(content)
			w.Close()
			content, name = small.Bytes(), name+".gz"
		}
		write(t, filepath.Join(to, name), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// restore writes the recorded state of a version into the directory of a cluster.
func restore(t *testing.T, version, to string) {
	t.Helper()
	from := filepath.Join(data, "states", version)
	err := fs.WalkDir(os.DirFS(from), "state", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				return err
			}
			if content, err = io.ReadAll(r); err != nil {
				return err
			}
			name = strings.TrimSuffix(name, ".gz")
		}
		write(t, filepath.Join(to, name), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStates starts this version with the state files of earlier ones. It must know
// what they knew, and continue.
func TestStates(t *testing.T) {
	for _, v := range versions(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, present(t))
			restore(t, v.name, c.dir)
			wants := make(map[string]string)
			for name := range queries {
				want, err := os.ReadFile(filepath.Join(data, "states", v.name, "want", name+".json"))
				if err != nil {
					t.Fatal(err)
				}
				wants[name] = string(want)
			}
			c.continues(present(t), wants)
		})
	}
}

// TestDowngrade starts earlier versions with the state files of this one. As long as
// the formats are the same, they must know what this one knew.
func TestDowngrade(t *testing.T) {
	for _, v := range versions(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			former := v.former(t)
			c := newCluster(t, present(t))
			wants := c.live()
			delete(wants, "status") // has what the former version does not know
			delete(wants, "nodes")
			c.client = former
			c.continues(former, wants)
		})
	}
}

// continues starts services with the state of a cluster that has lived, and compares
// the output of the queries.
func (c *cluster) continues(p program, wants map[string]string) {
	c.t.Helper()
	c.controller(p)
	for _, name := range sensors {
		c.agent(p, name)
	}
	c.awaitText(`"manager"[^}]*"RUNNING"`, "get-nodes")
	for name, want := range wants {
		got := c.do(queries[name]...)
		if err := covers(decode(c.t, want), decode(c.t, got)); err != nil {
			c.t.Errorf("%s: %v\nwant\n%s\ngot\n%s", strings.Join(queries[name], " "), err, want, got)
		}
	}
	c.awaitFile(filepath.Join(c.state("sensor-3"), "nodes/sensor-3/agents/sensor-3.json"), `"assignment": null`)
	c.do("undrain", "sensor-2")
	c.awaitText(`"worker-2"[^}]*"RUNNING"`, "get-nodes")
	c.whereKnown("start", "--all")
	c.do("rollback") // to the configuration with all sensors, with its site
	c.awaitText(`"worker-3"[^}]*"RUNNING"`, "get-nodes")
	if strings.Contains(wants["first"], "sensor-3") == strings.Contains(c.do("get-config", "--as-json", "--deployed"), "eth1") {
		c.t.Error("the rollback did not deploy the former configuration")
	}
}

// TestUnreadableStates checks that services refuse state files that are damaged, or
// of a later format, and say which file, what is wrong, and how to proceed.
func TestUnreadableStates(t *testing.T) {
	const (
		ofController = "controller/nodes/controller/controller.db"
		ofAgent      = "sensor-1/nodes/sensor-1/agents/sensor-1.json"
	)
	for _, tt := range []struct {
		name, service, file string
		change              func(content []byte) []byte
		want                string
	}{
		{"damaged controller", "controller", ofController, func(b []byte) []byte { clear(b[:len(b)/2]); return b },
			"the file is damaged; restore it from a copy, or move it away to begin anew"},
		{"later controller", "controller", ofController, newSchema,
			`schema is "3", and this program reads up to "2": install the version that wrote it, or a later one`},
		{"damaged agent", "agent", ofAgent, func(b []byte) []byte { return b[:len(b)/2] },
			"the file is damaged; restore it from a copy, or move it away to begin without nodes"},
		{"later agent", "agent", ofAgent, func(b []byte) []byte { return bytes.Replace(b, []byte(`"version": 3`), []byte(`"version": 4`), 1) },
			"has version 4, and this program reads 1 to 3: install the version that wrote it, or a later one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			restore(t, versions(t)[0].name, dir)
			file := filepath.Join(dir, "state", tt.file)
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := tt.change(slices.Clone(content))
			if bytes.Equal(content, changed) {
				t.Fatal("the file has not changed")
			}
			write(t, file, changed)
			name, _, _ := strings.Cut(tt.file, "/")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, string(present(t)), tt.service, "--name", name, "--state-dir", filepath.Join(dir, "state", name), "--listen", peertest.FreeAddress(t))
			cmd.Env = append(os.Environ(), "ZEEKWIRE_AGENT_LAUNCHER=simulated")
			out, err := cmd.CombinedOutput()
			if ctx.Err() != nil {
				t.Errorf("the service did not end")
			}
			if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), file) {
				t.Errorf("%v\n%s\nwant the file and %q", err, out, tt.want)
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, changed) {
				t.Errorf("the refused file was changed: %v", err)
			}
		})
	}
}

// TestUnreadableHistory checks that an agent starts without the history of its nodes if that is
// of a later format, and says so: only clients see the history.
func TestUnreadableHistory(t *testing.T) {
	c := newCluster(t, present(t))
	restore(t, versions(t)[0].name, c.dir)
	file := filepath.Join(c.state("sensor-1"), "nodes/sensor-1/agent-nodes/sensor-1.json")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(content, []byte(`"version": 1`), []byte(`"version": 2`), 1)
	if bytes.Equal(content, changed) {
		t.Fatal("the file has not changed")
	}
	write(t, file, changed)
	c.start(present(t), "sensor-1", "agent", "--listen", peertest.FreeAddress(t), "--launcher", "simulated")
	for _, text := range []string{
		"the history of nodes under an earlier agent is lost",
		file + " has version 2, and this program reads 1: install the version that wrote it, or a later one",
		"new=RUNNING node=manager",
	} {
		c.awaitFile(c.log("sensor-1"), text)
	}
}

// newSchema changes the schema of a controller's file, with its first letter 3.
func newSchema(content []byte) []byte {
	at := bytes.Index(content, []byte("schema2"))
	for ; at >= 0 && at < len(content); at++ {
		if bytes.HasPrefix(content[at:], []byte("schema2")) {
			content[at+len("schema")] = '3'
		}
	}
	return content
}

// awaitFile waits until a file contains a text.
func (c *cluster) awaitFile(name, text string) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		content, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(content), text) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s does not contain %s: %v\n%s", name, text, err, content)
		}
	}
}

// volatile are keys whose values a restart changes.
var volatile = []string{"pid", "since", "started", "version", "exposure", "dialects", "ready", "sensor-3"}

// covers returns an error unless a value of JSON has all that another one has. Lists
// may have additional elements.
func covers(want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("want an object, got %v", got)
		}
		for key, value := range want {
			if slices.Contains(volatile, key) {
				continue
			}
			if err := covers(value, got[key]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	case []any:
		got, _ := got.([]any)
		for _, value := range want {
			if !slices.ContainsFunc(got, func(other any) bool { return covers(value, other) == nil }) {
				return fmt.Errorf("no element %v", value)
			}
		}
	default:
		if want != got {
			return fmt.Errorf("want %v, got %v", want, got)
		}
	}
	return nil
}
