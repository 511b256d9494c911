package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// whole enables the tests of whole releases, which need Git, the module proxy and
// some minutes.
var whole = flag.Bool("dist", false, "build releases, and install packages in a new root directory; needs root and Debian's mirror")

func needWhole(t *testing.T) {
	t.Helper()
	if !*whole {
		t.Skip("builds releases: run make dist-check")
	}
}

// makeRelease makes a release of a clone of this checkout's commit, in a
// directory of its own, and returns its files.
func makeRelease(t *testing.T, version string) (dir string) {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone-"+version)
	command(t, "", "git", "clone", "--quiet", "--shared", topLevel(t), clone)
	dir = filepath.Join(t.TempDir(), "dist")
	command(t, clone, "go", "run", "./cmd/internal/dist", "-version", version, "-output", dir, "-platforms", "linux/amd64")
	return dir
}

func topLevel(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(command(t, "", "git", "rev-parse", "--show-toplevel"))
}

// command runs a command and returns what it prints.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// TestReleasesAreReproducible makes the same release in two directories.
func TestReleasesAreReproducible(t *testing.T) {
	needWhole(t)
	a, b := makeRelease(t, "v0.9.0"), makeRelease(t, "v0.9.0")
	sums, err := os.ReadFile(filepath.Join(a, checksumFile))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(b, checksumFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sums, other) {
		t.Errorf("files differ:\n%s\n%s", sums, other)
	}
	if files := strings.Count(string(sums), "\n"); files != 5 {
		t.Errorf("%d files, want deb, rpm, archive and two bills of materials:\n%s", files, sums)
	}
	command(t, a, "sha256sum", "--check", checksumFile)

	unpacked := t.TempDir()
	command(t, unpacked, "tar", "xzf", filepath.Join(a, "zeekwire_0.9.0_linux_amd64.tar.gz"), "--strip-components=1")
	if got := command(t, unpacked, "./zeekwire", "--version"); got != "zeekwire version v0.9.0\n" {
		t.Errorf("version %q", got)
	}
	info, err := buildinfo.ReadFile(filepath.Join(unpacked, "zeekwire"))
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(command(t, topLevel(t), "git", "rev-parse", "HEAD"))
	for key, want := range map[string]string{"vcs.revision": commit, "vcs.modified": "false", "CGO_ENABLED": "0"} {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
		if i < 0 || info.Settings[i].Value != want {
			t.Errorf("go version -m: %s is not %s in %v", key, want, info.Settings)
		}
	}
}

// TestPackage installs, upgrades and removes the package in a container with
// systemd and nodes. The program in place of Zeek is that of the tests of package
// launch/zeek.
func TestPackage(t *testing.T) {
	needWhole(t)
	if os.Geteuid() != 0 {
		t.Skip("making the root directory of a container needs root")
	}
	root := filepath.Join(t.TempDir(), "root")
	newRoot(t, root)
	dir := filepath.Join(root, "root/test")
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	units := filepath.Join(root, "etc/systemd/system")
	if err := os.Rename(filepath.Join(dir, "test.service"), filepath.Join(units, "test.service")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../test.service", filepath.Join(units, "multi-user.target.wants/test.service")); err != nil {
		t.Fatal(err)
	}
	for version, name := range map[string]string{"v0.9.0": "old.deb", "v0.9.1": "new.deb"} {
		release := makeRelease(t, version)
		deb := filepath.Join(release, "zeekwire_"+strings.TrimPrefix(version, "v")+"-1_amd64.deb")
		if err := os.Rename(deb, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		lint(t, release)
	}
	standIn(t, filepath.Join(root, "opt/stand-in"))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	container := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot", "--directory", root)
	container.Cancel = func() error { return container.Process.Signal(syscall.SIGTERM) } // shuts it down
	container.WaitDelay = time.Minute
	out, err := container.CombinedOutput()
	result, resultErr := os.ReadFile(filepath.Join(dir, "result"))
	output, _ := os.ReadFile(filepath.Join(dir, "output"))
	if resultErr != nil && len(output) == 0 {
		t.Skipf("systemd does not start in a container here: %v\n%s", err, out)
	}
	if resultErr != nil {
		t.Fatalf("the test in the container did not end: %v\n%s\n%s", err, out, output)
	}
	if string(result) != "0\n" {
		journal, _ := os.ReadFile(filepath.Join(dir, "journal"))
		t.Fatalf("exit code %s%s\n%s", result, output, journal)
	}
}

// newRoot makes the root directory of a container, from Debian's packages.
func newRoot(t *testing.T, root string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,procps,diffutils", "stable", root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no root directory for a container: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", root, "true").CombinedOutput(); err != nil {
		t.Skipf("no containers here: %v\n%s", err, out)
	}
}

// standIn compiles a program that behaves like a node of Zeek's.
func standIn(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(dir, "program"), module+"/zeekapi/agent/launch/zeek")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := "#!/bin/sh\nexport ZEEKWIRE_TEST_STAND_IN=8.0.10 BEHAVIOUR=hello\nexec /opt/stand-in/program \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "zeek"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// lint has Debian's and Red Hat's tools check the packages of a release.
func lint(t *testing.T, release string) {
	t.Helper()
	for _, args := range [][]string{
		{"lintian", "--allow-root", "--fail-on", "error,warning"},
		{"rpmlint", "--config", "rpmlint.toml"},
	} {
		pattern := "*.deb"
		if args[0] == "rpmlint" {
			pattern = "*.rpm"
		}
		packages, err := filepath.Glob(filepath.Join(release, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if out := command(t, "", args[0], append(args[1:], packages...)...); strings.Contains(out, ": W: ") {
			t.Errorf("%s:\n%s", args[0], out)
		}
	}
}
