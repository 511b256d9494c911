package compat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
)

const root = "../../.."

// data is the directory with what is recorded of earlier versions.
const data = root + "/testdata/compat"

// binaries is the directory for built programs.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "zeekwire-compat"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

// program is the path of the program zeekwire of some version.
type program string

var buildPresent = sync.OnceValues(func() (string, error) { return testbinary.Build(binaries) })

// present returns the program of this version.
func present(t *testing.T) program {
	t.Helper()
	path, err := buildPresent()
	if err != nil {
		t.Fatal(err)
	}
	return program(path)
}

// A version is an earlier version of the programs.
type version struct{ name, revision string }

// versions returns those of the file "versions", newest first.
func versions(t *testing.T) []version {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "versions"))
	if err != nil {
		t.Fatal(err)
	}
	var all []version
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) != 2 {
			t.Fatalf("versions: line %q is not a name and a revision", line)
		}
		all = append(all, version{fields[0], fields[1]})
	}
	if len(all) == 0 {
		t.Fatal("there are no versions")
	}
	return all
}

// former returns the program of an earlier version, which it builds from the
// history of the repository. It skips the test if that is absent.
func (v version) former(t *testing.T) program {
	t.Helper()
	path, err := v.build()
	if errors.Is(err, errNoHistory) {
		t.Skipf("SKIPPED WITHOUT THE HISTORY OF THE REPOSITORY: %v", err)
	}
	if err != nil {
		t.Fatalf("building version %s: %v", v.name, err)
	}
	return program(path)
}

var (
	errNoHistory = errors.New("the revision is not there")
	building     sync.Mutex
)

// build builds the program, unless it has done so.
func (v version) build() (path string, err error) {
	building.Lock()
	defer building.Unlock()
	source := filepath.Join(binaries, v.name)
	path = filepath.Join(source, "zeekwire")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := v.unpack(source); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/zeekwire")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// unpack writes the files of a version to a directory.
func (v version) unpack(dir string) error {
	git := exec.Command("git", "archive", v.revision)
	git.Dir = root
	archive, err := git.Output()
	if err != nil {
		return fmt.Errorf("%w: git archive %s: %w", errNoHistory, v.revision, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tar := exec.Command("tar", "x", "-C", dir)
	tar.Stdin = bytes.NewReader(archive)
	if out, err := tar.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestVersions checks that the revisions are of this repository's history.
func TestVersions(t *testing.T) {
	if out, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output(); err != nil || string(out) != "false\n" {
		t.Skip("SKIPPED WITHOUT THE HISTORY OF THE REPOSITORY")
	}
	all := append(versions(t), firstShared)
	for i, v := range all {
		if slices.ContainsFunc(all[:i], func(o version) bool { return o.name == v.name }) {
			t.Errorf("version %s is listed twice", v.name)
		}
		if out, err := exec.Command("git", "merge-base", "--is-ancestor", v.revision, "HEAD").CombinedOutput(); err != nil {
			t.Errorf("version %s, %s, is not part of the history: %v\n%s", v.name, v.revision, err, out)
		}
	}
}
