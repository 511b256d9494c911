package faults

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// isolated is the environment variable of a process with a mount namespace of its own.
// Its value is the reason if that could not be made.
const isolated = "ZEEKWIRE_TEST_ISOLATED"

const inNamespace = "yes"

// binaries is the directory for built binaries.
var binaries string

func TestMain(m *testing.M) {
	if os.Getenv(isolated) == "" {
		os.Exit(isolate())
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if os.Getenv(isolated) == inNamespace {
		// Mounts must not be seen elsewhere.
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			os.Setenv(isolated, err.Error())
		}
	}
	var err error
	if binaries, err = os.MkdirTemp("", "zeekwire-faults"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	code := m.Run()
	printTable()
	return code
}

// isolate runs the tests in a mount namespace, as root or in a user namespace, or if
// neither is permitted, without one.
func isolate() int {
	runtime.LockOSThread() // the child ends with this thread
	mapped := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	user := syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: mapped(os.Getuid()), GidMappings: mapped(os.Getgid()),
	}
	reason := ""
	for _, attr := range []syscall.SysProcAttr{{Cloneflags: syscall.CLONE_NEWNS}, user, {}} {
		value := inNamespace
		if attr.Cloneflags == 0 {
			value = reason
		}
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), isolated+"="+value)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		attr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr = &attr
		if err := cmd.Start(); err != nil {
			reason = err.Error()
			continue
		}
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
	fmt.Fprintln(os.Stderr, reason)
	return 1
}

// disk is a file system of its own.
type disk struct {
	t   *testing.T
	dir string
}

// newDisk mounts a file system with 8 MiB and 200 inodes.
func newDisk(t *testing.T) *disk {
	t.Helper()
	if reason := os.Getenv(isolated); reason != inNamespace {
		t.Skipf("NOT TESTED WITH A DISK OF ITS OWN: neither root's nor a user's mount namespace can be made: %s", reason)
	}
	d := &disk{t, t.TempDir()}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size=8m,nr_inodes=200"); err != nil {
		t.Skipf("NOT TESTED WITH A DISK OF ITS OWN, which cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves no room. The returned function frees it.
func (d *disk) fill() (free func()) {
	d.t.Helper()
	name := d.dir + "/ballast"
	f, err := os.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() { os.Remove(name) }
}

// useInodes leaves no inode. The returned function frees them.
func (d *disk) useInodes() (free func()) {
	var names []string
	for {
		name := fmt.Sprint(d.dir, "/inode", len(names))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			break
		}
		names = append(names, name)
	}
	return func() {
		for _, name := range names {
			os.Remove(name)
		}
	}
}

// setReadOnly makes the file system read-only, or writable. No file may be open for
// writing.
func (d *disk) setReadOnly(on bool) {
	d.t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if on {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", flags, ""); err != nil {
		d.t.Fatal(err)
	}
}
