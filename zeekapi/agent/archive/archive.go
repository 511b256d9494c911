// Package archive brings the logs that nodes have rotated to where they are
// kept: compressed, in a directory for every day, under the names that
// zeek-archiver gives them, such as
//
//	2026-11-22/conn.09:00:00-10:00:00.log.gz
//
// It needs no other program and loses nothing: see archiver.move.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// DefaultInterval is how often logs are archived unless set otherwise: as often
// as loggers rotate them (Zeek: base/frameworks/cluster/nodes/logger.zeek).
const DefaultInterval = time.Hour

// killDelay is how long a command may take to end when it is told to.
const killDelay = 5 * time.Second

// Config says what to archive.
type Config struct {
	// Queue is the directory into which nodes rotate their logs. It need not
	// exist. It must not lie within Dir.
	Queue string

	// Dir is the archive. Directories are made as needed.
	Dir string

	// Command, if set, is run in place of all this, by the shell and as Zeek's
	// agent does: COMMAND -1 QUEUE DIR.
	Command string

	// Interval is the time between two runs, 0 for DefaultInterval.
	Interval time.Duration

	// Log is silent if it is the zero Logger.
	Log zerolog.Logger
}

// Run archives what is in the queue, now and whenever the interval has passed
// since, one run at a time, until ctx ends. A log that cannot be archived is
// logged and stays where it is for the next time.
func Run(ctx context.Context, c Config) error {
	if c.Queue == "" || c.Dir == "" {
		return errors.New("archive: no queue or no directory")
	}
	for _, dir := range []*string{&c.Queue, &c.Dir} {
		var err error
		if *dir, err = filepath.Abs(*dir); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	a := newArchiver(c)
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		if c.Command != "" {
			a.command(ctx)
		} else {
			a.once(ctx)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// archiver is Run without time.
type archiver struct {
	Config
	disk disk
	now  func() time.Time

	// complained has the files that are in the log already.
	complained map[string]bool
}

func newArchiver(c Config) *archiver {
	return &archiver{Config: c, disk: files{}, now: time.Now, complained: make(map[string]bool)}
}

// once archives all that there is and returns how many logs that were.
func (a *archiver) once(ctx context.Context) int {
	entries, err := a.disk.list(a.Queue)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.Log.Error().Err(err).Msg("cannot archive logs")
		}
		return 0
	}
	began, moved := a.now(), 0
	before := a.complained
	a.complained = make(map[string]bool)
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue // somebody's temporary file
		}
		r, ok := parseName(name)
		if !ok || !e.Type().IsRegular() {
			if a.complained[name] = true; !before[name] {
				a.Log.Warn().Str("file", filepath.Join(a.Queue, name)).Msg("not a rotated log, leaving it where it is")
			}
			continue
		}
		err := a.move(ctx, name, r)
		switch {
		case err == nil:
			moved++
		case ctx.Err() != nil:
		case errors.Is(err, errChanged):
			a.Log.Debug().Str("file", name).Err(err).Msg("archiving it later")
		default:
			a.Log.Error().Str("file", name).Err(err).Msg("cannot archive log, it stays in the queue")
		}
	}
	if moved > 0 {
		a.Log.Info().Int("logs", moved).Dur("took", a.now().Sub(began)).Str("archive", a.Dir).Msg("archived logs")
	}
	return moved
}

// command has another program do it.
func (a *archiver) command(ctx context.Context) {
	if _, err := a.disk.list(a.Queue); errors.Is(err, fs.ErrNotExist) {
		return
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", a.Command+` -1 "$@"`, "sh", a.Queue, a.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return
	}
	log := a.Log.With().Str("command", a.Command).Bytes("output", out[:min(len(out), 4096)]).Logger()
	if err != nil {
		log.Error().Err(err).Msg("archiving failed")
		return
	}
	log.Debug().Msg("archived logs")
}
