package zeek

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// installation describes an installed Zeek.
type installation struct {
	binary  string // absolute
	version version
	text    string // the full version
	path    string // default ZEEKPATH; "" if unknown
	plugins string // default ZEEK_PLUGIN_PATH; "" if unknown

	// scriptDirs contain the scripts of Zeek, and siteDirs in them those that
	// operators edit. Empty if unknown.
	scriptDirs, siteDirs []string

	// noBroker is true if Zeek was built without Broker.
	noBroker bool

	file fs.FileInfo // of binary, to detect its replacement; nil: missing
}

// zeek returns the installation as of the last refresh.
func (l *Launcher) zeek() *installation { return l.install.Load() }

// refresh inspects Zeek again if its program was replaced. Zeek may be upgraded while
// nodes run; nodes that start afterwards run the new version.
func (l *Launcher) refresh(ctx context.Context) {
	l.refreshing.Lock()
	defer l.refreshing.Unlock()
	old := l.zeek()
	file, err := os.Stat(old.binary)
	if err != nil || old.is(file) {
		return // if the program is missing, the start of a node fails
	}
	install, err := inspect(ctx, old.binary)
	if err != nil {
		l.config.Log.Warn().Str("zeek", old.binary).Str("before", old.text).Err(err).Msg("Zeek was replaced by an unusable version")
		return
	}
	l.replace(old, install, file)
}

// inspectAgain returns an error if the present Zeek cannot be used.
func (l *Launcher) inspectAgain(ctx context.Context) error {
	l.refreshing.Lock()
	defer l.refreshing.Unlock()
	old := l.zeek()
	file, err := os.Stat(old.binary)
	if err != nil {
		return fmt.Errorf("no Zeek, see the agent's setting \"zeek\": %w", err)
	}
	install, err := inspect(ctx, old.binary)
	if err != nil {
		return fmt.Errorf("unusable Zeek, see the agent's setting \"zeek\": %w", err)
	}
	if !old.is(file) {
		l.replace(old, install, file)
	}
	return nil
}

// is reports whether the program of an installation is still this file.
func (i *installation) is(file fs.FileInfo) bool {
	return i.file != nil && os.SameFile(file, i.file) && file.ModTime().Equal(i.file.ModTime()) && file.Size() == i.file.Size()
}

// replace stores the properties of a Zeek that has replaced another.
func (l *Launcher) replace(old *installation, install installation, file fs.FileInfo) {
	log := l.config.Log.With().Str("zeek", old.binary).Str("before", old.text).Logger()
	install.file = file
	if install.noBroker != old.noBroker {
		log.Warn().Str("version", install.text).Msg("Zeek was replaced by a build with different Broker support; restart the agent")
	} else {
		log.Info().Str("version", install.text).Msg("Zeek was replaced")
	}
	l.install.Store(&install)
	l.events.Add(launch.Upgraded{Version: install.text})
}

type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// inspectTimeout limits an inspection. It is generous, because Zeek only prints its
// properties.
const inspectTimeout = 30 * time.Second

func inspect(ctx context.Context, binary string) (installation, error) {
	binary, err := exec.LookPath(binary)
	if err != nil {
		return installation{}, err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return installation{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return installation{}, fmt.Errorf("%s --version: %w", binary, err)
	}
	v, err := parseVersion(string(out))
	if err != nil {
		return installation{}, fmt.Errorf("%s --version: %w", binary, err)
	}
	if !v.atLeast(5, 0) {
		return installation{}, fmt.Errorf("%s is Zeek %s, want 5.0 or later", binary, v)
	}
	i := installation{
		binary: binary, version: v, text: versionText(string(out)),
		noBroker: v.atLeast(9, 1) && !hasBroker(ctx, binary),
	}
	i.addPaths(ctx)
	return i, nil
}

// hasBroker reports whether a Zeek was built with Broker, and returns true if that is
// unknown. Up to 9.0, every build has Broker, and every process can use it with any
// cluster backend (Zeek: NEWS of 9.0).
func hasBroker(ctx context.Context, binary string) bool {
	out, err := exec.CommandContext(ctx, binary, "-N").Output()
	return err != nil || bytes.Contains(out, []byte("Zeek::Cluster_Backend_Broker"))
}

// addPaths adds the default paths, which zeek-config knows. Some packages leave that
// out. The environment may have another search path for scripts.
func (i *installation) addPaths(ctx context.Context) {
	config := filepath.Join(filepath.Dir(i.binary), "zeek-config")
	out, err := exec.CommandContext(ctx, config, "--zeekpath", "--plugin_dir", "--script_dir", "--site_dir").Output()
	lines := strings.Split(string(out), "\n")
	if err == nil && len(lines) >= 4 {
		i.path, i.plugins = strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1])
		i.scriptDirs, i.siteDirs = dirAndTarget(lines[2]), dirAndTarget(lines[3])
	}
	i.path = cmp.Or(os.Getenv("ZEEKPATH"), i.path)
}

// dirAndTarget returns a directory and, if its path has symbolic links, its real path.
func dirAndTarget(dir string) []string {
	dir = strings.TrimSpace(dir)
	if !filepath.IsAbs(dir) {
		return nil
	}
	dirs := []string{filepath.Clean(dir)}
	if target, err := filepath.EvalSymlinks(dir); err == nil && target != dirs[0] {
		dirs = append(dirs, target)
	}
	return dirs
}

var versionPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`version (\d{1,4})\.(\d{1,4})`) })

// versionText returns the full version, which is the last word of a line such as
// "/usr/bin/zeek version 8.0.10".
func versionText(s string) string {
	words := strings.Fields(s)
	return words[len(words)-1]
}

// parseVersion parses a line such as "/usr/bin/zeek version 8.0.10-debug".
func parseVersion(s string) (version, error) {
	m := versionPattern().FindStringSubmatch(s)
	if m == nil {
		return version{}, fmt.Errorf("no version in %.60q", s)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, nil
}
