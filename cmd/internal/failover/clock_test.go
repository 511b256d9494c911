package failover

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clockFile is the environment variable with the name of the file that has the difference
// between the wall clock of a process and the one of the machine, in seconds.
const clockFile = "FAILOVER_CLOCK"

// stepCode is added to package time of the program. As when the clock of a machine is set,
// wall clocks change, and monotonic clocks do not.
const stepCode = `package time

import (
	"sync/atomic"
	"syscall"
)

// ahead is the difference in seconds.
var ahead atomic.Int64

func init() {
	path, _ := syscall.Getenv("` + clockFile + `")
	if path == "" {
		return
	}
	readStep(path)
	go func() {
		for {
			Sleep(20 * Millisecond)
			readStep(path)
		}
	}()
}

func readStep(path string) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	var buf [32]byte
	size, _ := syscall.Read(fd, buf[:])
	var n, sign int64 = 0, 1
	for _, c := range buf[:max(size, 0)] {
		switch {
		case c == '-':
			sign = -1
		case '0' <= c && c <= '9':
			n = 10*n + int64(c-'0')
		}
	}
	ahead.Store(sign * n)
}
`

// buildStepped builds the program with wall clocks that tests can set, and returns its path.
func buildStepped(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), read) != 1 {
		t.Fatal("package time of this version of Go reads the clock in another way")
	}
	clock := strings.Replace(string(text), read, read+"\tsec += ahead.Load()\n", 1)
	overlay := map[string]map[string]string{"Replace": {}}
	for name, code := range map[string]string{"time.go": clock, "step.go": stepCode} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(source, name)] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "zeekwire")
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, "github.com/zeekwire/zeekwire/cmd/zeekwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building zeekwire: %v\n%s", err, out)
	}
	return path
}

// clockOfAgent is the number of the clock of an agent. The controllers have the numbers before.
const clockOfAgent = members

// clock is the file of the clock of a controller or an agent.
func (w *world) clock(number int) string {
	return filepath.Join(w.dir, fmt.Sprint("clock", number))
}

// setClock sets the wall clock of a controller or an agent to one that is ahead of the machine's.
func (w *world) setClock(number int, ahead time.Duration) {
	w.t.Helper()
	file := w.clock(number)
	if err := os.WriteFile(file+".new", fmt.Append(nil, int64(ahead/time.Second)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		w.t.Fatal(err)
	}
}
