// Package crashes keeps reports about nodes that have crashed: the last ten of each node, with
// a backtrace if there is a core file and gdb is installed.
//
// Each report is a directory, DIR/NODE/TIME, which contains report.json, and the core file if
// the kernel wrote it to the directory of the node. Only the last report of a node keeps its
// core file, because they are large.
package crashes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

const (
	// Kept is the number of reports of a node that are kept.
	Kept = 10

	reportFile = "report.json"
	coreFile   = "core"

	// maxBacktrace limits a backtrace, and maxReport a report, in bytes.
	maxBacktrace = 256 << 10
	maxReport    = 1 << 20

	timeLayout = "20060102T150405.000000000Z"
)

// Store keeps reports below a directory. Its methods may be called concurrently.
type Store struct {
	dir  string
	log  zerolog.Logger
	mu   sync.Mutex // held while reports are written
	core coreDumps
}

// Open returns the store in a directory, which need not exist.
func Open(dir string, log zerolog.Logger) *Store {
	return &Store{dir: dir, log: log, core: systemCoreDumps()}
}

// Crash describes a crash, as the launcher of the node observed it.
type Crash struct {
	zeekapi.CrashReport

	Dir     string    // working directory of the node
	Program string    // path of the program
	Started time.Time // start of the process; zero: unknown
}

// Add writes the report of a crash, and takes the core file out of the directory of the node.
// The returned function adds the backtrace, which may take a minute; it ends early when its
// context does. Failures are logged.
func (s *Store) Add(c Crash) (complete func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := c.CrashReport
	if !c.Started.IsZero() {
		r.Runtime = max(0, r.Time.Sub(c.Started))
	}
	dir := filepath.Join(s.dir, r.Node, r.Time.UTC().Format(timeLayout))
	log := s.log.With().Str("node", r.Node).Logger()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		log.Warn().Err(err).Msg("cannot keep the report of a crash")
		return func(context.Context) {}
	}
	dump := s.core.find(c)
	if dump.file != "" {
		r.Core = s.take(dump, dir)
	} else if dump.systemd {
		r.Core = "coredumpctl info " + pidText(r.PID)
	}
	if err := write(dir, r); err != nil {
		log.Warn().Err(err).Msg("cannot keep the report of a crash")
	}
	s.trim(r.Node)
	if r.Core == "" {
		return func(context.Context) {}
	}
	return func(ctx context.Context) {
		if dump.systemd {
			r.Backtrace = fromSystemd(ctx, r.PID)
		} else {
			r.Backtrace = fromCore(ctx, c.Program, r.Core)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return // ten other crashes have followed
		}
		if err := write(dir, r); err != nil {
			log.Warn().Err(err).Msg("cannot keep the backtrace of a crash")
		}
	}
}

// take moves a core file from the directory of the node to the report, and returns its path.
// One in another directory stays there.
func (s *Store) take(d dump, dir string) string {
	if !d.inNode {
		return d.file
	}
	to := filepath.Join(dir, coreFile)
	if err := os.Rename(d.file, to); err != nil {
		s.log.Warn().Err(err).Msg("cannot move a core file")
		return d.file
	}
	return to
}

func write(dir string, r zeekapi.CrashReport) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, reportFile), append(b, '\n'), 0o640)
}

// trim removes the oldest reports of a node, and all core files but the last.
func (s *Store) trim(node string) {
	names := s.names(node)
	for i, name := range names {
		dir := filepath.Join(s.dir, node, name)
		switch {
		case i >= Kept:
			if err := os.RemoveAll(dir); err != nil {
				s.log.Warn().Err(err).Msg("cannot remove an old report of a crash")
			}
		case i > 0:
			_ = os.Remove(filepath.Join(dir, coreFile)) // most have none
		}
	}
}

// names returns the names of the reports of a node, the newest first.
func (s *Store) names(node string) []string {
	entries, err := os.ReadDir(filepath.Join(s.dir, node))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if _, err := time.Parse(timeLayout, e.Name()); err == nil && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(b, a) })
	return names
}

// List returns the reports of a node, the newest first. It omits unreadable reports.
func (s *Store) List(node string) []zeekapi.CrashReport {
	if node == "" || filepath.Base(node) != node || node == "." || node == ".." {
		return nil
	}
	var reports []zeekapi.CrashReport
	for _, name := range s.names(node) {
		dir := filepath.Join(s.dir, node, name)
		r, err := read(filepath.Join(dir, reportFile))
		if err != nil {
			continue
		}
		if r.Core == filepath.Join(dir, coreFile) {
			if _, err := os.Stat(r.Core); err != nil {
				r.Core = "" // removed since
			}
		}
		reports = append(reports, r)
	}
	return reports
}

func read(name string) (r zeekapi.CrashReport, err error) {
	f, err := os.Open(name)
	if err != nil {
		return r, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxReport))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}
