package crashes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

var epoch = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func crash(dir string, minute int) Crash {
	return Crash{
		CrashReport: zeekapi.CrashReport{
			Node: "w", Time: epoch.Add(time.Duration(minute) * time.Minute), PID: 4711, Reason: "signal: segmentation fault", Signal: 11, Code: -1,
			Stderr: "oops\n", Zeek: "8.0.10",
		},
		Dir: dir, Program: "/does/not/exist", Started: epoch,
	}
}

// The last ten reports of each node are kept, and only the last core file.
func TestStore(t *testing.T) {
	dir, node := t.TempDir(), t.TempDir()
	s := Open(dir, zerolog.Nop())
	s.core = coreDumps{pattern: "core.%p"}
	for i := range Kept + 5 {
		if err := os.WriteFile(filepath.Join(node, "core.4711"), []byte(fmt.Sprint(i)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Add(crash(node, i))
	}
	reports := s.List("w")
	if len(reports) != Kept || !reports[0].Time.After(reports[1].Time) || reports[0].Runtime != 14*time.Minute {
		t.Fatalf("%d reports, the first is %+v", len(reports), reports[0])
	}
	if r := reports[0]; r.Node != "w" || r.Signal != 11 || r.Stderr != "oops\n" || r.Core == "" {
		t.Errorf("the report is %+v", r)
	}
	if b, err := os.ReadFile(reports[0].Core); string(b) != "14" {
		t.Errorf("the core file has %q, %v", b, err)
	}
	for _, r := range reports[1:] {
		if r.Core != "" {
			t.Errorf("an older report has the core file %s", r.Core)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(node, "*")); len(left) > 0 {
		t.Errorf("%q are left in the directory of the node", left)
	}
	for _, name := range []string{"other", "", "..", "../w", "."} {
		if n := len(s.List(name)); n != 0 {
			t.Errorf("%q has %d reports", name, n)
		}
	}
}

// A disk without space, or a directory that cannot be written, loses a report and nothing else.
func TestStoreFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Open(filepath.Join(file, "crashes"), zerolog.Nop())
	s.Add(crash(t.TempDir(), 0))(t.Context())
	if n := len(s.List("w")); n != 0 {
		t.Errorf("%d reports", n)
	}
}

// What is damaged in the directory is ignored.
func TestDamagedReports(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, zerolog.Nop())
	s.core = coreDumps{}
	for i := range 3 {
		s.Add(crash(t.TempDir(), i))
	}
	names := s.names("w")
	if err := os.WriteFile(filepath.Join(dir, "w", names[1], reportFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "w", "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := len(s.List("w")); n != 2 {
		t.Errorf("%d reports, want 2", n)
	}
}

func TestFindCore(t *testing.T) {
	node, other := filepath.Join(t.TempDir(), "a[b]*"), t.TempDir()
	if err := os.Mkdir(node, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		filepath.Join(node, "core"), filepath.Join(node, "core.4711"), filepath.Join(node, "core.47"), filepath.Join(node, "zeek-w-4711-x"),
		filepath.Join(other, "core-zeek-4711"), filepath.Join(other, "core-zeek-4712"),
	} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		dumps coreDumps
		want  dump
	}{
		{coreDumps{"core", false}, dump{file: filepath.Join(node, "core"), inNode: true}},
		{coreDumps{"core", true}, dump{file: filepath.Join(node, "core.4711"), inNode: true}},
		{coreDumps{"core.%p", true}, dump{file: filepath.Join(node, "core.4711"), inNode: true}},
		{coreDumps{"%e-w-%p-%t", false}, dump{file: filepath.Join(node, "zeek-w-4711-x"), inNode: true}},
		{coreDumps{other + "/core-%e-%p", false}, dump{file: filepath.Join(other, "core-zeek-4711")}},
		{coreDumps{"missing", false}, dump{inNode: true}},
		{coreDumps{"|/usr/lib/systemd/systemd-coredump %P %u", false}, dump{systemd: true}},
		{coreDumps{"|/usr/share/apport/apport %p", false}, dump{}},
		{coreDumps{"", false}, dump{}},
	} {
		c := crash(node, 0)
		if got := tt.dumps.find(c); got != tt.want {
			t.Errorf("pattern %q: %+v, want %+v", tt.dumps.pattern, got, tt.want)
		}
	}
	c := crash(node, 0)
	c.Started = time.Now().Add(time.Hour)
	if got := (coreDumps{"core", false}).find(c); got.file != "" {
		t.Errorf("an older core file: %+v", got)
	}
	c.Signal = 0
	if got := (coreDumps{"core.%p", false}).find(c); got != (dump{}) {
		t.Errorf("without a signal: %+v", got)
	}
}

// gdb makes a backtrace of the core file of a real process.
func TestBacktrace(t *testing.T) {
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Skip("gdb is not installed")
	}
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep program")
	}
	cmd := exec.Command(sleep, "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := cmd.Process.Pid
	made, err := exec.Command(gdb, "-nx", "-batch", "-p", fmt.Sprint(pid), "-ex", "generate-core-file "+filepath.Join(dir, "core")).CombinedOutput()
	if _, statErr := os.Stat(filepath.Join(dir, "core")); statErr != nil {
		t.Skipf("gdb cannot make a core file here: %v: %s", err, made)
	}
	s := Open(t.TempDir(), zerolog.Nop())
	s.core = coreDumps{pattern: "core"}
	c := crash(dir, 0)
	c.Program, c.Started = sleep, time.Time{}
	complete := s.Add(c)
	if r := s.List("w"); len(r) != 1 || r[0].Backtrace != "" || r[0].Core == "" {
		t.Fatalf("before the backtrace: %+v", r)
	}
	complete(t.Context())
	if got := s.List("w")[0].Backtrace; !strings.Contains(got, "Thread 1") || !strings.Contains(got, "#0") {
		t.Errorf("the backtrace is %q", got)
	}
}

func TestNoBacktrace(t *testing.T) {
	if got := output(t.Context(), "no-such-program"); !strings.Contains(got, "no-such-program is not installed") {
		t.Errorf("without the program: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := output(ctx, "sleep", "1000"); !strings.Contains(got, "took too long") {
		t.Errorf("with a context that has ended: %q", got)
	}
	if got := output(t.Context(), "false"); !strings.Contains(got, "no backtrace: false: exit status 1") {
		t.Errorf("a program that fails: %q", got)
	}
}
