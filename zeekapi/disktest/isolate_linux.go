package disktest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// isolated is the environment variable of a process with a mount namespace of its own.
// Its value is the reason if that could not be made.
const isolated = "ZEEKWIRE_TEST_ISOLATED"

const inNamespace = "yes"

// Isolated reports whether a test runs in a process with a mount namespace of its own,
// in which New can mount disks. If not, it runs the test again in such a process and
// reports the result, and the test must return. It skips the test if no such process
// can be made. The test must not be a subtest.
func Isolated(t *testing.T) bool {
	t.Helper()
	switch os.Getenv(isolated) {
	case "":
	case inNamespace:
		hideMounts()
		return true
	default:
		return true // New skips the test
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	var output strings.Builder
	err := again(args, &output, &output)
	text := said(output.String())
	switch {
	case errors.Is(err, errNoNamespace):
		t.Skip(notTested(err.Error()))
	case err != nil:
		t.Errorf("in a mount namespace: %v\n%s", err, output.String())
	case strings.Contains(output.String(), "--- SKIP: "):
		t.Skip(text)
	case !strings.Contains(output.String(), "--- PASS: "+t.Name()+" "):
		t.Errorf("did not run in a mount namespace:\n%s", output.String())
	case text != "":
		t.Log(text)
	}
	return false
}

// said returns the output of a test without the lines of its runner.
func said(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") && line != "PASS\n" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func notTested(reason string) string { return "NOT TESTED WITH A DISK OF ITS OWN: " + reason }

// Main is for packages most of whose tests need disks. It runs all tests of the package in
// a process with a mount namespace of its own, or without if that cannot be made, and
// returns the exit status. Tests do not call Isolated then.
func Main(run func() int) int {
	if os.Getenv(isolated) != "" {
		hideMounts()
		return run()
	}
	err := again(os.Args[1:], os.Stdout, os.Stderr)
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		return failed.ExitCode()
	}
	_ = os.Setenv(isolated, err.Error()) // it is a valid name
	return run()
}

var errNoNamespace = errors.New("neither root's nor a user's mount namespace can be made")

// again runs the program of this process in a mount namespace, as root or in a user
// namespace. It ends with this process.
func again(args []string, stdout, stderr io.Writer) error {
	runtime.LockOSThread() // the process ends with this thread
	defer runtime.UnlockOSThread()
	mapped := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{HostID: id, ContainerID: id, Size: 1}}
	}
	// Variables that this process has set since its start may be for other programs.
	began, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return err
	}
	environment := strings.FieldsFunc(string(began), func(r rune) bool { return r == 0 })
	var failed error
	for _, attr := range []syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNS},
		{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: mapped(os.Getuid()), GidMappings: mapped(os.Getgid()),
			AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}, // without it, only user 0 may mount
		},
	} {
		attr.Pdeathsig = syscall.SIGKILL
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(environment, isolated+"="+inNamespace)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
		cmd.SysProcAttr = &attr
		if failed = cmd.Start(); failed == nil {
			return cmd.Wait()
		}
	}
	return fmt.Errorf("%w: %w", errNoNamespace, failed)
}

// hideMounts makes the mounts of this process invisible elsewhere.
var hideMounts = sync.OnceFunc(func() {
	if os.Getenv(isolated) != inNamespace {
		return
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		_ = os.Setenv(isolated, fmt.Sprintf("mounts cannot be hidden: %v", err))
	}
})
