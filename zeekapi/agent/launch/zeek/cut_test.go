package zeek

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Outputs returns output from before and after a cut.
func TestCutOutput(t *testing.T) {
	t.Parallel()
	l := start(t, Config{MaxOutput: 8000})
	dir := l.nodeDir("w")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := output(dir, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := f.Name()
	var all strings.Builder
	write := func(lines int) {
		t.Helper()
		var b strings.Builder
		for range lines {
			fmt.Fprintf(&b, "%09d\n", all.Len()/10+b.Len()/10)
		}
		all.WriteString(b.String())
		if _, err := f.WriteString(b.String()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(step string, size, limit, want int) {
		t.Helper()
		if err := l.cut(name); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != int64(size) {
			t.Errorf("%s: the file has %d bytes, want %d", step, info.Size(), size)
		}
		got, err := l.Outputs("w", limit)
		if want := all.String()[all.Len()-want:]; err != nil || got.Stdout != want {
			t.Errorf("%s: %d bytes read, %v, want the last %d", step, len(got.Stdout), err, len(want))
		}
	}
	write(800)
	check("at the limit", 8000, 20_000, 8000)
	write(1)
	check("cut", 0, 20_000, 1000)
	write(20)
	check("continued", 200, 20_000, 1200)
	check("limited read", 200, 600, 600)
	check("read of output after the cut", 200, 50, 50)
	write(900)
	check("cut again", 0, 20_000, 1000)

	again, err := output(dir, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if got, err := l.Outputs("w", 100); err != nil || got.Stdout != "" {
		t.Errorf("after a new start: %q, %v", got.Stdout, err)
	}
	if err := l.cut(filepath.Join(dir, "none")); err != nil {
		t.Errorf("missing file: %v", err)
	}
}

// The outputs of a node are cut while it runs, also after another launcher adopts it.
// The directory of the agent, which has the same parent as those of nodes, has no outputs.
func TestOutputsOfUnknownNode(t *testing.T) {
	t.Parallel()
	l := start(t, Config{})
	if err := os.MkdirAll(l.nodeDir("i"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"i", "unknown"} {
		if got, err := l.Outputs(name, 100); !errors.Is(err, launch.ErrNoOutputs) {
			t.Errorf("outputs of %s: %+v, %v", name, got, err)
		}
	}
}

func TestCutOutputsOfRunningNodes(t *testing.T) {
	t.Parallel()
	c := Config{StateDir: t.TempDir(), MaxOutput: 64 << 10}
	l := start(t, c)
	pid := running(t, l, node("w", "flood"))
	stdout := filepath.Join(l.nodeDir("w"), "stdout")
	awaitCut := func() {
		t.Helper()
		if err := os.Remove(stdout + cutSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if !poll(t.Context(), func() bool { _, err := os.Stat(stdout + cutSuffix); return err == nil }) {
			t.Fatal("not cut")
		}
	}
	awaitCut()
	l.Leave()

	l = start(t, c)
	awaitCut()
	if found := l.Running(); len(found) != 1 || found[0].PID != int64(pid) {
		t.Fatalf("found %+v, want process %d", found, pid)
	}
	if got, err := l.Outputs("w", 5000); err != nil || !strings.Contains(got.Stdout, "line ") {
		t.Errorf("output %q, %v", got.Stdout, err)
	}
	l.Close(context.Background())
}
