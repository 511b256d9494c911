package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPreflightReportsEverything checks that the first start of an agent reports all that
// is missing.
func TestPreflightReportsEverything(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, stderr, code := call(t.Context(), "agent", "--state-dir", filepath.Join(file, "state"), "--listen", l.Addr().String(), "--archive-dir", file)
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	want := []string{
		"error: state directory " + file + "/state: " + file + " is not a directory; choose another one with --state-dir DIR",
		"error: archive " + file + ": " + file + " is not a directory; choose another one with --archive-dir DIR",
		"error: cannot listen for nodes and controllers at " + l.Addr().String() + ": the port is in use",
		`error: zeek program "zeek": executable file not found in $PATH; install Zeek, or name its program with --zeek PATH`,
	}
	if code != 1 || len(lines) != len(want) {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("got %q, want %q", line, want[i])
		}
	}
}

// TestPreflightDirectories checks what is said about a directory that cannot be created,
// and that services start on full and read-only file systems.
func TestPreflightDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, tt := range []struct {
		denied error
		want   string // "" for no error
	}{
		{nil, ""},
		{syscall.EROFS, ""},
		{syscall.ENOSPC, ""},
		{syscall.EACCES, "state directory " + dir + `: permission denied; choose another one with --state-dir DIR, or run "install -d -o ` + userName() + " " + dir + `" as root`},
	} {
		p := preflight{denied: func(string) error { return tt.denied }}
		p.directory("state directory", dir, "--state-dir DIR")
		err := p.err()
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%v: %v, want %q", tt.denied, err, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Error("the check created a directory")
	}
}

// TestDemoReportsWhatIsMissing checks the errors of a demonstration without Zeek.
func TestDemoReportsWhatIsMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", file)
	_, stderr, code := call(t.Context(), "demo", "--zeek", "/nonexistent/zeek")
	want := `error: zeek program "/nonexistent/zeek": no such file or directory; install Zeek, or name its program with --zeek PATH; without --zeek, the nodes are simulated` + "\n" +
		"error: directory of temporary files " + file + ": " + file + " is not a directory; choose another one with the variable TMPDIR\n"
	if code != 1 || stderr != want {
		t.Errorf("exit code %d, %q, want %q", code, stderr, want)
	}
}

// TestShortcomings checks the warning about a low limit of open files.
func TestShortcomings(t *testing.T) {
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 512, Max: usual.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &usual)
	if found := shortcomings(); len(found) == 0 || !strings.Contains(found[0], "only 512 files may be open") {
		t.Errorf("got %q", found)
	}
}
