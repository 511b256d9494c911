package zeek

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// syncBuffer is a buffer that several goroutines may use.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// of returns a node of an instance.
func of(instance string, n launch.Node) launch.Node {
	n.Instance = instance
	return n
}

// TestLaunchersShareStateDirectory checks that launchers of two instances leave each
// other's nodes alone, also if one of the launchers is away.
func TestLaunchersShareStateDirectory(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	dir := t.TempDir()
	i, j := Config{StateDir: dir, Instance: "i", Log: zerolog.New(&log)}, Config{StateDir: dir, Instance: "j"}
	first, second := start(t, i), start(t, j)
	ours := running(t, first, of("i", node("a", "leave a child")))
	others := running(t, second, of("j", node("b", "leave a child")))

	first.Leave()
	first = start(t, i)
	if found := first.Running(); len(found) != 1 || found[0].PID != int64(ours) {
		t.Errorf("found %+v", found)
	}
	if text := log.String(); strings.Contains(text, "without its agent") {
		t.Errorf("unexpected log: %s", text)
	}

	// A node must not lose its directory to another while its launcher is away.
	second.Leave()
	first.Leave()
	first = start(t, i)
	if !strings.Contains(log.String(), "without its agent") {
		t.Errorf("log is %s", log.String())
	}
	if found := first.Running(); len(found) != 1 || !alive(ours) || !alive(others) {
		t.Errorf("found %+v, alive: %v, %v", found, alive(ours), alive(others))
	}
	first.Start(of("i", node("b", "")))
	if got := next[launch.Exited](t, first); got.Err == nil || !strings.Contains(got.Err.Error(), fmt.Sprintf("belongs to a node of j, which runs without its agent: start that agent, or end process %d", others)) {
		t.Errorf("%+v", got)
	}

	second = start(t, j)
	if found := second.Running(); len(found) != 1 || found[0].PID != int64(others) {
		t.Errorf("found %+v", found)
	}
	second.Stop("b")
	next[launch.Exited](t, second)
	first.Start(of("i", node("b", "")))
	next[launch.Started](t, first)
}

// TestNodesOfTwoInstancesWithTheSameName checks that the second one does not start.
func TestNodesOfTwoInstancesWithTheSameName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := start(t, Config{StateDir: dir, Instance: "i"}), start(t, Config{StateDir: dir, Instance: "j"})
	pid := running(t, first, of("i", node("worker", "")))
	const want = "belongs to a node of i with the same name"
	n := of("j", node("worker", ""))
	second.Check([]launch.Node{n}, true)
	if got := next[launch.Checked](t, second); got.Err == nil || !strings.Contains(got.Err.Error(), want) {
		t.Errorf("check: %v", got.Err)
	}
	second.Start(n)
	if got := next[launch.Exited](t, second); got.Err == nil || !strings.Contains(got.Err.Error(), want) {
		t.Errorf("start: %v", got.Err)
	}
	if out := first.lastOutputs("worker").Stdout; out != "ready\n" || !alive(pid) {
		t.Errorf("the output of the first node is %q, alive: %v", out, alive(pid))
	}
	first.Check([]launch.Node{of("i", node("worker", ""))}, true)
	if got := next[launch.Checked](t, first); got.Err != nil {
		t.Errorf("check of the first node: %v", got.Err)
	}

	first.Stop("worker")
	next[launch.Exited](t, first)
	second.Start(n)
	next[launch.Started](t, second)
}
