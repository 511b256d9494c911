package main

import (
	"cmp"
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
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

	compression string
	finished    string
	expiry      time.Duration
	size        int64

	failingAfter time.Duration
}

func defaultArchive() archiveSettings {
	return archiveSettings{on: true, compression: string(archive.Gzip), failingAfter: 10 * time.Minute}
}

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
		settings.Setting{
			Name: "archive-compression", Value: settings.Choice(&s.compression, string(archive.Gzip), string(archive.Zstd), string(archive.None)),
			Help: "`KIND` of compression of archived logs: gzip, zstd or none",
		},
		settings.Setting{
			Name: "archive-command", Value: settings.Text(&s.finished),
			Help: "`COMMAND` to run for each archived log as \"COMMAND FILE\", again and again until it succeeds; empty: none",
		},
		settings.Setting{
			Name: "archive-failing-after", Value: settings.Duration(&s.failingAfter, 0),
			Help: "`TIME` after which logs that cannot be archived, or an archive-command that fails again and again, are reported as a problem; 0: never",
		},
		settings.Setting{
			Name: "log-expiry", Value: settings.Parsed(&s.expiry, zeekapi.ParseExpiry, formatAge),
			Help: "`AGE` at which archived logs are removed, such as 30d or 12h, unless log_expiry in the cluster file sets another age; 0: never",
		},
		settings.Setting{
			Name: "log-expiry-size", Value: settings.Parsed(&s.size, zeekapi.ParseMemory, formatBytes),
			Help: "`SIZE` of the archive, such as 500G, above which the oldest logs are removed; 0: no limit",
		},
	)
}

// check returns an error if settings contradict each other.
func (s *archiveSettings) check(t *settings.Table) error {
	if s.finished != "" && s.command != "" {
		return t.Wrong("archive-command", "want no archive-cmd, or no archive-command: a log that another program archives has no known name")
	}
	return nil
}

// formatAge returns a text that zeekapi.ParseExpiry accepts.
func formatAge(age time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case age == 0:
		return "0"
	case age%day == 0:
		return strconv.FormatInt(int64(age/day), 10) + "d"
	}
	return age.String()
}

// formatBytes returns a text that zeekapi.ParseMemory accepts.
func formatBytes(bytes int64) string {
	units := []string{"", "K", "M", "G", "T"}
	unit := 0
	for bytes != 0 && bytes%1024 == 0 && unit < len(units)-1 {
		bytes, unit = bytes/1024, unit+1
	}
	return strconv.FormatInt(bytes, 10) + units[unit]
}

// finishPatience limits the time to archive logs when the agent ends. The next agent
// archives the rest.
const finishPatience = 10 * time.Second

// archiver archives rotated logs in the background. A nil archiver does nothing.
type archiver struct {
	config  archive.Config
	wake    chan struct{}
	free    chan int64
	totals  archive.Totals
	failing archive.Failures
	expiry  atomic.Int64 // of logs, a time.Duration
	byAgent time.Duration
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// queueDir returns the directory of rotated logs.
func (s archiveSettings) queueDir(spoolDir, stateDir string) string {
	return filepath.Join(cmp.Or(spoolDir, stateDir), nodescript.LogQueue)
}

// archiveDir returns the directory of archived logs, "" if archive-logs is off.
func (s archiveSettings) archiveDir(stateDir string) string {
	if !s.on {
		return ""
	}
	return cmp.Or(s.dir, filepath.Join(stateDir, "logs"))
}

// start returns a running archiver, or nil if archive-logs is off.
// Logs are in stateDir unless settings name other directories; ownDir is the directory of
// the agent's own state.
func (s archiveSettings) start(ctx context.Context, spoolDir, stateDir, ownDir string, log zerolog.Logger) *archiver {
	if !s.on {
		return nil
	}
	a := &archiver{wake: make(chan struct{}, 1), free: make(chan int64, 1), byAgent: s.expiry}
	a.expiry.Store(int64(s.expiry))
	a.config = archive.Config{
		Queue:    s.queueDir(spoolDir, stateDir),
		Dir:      s.archiveDir(stateDir),
		Interval: s.interval,
		Command:  s.command,

		Compression: archive.Compression(s.compression),
		Finished:    s.finished,
		Pending:     filepath.Join(ownDir, "archive-command"),
		Limits: func() archive.Limits {
			return archive.Limits{Age: time.Duration(a.expiry.Load()), Size: s.size}
		},
		Free:   a.free,
		Wake:   a.wake,
		Totals: &a.totals, Failures: &a.failing,
		Log: log,
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
// it has rotated the logs that it had open then. It also takes over the age at
// which logs expire from the configuration. It does not block.
func (a *archiver) observe(m *agent.Machine, in agent.Input) {
	if a == nil {
		return
	}
	age, set := m.LogExpiry()
	if !set {
		age = a.byAgent
	}
	a.expiry.Store(int64(age))
	if !mayRotate(in) {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default: // a run is about to begin
	}
}

// failures returns the present failures of the archiver.
func (a *archiver) failures() *archive.Failures {
	if a == nil {
		return nil
	}
	return &a.failing
}

// freeSpace removes the oldest archived logs until that many bytes are gone. It does not
// block: if a removal is under way, the next measurement asks again.
func (a *archiver) freeSpace(bytes int64) {
	if a == nil {
		return
	}
	select {
	case a.free <- bytes:
	default:
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
