package supervised

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// begin starts a program with that name, and a child of it.
func begin(t *testing.T, program string) (pid int) {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	name := filepath.Join(t.TempDir(), program)
	if err := os.Symlink(shell, name); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: name, Args: []string{"sh", "-c", "sleep 1000 & echo $!; wait"}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := make([]byte, 100)
	n, err := out.Read(child)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("kill", string(child[:n-1])).Run()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// What a node uses is that of its process, if it is one of a node, and of what
// that has started.
func TestOwners(t *testing.T) {
	nodes := map[int]string{
		begin(t, "zeek.w"):          "w",
		begin(t, "zeek.a-long-nam"): "a-long-name",
		begin(t, "something-else"):  "x",
	}
	var meter proc.Meter
	got := meter.Read(time.Now(), owners(nodes))
	if len(got) != 2 || got["w"].Memory == 0 || got["a-long-name"].Memory == 0 {
		t.Errorf("nodes use %+v", got)
	}
	processes := 0
	of := owners(nodes)
	if err := proc.Each(func(pid int, s proc.Stat) {
		if of(pid, s) == "w" {
			processes++
		}
	}); err != nil || processes != 2 {
		t.Errorf("w has %d processes, %v, want itself and its child", processes, err)
	}
}
