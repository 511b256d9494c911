package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"flag"
	"fmt"
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

// formerVersion and presentVersion are the versions of the releases that tests make:
// of the first commit in testdata/compat/versions, and of this checkout's.
const formerVersion, presentVersion = "v0.9.0", "v0.9.1"

// makeRelease makes a release of a commit, in a clone of this repository, and writes
// its files to dir.
func makeRelease(t *testing.T, commit, version, dir string) {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	command(t, "", "git", "clone", "--quiet", "--shared", "--no-checkout", topLevel(t), clone)
	command(t, clone, "git", "checkout", "--quiet", "--detach", commit)
	command(t, clone, "go", "run", "./cmd/internal/dist", "-version", version, "-output", dir, "-platforms", "linux/amd64")
}

// releases has the releases that were made, by version. They are removed when the
// tests end.
var releases struct {
	dir    string
	commit string // of this checkout when the first release was made
	made   map[string]bool
}

// presentCommit returns the commit of this checkout, the same during all tests.
func presentCommit(t *testing.T) string {
	t.Helper()
	if releases.commit == "" {
		releases.commit = strings.TrimSpace(command(t, topLevel(t), "git", "rev-parse", "HEAD"))
	}
	return releases.commit
}

// releaseOf returns the directory of a release. Tests share it.
func releaseOf(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(releases.dir, version)
	if releases.made[version] {
		return dir
	}
	commit := presentCommit(t)
	if version == formerVersion {
		commit = formerCommit(t)
	}
	makeRelease(t, commit, version, dir)
	releases.made[version] = true
	return dir
}

// formerCommit returns the first commit in testdata/compat/versions.
func formerCommit(t *testing.T) string {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(topLevel(t), "testdata/compat/versions"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if words := strings.Fields(line); len(words) == 2 && words[0] != "#" {
			return words[1]
		}
	}
	t.Fatal("testdata/compat/versions has no version")
	return ""
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "zeekwire-dist-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	releases.dir, releases.made = dir, make(map[string]bool)
	return m.Run()
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
	a, b := releaseOf(t, presentVersion), filepath.Join(t.TempDir(), "again")
	makeRelease(t, presentCommit(t), presentVersion, b)
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
	command(t, unpacked, "tar", "xzf", filepath.Join(a, "zeekwire_"+presentVersion[1:]+"_linux_amd64.tar.gz"), "--strip-components=1")
	if got := command(t, unpacked, "./zeekwire", "--version"); got != "zeekwire version "+presentVersion+"\n" {
		t.Errorf("version %q", got)
	}
	info, err := buildinfo.ReadFile(filepath.Join(unpacked, "zeekwire"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"vcs.revision": presentCommit(t), "vcs.modified": "false", "CGO_ENABLED": "0"} {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
		if i < 0 || info.Settings[i].Value != want {
			t.Errorf("go version -m: %s is not %s in %v", key, want, info.Settings)
		}
	}
}

// TestPackage installs, upgrades and removes the package in a container with
// systemd and nodes. The upgrade is from the package of an earlier commit. The program in place of Zeek is that of the tests of package
// launch/zeek.
func TestPackage(t *testing.T) {
	needWhole(t)
	if os.Geteuid() != 0 {
		t.Skip("making the root directory of a container needs root")
	}
	root := filepath.Join(t.TempDir(), "root")
	newRoot(t, root)
	dir := makeDir(t, root, "root/test")
	for _, name := range []string{"machine.sh", "cluster.cfg"} {
		copyFile(t, "testdata", name, dir)
	}
	service(t, root, "test.service")
	for _, version := range []string{formerVersion, presentVersion} {
		copyFile(t, releaseOf(t, version), "zeekwire_"+version[1:]+"-1_amd64.deb", dir)
	}
	copyFile(t, releaseOf(t, formerVersion), checksumFile, dir)
	lint(t, releaseOf(t, presentVersion))
	standIn(t, root)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	container := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot", "--directory", root)
	container.Cancel = func() error { return container.Process.Signal(syscall.SIGTERM) } // shuts it down
	container.WaitDelay = time.Minute
	out, err := container.CombinedOutput()
	checkResult(t, dir, out, err)
	checkExposure(t, filepath.Join(dir, "exposure"))
	downgrade, err := os.ReadFile(filepath.Join(dir, "downgrade"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a downgrade to %s, of commit %s, %s", formerVersion, formerCommit(t), downgrade)
}

// checkExposure checks that a document has the exposure of each unit as systemd rates it.
func checkExposure(t *testing.T, file string) {
	t.Helper()
	rows, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../../docs/howto/service.md")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(rows), "\n") != 3 {
		t.Errorf("rows %q", rows)
	}
	for row := range strings.Lines(string(rows)) {
		if !strings.Contains(string(document), strings.TrimSuffix(row, "\n")) {
			t.Errorf("docs/howto/service.md lacks %s", row)
		}
	}
}

// checkResult checks the result of the script that test.service has run in a directory of a
// container. Out and err are those of the container.
func checkResult(t *testing.T, dir string, out []byte, err error) {
	t.Helper()
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

func copyFile(t *testing.T, from, name, to string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentedCommands checks that the scripts of TestPackage, TestSecureCluster and
// TestDNF have the commands of the documents that they stand for.
func TestDocumentedCommands(t *testing.T) {
	var script []byte
	for _, name := range []string{"machine.sh", "secure.sh", "redhat.sh"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, text...)
	}
	for _, document := range []string{"install.md", "upgrade.md"} {
		text, err := os.ReadFile(filepath.Join("../../../docs/howto", document))
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(strings.ReplaceAll(string(text), "skip=redhat", "skip=package"), "```sh skip=package\n")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s has no commands", document)
		}
		for _, block := range blocks {
			commands, _, _ := strings.Cut(block, "```")
			for command := range strings.Lines(commands) {
				if !strings.Contains(string(script), "\n"+command) {
					t.Errorf("%s: the script lacks %s", document, command)
				}
			}
		}
	}
}

// newRoot makes the root directory of a container, from Debian's packages. Tests have
// copies of the first one.
func newRoot(t *testing.T, root string) {
	t.Helper()
	first := filepath.Join(releases.dir, "root")
	if !releases.made["root"] {
		firstRoot(t, first)
		releases.made["root"] = true
	}
	command(t, "", "cp", "--archive", first, root)
}

func firstRoot(t *testing.T, root string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,procps,diffutils,iproute2,openssh-server,openssh-client", "stable", root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no root directory for a container: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", root, "true").CombinedOutput(); err != nil {
		t.Skipf("no containers here: %v\n%s", err, out)
	}
}

// standIn compiles a program that behaves like a node of Zeek's, and adds it to a root
// directory where the documents have Zeek.
func standIn(t *testing.T, root string) {
	t.Helper()
	dir := makeDir(t, root, "opt/stand-in")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(dir, "program"), module+"/zeekapi/agent/launch/zeek")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := "#!/bin/sh\nexport ZEEKWIRE_TEST_STAND_IN=8.0.10 BEHAVIOUR=hello\nexec /opt/stand-in/program \"$@\"\n"
	if err := os.WriteFile(filepath.Join(makeDir(t, root, "opt/zeek/bin"), "zeek"), []byte(script), 0o755); err != nil {
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
