package main

import (
	"cmp"
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// archiveSettings say what becomes of the logs that nodes have rotated.
type archiveSettings struct {
	on       bool
	interval time.Duration
	dir      string
	command  string
}

func defaultArchive() archiveSettings { return archiveSettings{on: true} }

func (s *archiveSettings) add(t *settings.Table, module string) {
	t.Group("Archive")
	t.Add(
		settings.Setting{
			Name: "archive-logs", Value: settings.Bool(&s.on), Zeek: module + "::archive_logs",
			Help: "compress the logs that nodes have rotated and move them into the archive",
		},
		settings.Setting{
			Name: "archive-dir", Value: settings.Text(&s.dir), Zeek: module + "::archive_dir",
			Help: "the archive, a `DIR` with one for every day in it; empty: logs in the state directory",
		},
		settings.Setting{
			Name: "archive-interval", Value: settings.Duration(&s.interval, 0), Zeek: module + "::archive_interval",
			Help: "archive every `TIME`; 0: as often as loggers rotate their logs, every hour",
		},
		settings.Setting{
			Name: "archive-cmd", Value: settings.Text(&s.command), Zeek: module + "::archive_cmd",
			Help: "have `COMMAND` archive, run as \"COMMAND -1 QUEUE ARCHIVE\" like zeek-archiver; empty: the agent does it itself",
		},
	)
}

// start archives in the background until stop is called, which waits for that.
func (s archiveSettings) start(ctx context.Context, spoolDir, stateDir string, log zerolog.Logger) (stop func()) {
	if !s.on {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		err := archive.Run(ctx, archive.Config{
			Queue:    filepath.Join(cmp.Or(spoolDir, stateDir), nodescript.LogQueue),
			Dir:      cmp.Or(s.dir, filepath.Join(stateDir, "logs")),
			Interval: s.interval,
			Command:  s.command,
			Log:      log,
		})
		if err != nil {
			log.Error().Err(err).Msg("no logs are archived")
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
