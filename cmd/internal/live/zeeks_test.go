package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Environment variables that select the Zeeks to test with.
const (
	envZeek   = "ZEEK"             // prefixes of installations, separated by commas
	envImage  = "ZEEK_IMAGE"       // container images, separated by commas
	envEngine = "CONTAINER_ENGINE" // docker or podman, with its flags; default: the first that works
	envFlags  = "CONTAINER_FLAGS"  // more flags for its run command

	// The folder of Zeek's scripts as of commit 7db8634c8b, or the relevant part
	// of it.
	envClusterScripts = "ZEEK_CLUSTER_SCRIPTS"
)

// zeeks are the Zeeks to test with. root is the folder of all temporary files,
// which containers see under the same path, and the working directory of all
// processes is in it.
var (
	zeeks []*installation
	root  string
)

func TestMain(m *testing.M) {
	if order := os.Getenv(envGuard); order != "" {
		os.Exit(standGuard(order))
	}
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if root, err = os.MkdirTemp("", "zeekwire-live"); err != nil {
		return 1, err
	}
	end, err := startGuard()
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(root))
	}
	defer func() {
		if left := end(); left != nil {
			err = errors.Join(err, fmt.Errorf("the tests did not clean up: %w", left))
		}
	}()
	if err := os.Setenv("TMPDIR", root); err != nil {
		return 1, err
	}
	if zeeks, err = findZeeks(); err != nil {
		return 1, err
	}
	if len(zeeks) == 0 {
		fmt.Println("*** LIVE TESTS: NO ZEEK, NOTHING TESTED. Name one with: make live ZEEK=/path/to/its/prefix or ZEEK_IMAGE=zeek/zeek:8.0.10 ***")
		return 0, nil
	}
	printCommit()
	return m.Run(), nil
}

// forEachZeek runs a test with every selected Zeek.
func forEachZeek(t *testing.T, test func(t *testing.T, z *installation)) {
	t.Helper()
	for _, z := range zeeks {
		t.Run(z.name, func(t *testing.T) { test(t, z) })
	}
}

// installation is a Zeek to test with.
type installation struct {
	zeek, client string // paths of zeek and zeek-client
	name         string // of the column in the report
	version      string // such as "8.0.10"
	scripts      string // folder of its scripts
	container    bool   // whether it runs in containers

	// has contains functions of Zeek's language that only some versions have.
	has map[string]bool
}

// optional lists the functions that installation.has may contain.
var optional = []string{"Broker::listen_websocket", "Cluster::listen_websocket"}

// atLeast reports whether Zeek has this version or a later one.
func (z *installation) atLeast(major, minor int) bool {
	parts := strings.SplitN(z.version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// needs skips a test with Zeeks older than the given version. What is the
// missing feature.
func (z *installation) needs(t *testing.T, major, minor int, what string) {
	t.Helper()
	if !z.atLeast(major, minor) {
		t.Skipf("Zeek %s has no %s", z.version, what)
	}
}

// needsChildren skips a test with Zeek in containers. The agent would not
// recognize the ports of its own nodes, because they are not its child
// processes.
func (z *installation) needsChildren(t *testing.T) {
	t.Helper()
	if z.container {
		t.Skip("nodes in containers are not child processes of our agent")
	}
}

func findZeeks() ([]*installation, error) {
	var found []*installation
	names := make(map[string]bool)
	add := func(prefix string, container bool) error {
		z, err := findZeek(prefix)
		if err != nil {
			return err
		}
		suffix := ""
		if z.container = container; container {
			suffix = " (container)"
		}
		z.name = z.version + suffix
		for n := 2; names[z.name]; n++ {
			z.name = fmt.Sprintf("%s%s #%d", z.version, suffix, n)
		}
		names[z.name] = true
		found = append(found, z)
		return nil
	}
	for prefix := range words(os.Getenv(envZeek)) {
		if err := add(prefix, false); err != nil {
			return nil, fmt.Errorf("%s: no Zeek at %s: %w", envZeek, prefix, err)
		}
	}
	for image := range words(os.Getenv(envImage)) {
		prefix, err := unpackImage(image)
		if err == nil {
			err = add(prefix, true)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", envImage, image, err)
		}
	}
	return found, nil
}

// words returns the elements of a list separated by commas.
func words(list string) func(yield func(string) bool) {
	return strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' })
}

var versionOf = regexp.MustCompile(`version (\d+\.\d+\S*)`)

func findZeek(path string) (*installation, error) {
	bin := filepath.Join(path, "bin")
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		bin = filepath.Dir(path)
	}
	z := &installation{zeek: filepath.Join(bin, "zeek"), client: filepath.Join(bin, "zeek-client")}
	out, err := exec.Command(z.zeek, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", z.zeek, explain(err))
	}
	// Such as "zeek version 8.0.10" and "zeek version 8.1.0-dev.12-debug".
	said := versionOf.FindSubmatch(out)
	if said == nil {
		return nil, fmt.Errorf("%s --version says %q", z.zeek, out)
	}
	z.version = string(said[1])
	z.scripts = filepath.Join(filepath.Dir(bin), "share", "zeek")
	if _, err := os.Stat(z.scripts); errors.Is(err, fs.ErrNotExist) {
		if out, err := exec.Command(filepath.Join(bin, "zeek-config"), "--script_dir").Output(); err == nil {
			z.scripts = strings.TrimSpace(string(out))
		}
	}
	var script strings.Builder
	for _, function := range optional {
		fmt.Fprintf(&script, "@ifdef ( %s )\nevent zeek_init() { print \"%s\"; }\n@endif\n", function, function)
	}
	file := filepath.Join(root, "optional.zeek")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		return nil, err
	}
	if out, err = exec.Command(z.zeek, file).Output(); err != nil {
		return nil, fmt.Errorf("%s: %w", z.zeek, explain(err))
	}
	z.has = make(map[string]bool)
	for function := range strings.FieldsSeq(string(out)) {
		z.has[function] = true
	}
	return z, nil
}

// zeekPath returns the directories that Zeek itself searches for scripts. A
// ZEEKPATH that lacks one of them, such as that of the built-in plugins, fails
// with some Zeeks only.
func (z *installation) zeekPath() string {
	out, err := exec.Command(filepath.Join(filepath.Dir(z.zeek), "zeek-config"), "--zeekpath").Output()
	if path := strings.TrimSpace(string(out)); err == nil && path != "" {
		return path
	}
	return strings.Join([]string{".", z.scripts, z.scripts + "/policy", z.scripts + "/site", z.scripts + "/builtin-plugins"}, ":")
}

// explain adds the standard error of a command to its error.
func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// clusterScripts returns the folder of the scripts of the ClusterAgent dialect,
// which are not part of any Zeek release.
func clusterScripts(t *testing.T, z *installation) string {
	t.Helper()
	dir := os.Getenv(envClusterScripts)
	if dir == "" {
		t.Skip(envClusterScripts + " does not name a folder of scripts")
	}
	return dir
}
