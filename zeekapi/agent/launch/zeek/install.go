package zeek

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// installation is what there is to know of an installed Zeek.
type installation struct {
	binary  string // absolute
	version version
	text    string // the version in full
	path    string // default ZEEKPATH; "" if unknown

	// noBroker says that it was built without Broker.
	noBroker bool

	file fs.FileInfo // of binary, by which to know another; nil: there was none
}

// zeek returns the properties of the installed Zeek.
func (l *Launcher) zeek() *installation { return l.install.Load() }

// look inspects Zeek again if its program is another than before: it may be
// upgraded while nodes run, and what starts from then on has the new one.
func (l *Launcher) look(ctx context.Context) {
	l.looking.Lock()
	defer l.looking.Unlock()
	old := l.zeek()
	file, err := os.Stat(old.binary)
	if err != nil || old.file != nil && os.SameFile(file, old.file) && file.ModTime().Equal(old.file.ModTime()) && file.Size() == old.file.Size() {
		return // a missing program will not start
	}
	log := l.config.Log.With().Str("zeek", old.binary).Str("before", old.text).Logger()
	install, err := inspect(ctx, old.binary)
	if err != nil {
		log.Warn().Err(err).Msg("Zeek was replaced, but not by one that can be used")
		return
	}
	install.file = file
	if install.noBroker != old.noBroker {
		log.Warn().Str("version", install.text).Msg("Zeek was replaced by one that has Broker where the other had not, or the other way around; restart the agent")
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

// inspectTimeout is ample for a program that prints its version.
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
	return installation{
		binary: binary, version: v, text: versionText(string(out)), path: zeekPath(ctx, binary),
		noBroker: v.atLeast(9, 1) && !hasBroker(ctx, binary),
	}, nil
}

// hasBroker reports whether a Zeek was built with Broker. Up to 9.0 all are,
// and then every process can speak it, whatever the backend of its cluster.
// (Zeek: NEWS of 9.0)
func hasBroker(ctx context.Context, binary string) bool {
	out, err := exec.CommandContext(ctx, binary, "-N").Output()
	return err != nil || bytes.Contains(out, []byte("Zeek::Cluster_Backend_Broker"))
}

// zeekPath returns the search path for scripts. The environment may have a
// special one; the default is known to zeek-config, which some packages leave
// out.
func zeekPath(ctx context.Context, binary string) string {
	if p := os.Getenv("ZEEKPATH"); p != "" {
		return p
	}
	config := filepath.Join(filepath.Dir(binary), "zeek-config")
	out, err := exec.CommandContext(ctx, config, "--zeekpath").Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}

var versionPattern = regexp.MustCompile(`version (\d{1,4})\.(\d{1,4})`)

// versionText returns the last word: "/usr/bin/zeek version 8.0.10" says it
// there.
func versionText(s string) string {
	words := strings.Fields(s)
	return words[len(words)-1]
}

// parseVersion understands "/usr/bin/zeek version 8.0.10-debug".
func parseVersion(s string) (version, error) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return version{}, fmt.Errorf("no version in %.60q", s)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, nil
}
