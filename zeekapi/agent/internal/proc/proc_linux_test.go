package proc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// childVar is set in the environment of the child process of TestRead.
const childVar = "PROC_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		time.Sleep(time.Minute)
		return
	}
	os.Exit(m.Run())
}

// TestRead follows a process from its start until it has been reaped. Its name
// looks like other fields of its state.
func TestRead(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const name = "a) Z 1 (b"
	program := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	started, err := Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	if started.Name != name || started.Ended || started.Parent != os.Getpid() || started.Group != pid || started.StartTime == "" {
		t.Errorf("after the start: %+v", started)
	}
	if !listed(t, pid) {
		t.Error("Each does not list the process")
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := started
	for !ended.Ended {
		if ended, err = Read(pid); err != nil {
			t.Fatal(err)
		}
	}
	if ended.StartTime != started.StartTime {
		t.Errorf("the start time was %s and is %s", started.StartTime, ended.StartTime)
	}
	if listed(t, pid) {
		t.Error("Each lists a process that has ended")
	}

	_ = cmd.Wait() // it was killed
	if _, err := Read(pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the process was reaped: %v", err)
	}
}

func TestReadUsage(t *testing.T) {
	s, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if s.resident < 1<<20 {
		t.Errorf("the process has %d bytes of memory", s.resident)
	}
}

func listed(t *testing.T, pid int) bool {
	t.Helper()
	found := false
	if err := Each(func(p int, _ Stat) { found = found || p == pid }); err != nil {
		t.Fatal(err)
	}
	return found
}
