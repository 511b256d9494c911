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

// archiveSettings are the settings for rotated logs.
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
			Help: "compress rotated logs and move them to the archive",
		},
		settings.Setting{
			Name: "archive-dir", Value: settings.Text(&s.dir), Zeek: module + "::archive_dir",
			Help: "`DIR` of the archive, with one subdirectory for each day; empty: \"logs\" in the state directory",
		},
		settings.Setting{
			Name: "archive-interval", Value: settings.Duration(&s.interval, 0), Zeek: module + "::archive_interval",
			Help: "`TIME` between runs of the archiver; 0: the rotation interval of logs, one hour",
		},
		settings.Setting{
			Name: "archive-cmd", Value: settings.Text(&s.command), Zeek: module + "::archive_cmd",
			Help: "`COMMAND` that archives logs, called like zeek-archiver as \"COMMAND -1 QUEUE ARCHIVE\"; empty: the agent archives them",
		},
	)
}

// start archives logs in the background. The returned function stops the
// archiver and waits until it has ended.
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
			log.Error().Err(err).Msg("cannot archive logs")
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
