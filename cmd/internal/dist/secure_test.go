package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// machineCount is the number of machines of a secure cluster in the documents.
const machineCount = 3

// TestSecureCluster installs the package in three containers with systemd and makes a
// secure cluster of them, with the commands of docs/howto/install.md. The program in place
// of Zeek is that of TestPackage.
func TestSecureCluster(t *testing.T) {
	needWhole(t)
	if os.Geteuid() != 0 {
		t.Skip("making the root directories of containers needs root")
	}
	machines := t.TempDir()
	first := filepath.Join(machines, "sensor-1")
	newRoot(t, first)
	if err := os.Remove(filepath.Join(first, "etc/hostname")); err != nil { // that of this machine
		t.Fatal(err)
	}
	allowLogin(t, first)
	standIn(t, first)
	copyFile(t, releaseOf(t, presentVersion), "zeekwire_"+presentVersion[1:]+"-1_amd64.deb", makeDir(t, first, "root/test"))
	service(t, first, "network.service")
	for n := 2; n <= machineCount; n++ {
		command(t, "", "cp", "--archive", first, filepath.Join(machines, fmt.Sprint("sensor-", n)))
	}
	dir := filepath.Join(first, "root/test")
	rename(t, "testdata/secure.sh", filepath.Join(dir, "machine.sh"))
	rename(t, "testdata/secure.cfg", filepath.Join(dir, "cluster.cfg"))
	service(t, first, "test.service")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	script, err := filepath.Abs("testdata/machines.sh")
	if err != nil {
		t.Fatal(err)
	}
	boot := exec.CommandContext(ctx, "unshare", "--net", "sh", script, machines)
	boot.Cancel = func() error { return boot.Process.Signal(syscall.SIGTERM) }
	boot.WaitDelay = time.Minute
	out, err := boot.CombinedOutput()
	checkResult(t, dir, out, err)
}

// allowLogin lets root of each machine log in on the others, which have copies of its root
// directory, and so its key.
func allowLogin(t *testing.T, root string) {
	t.Helper()
	dir := makeDir(t, root, "root/.ssh")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "id_ed25519")
	command(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	rename(t, key+".pub", filepath.Join(dir, "authorized_keys"))
	const settings = "Host *\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
	if err := os.WriteFile(filepath.Join(root, "etc/ssh/ssh_config.d/test.conf"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
}

// service adds a unit of testdata to those that start with a container.
func service(t *testing.T, root, unit string) {
	t.Helper()
	units := filepath.Join(root, "etc/systemd/system")
	rename(t, filepath.Join("testdata", unit), filepath.Join(units, unit))
	if err := os.Symlink("../"+unit, filepath.Join(units, "multi-user.target.wants", unit)); err != nil {
		t.Fatal(err)
	}
}

// makeDir makes a directory in a root directory and returns its path.
func makeDir(t *testing.T, root, name string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rename copies a file under another name.
func rename(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
