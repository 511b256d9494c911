package main

import (
	"cmp"
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
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

// finishPatience limits the time to archive logs when the agent ends. The next agent
// archives the rest.
const finishPatience = 10 * time.Second

// archiver archives rotated logs in the background. A nil archiver does nothing.
type archiver struct {
	config  archive.Config
	wake    chan struct{}
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// start returns a running archiver, or nil if archive-logs is off.
func (s archiveSettings) start(ctx context.Context, spoolDir, stateDir string, log zerolog.Logger) *archiver {
	if !s.on {
		return nil
	}
	a := &archiver{wake: make(chan struct{}, 1)}
	a.config = archive.Config{
		Queue:    filepath.Join(cmp.Or(spoolDir, stateDir), nodescript.LogQueue),
		Dir:      cmp.Or(s.dir, filepath.Join(stateDir, "logs")),
		Interval: s.interval,
		Command:  s.command,
		Wake:     a.wake,
		Log:      log,
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.running.Go(func() { a.report(archive.Run(ctx, a.config)) })
	return a
}

func (a *archiver) report(err error) {
	if err != nil {
		a.config.Log.Error().Err(err).Msg("cannot archive logs")
	}
}

// observe archives logs when a node has ended, or has started after it was killed:
// it has rotated the logs that it had open then. It does not block.
func (a *archiver) observe(in agent.Input) {
	if a == nil || !mayRotate(in) {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default: // a run is about to begin
	}
}

// mayRotate reports whether an input says that a node ended or started.
func mayRotate(in agent.Input) bool {
	switch in := in.(type) {
	case agent.Launched:
		switch in.Event.(type) {
		case launch.Exited, launch.Revived, launch.Up:
			return true
		}
	case agent.Received:
		_, hello := in.Message.(zeekapi.NodeHello)
		return hello
	}
	return false
}

// stop stops archiving in the background.
func (a *archiver) stop() {
	if a != nil {
		a.cancel()
		a.running.Wait()
	}
}

// finish archives the logs of nodes that have ended, after stop. It also does so when
// ctx has ended.
func (a *archiver) finish(ctx context.Context) {
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	a.report(archive.Finish(ctx, a.config))
}
