package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRPM installs, upgrades and removes the rpm in a root directory that has only
// Debian's packages, with its scripts. TestPackage has a machine that runs.
func TestRPM(t *testing.T) {
	needWhole(t)
	if os.Geteuid() != 0 {
		t.Skip("changing the root directory needs root")
	}
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("there is no rpm")
	}
	root := filepath.Join(t.TempDir(), "root")
	newRoot(t, root)
	rpm := func(args ...string) string {
		t.Helper()
		// Debian's packages are not in the database of rpm, so that nothing provides
		// what the package depends on. The scripts need /proc.
		const script = `mount -t proc proc "$0/proc" && exec rpm --root "$0" --dbpath /var/lib/rpm --nodeps "$@"`
		return command(t, "", "unshare", append([]string{"--mount", "sh", "-c", script, root}, args...)...)
	}
	file := func(version string) string {
		return filepath.Join(releaseOf(t, version), "zeekwire-"+version[1:]+"-1.x86_64.rpm")
	}
	rpm("--install", file(formerVersion))
	installedFiles(t, root)

	settings := filepath.Join(root, "etc/zeekwire/agent.conf")
	if err := os.WriteFile(settings, []byte("name = sensor-01\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rpm("--upgrade", file(presentVersion))
	installedFiles(t, root)
	if got, err := os.ReadFile(settings); err != nil || string(got) != "name = sensor-01\n" {
		t.Errorf("the upgrade changed the settings: %q, %v", got, err)
	}
	if got := command(t, "", "chroot", root, "zeekwire", "--version"); got != "zeekwire version "+presentVersion+"\n" {
		t.Errorf("version %q", got)
	}
	for line := range strings.Lines(command(t, "", "sh", "-c", `rpm "$@" || true`, "rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--verify", "--nodeps", "zeekwire")) {
		if !strings.HasSuffix(line, "/etc/zeekwire/agent.conf\n") {
			t.Errorf("rpm --verify: %s", line)
		}
	}
	rpm("--upgrade", "--oldpackage", file(formerVersion))
	installedFiles(t, root)
	rpm("--upgrade", file(presentVersion))

	rpm("--erase", "zeekwire")
	for _, name := range []string{"usr/bin/zeekwire", "usr/libexec/zeekwire", "usr/lib/systemd/system/zeekwire-agent.service", "etc/zeekwire/controller.conf",
		"usr/share/doc/zeekwire", "usr/share/licenses/zeekwire"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s remains", name)
		}
	}
	for _, name := range []string{"etc/zeekwire/agent.conf.rpmsave", "var/lib/zeekwire"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err) // changed settings and state remain
		}
	}
}

// TestDNF runs the commands for Red Hat in the documents, with dnf, in a root directory
// without package repositories.
func TestDNF(t *testing.T) {
	needWhole(t)
	if os.Geteuid() != 0 {
		t.Skip("changing the root directory needs root")
	}
	for _, program := range []string{"dnf", "rpmbuild"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("there is no " + program)
		}
	}
	root, dir := filepath.Join(t.TempDir(), "root"), t.TempDir()
	newRoot(t, root)
	for _, version := range []string{formerVersion, presentVersion} {
		copyFile(t, releaseOf(t, version), "zeekwire-"+version[1:]+"-1.x86_64.rpm", dir)
	}
	script, err := filepath.Abs("testdata/redhat.sh")
	if err != nil {
		t.Fatal(err)
	}
	command(t, "testdata", "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_rpmdir "+dir, "--define", "_rpmfilename systemd.rpm", "systemd.spec")
	t.Log(command(t, dir, "unshare", "--net", "--mount", "sh", script, root))
}

// installedFiles checks modes, owners, units and the user of the installed package.
func installedFiles(t *testing.T, root string) {
	t.Helper()
	user, group := ids(t, root)
	for name, want := range map[string]string{
		"usr/bin/zeekwire":                                   "0 0 -rwxr-xr-x",
		"usr/libexec/zeekwire/zeek-client":                   "0 0 -rwxr-xr-x",
		"usr/lib/systemd/system/zeekwire-agent.service":      "0 0 -rw-r--r--",
		"usr/lib/systemd/system/zeekwire-controller.service": "0 0 -rw-r--r--",
		"usr/share/man/man1/zeekwire.1.gz":                   "0 0 -rw-r--r--",
		"usr/share/licenses/zeekwire/LICENSE":                "0 0 -rw-r--r--",
		"usr/share/zsh/site-functions/_zeekwire":             "0 0 -rw-r--r--",
		"etc/zeekwire/agent.conf":                            "0 0 -rw-r--r--",
		"etc/zeekwire":                                       "0 " + group + " drwxr-x---",
		"var/lib/zeekwire":                                   user + " " + group + " drwxr-x---",
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		of := info.Sys().(*syscall.Stat_t)
		if got := fmt.Sprint(of.Uid, " ", of.Gid, " ", info.Mode()); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	enabled, err := filepath.Glob(filepath.Join(root, "etc/systemd/system/*.wants/zeekwire-*"))
	if err != nil || len(enabled) > 0 {
		t.Errorf("enabled units %v, %v", enabled, err)
	}
	command(t, "", "systemd-analyze", "verify", "--root", root, "--man=no", "zeekwire-agent.service", "zeekwire-controller.service")
}

// ids returns the numbers of the user and the group of the services.
func ids(t *testing.T, root string) (user, group string) {
	t.Helper()
	number := func(file string) string {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Split(line, ":"); fields[0] == "zeekwire" {
				return fields[2]
			}
		}
		t.Fatalf("%s has no zeekwire", file)
		return ""
	}
	return number("etc/passwd"), number("etc/group")
}
