// Package archive moves rotated logs of nodes to an archive: compressed, in a
// directory for each day, under the names that zeek-archiver uses, such as
//
//	2026-11-22/conn.09:00:00-10:00:00.log.gz
//
// It needs no other program. A crash at any time loses no log; see archiver.move. It also
// removes old logs from the archive, and runs a command for each archived log.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

// DefaultInterval is the default time between two runs. It equals the interval
// in which loggers rotate (Zeek: base/frameworks/cluster/nodes/logger.zeek).
const DefaultInterval = time.Hour

// The pauses after runs that failed: the first one, which doubles with each further
// failure, and the longest one.
const (
	firstPause = 5 * time.Second
	maxPause   = 5 * time.Minute
)

// killDelay is the time that a command may take to end after a signal to do
// so.
const killDelay = 5 * time.Second

// Config configures Run. Queue and Dir are required.
type Config struct {
	// Queue is the directory into which nodes rotate their logs. It need not
	// exist, and must not lie within Dir.
	Queue string

	// Dir is the archive directory. It is created when needed, like its
	// subdirectories.
	Dir string

	// Command, if not empty, replaces this package's archiving. The shell runs
	// it as COMMAND -1 QUEUE DIR, like Zeek's agent does.
	Command string

	// Compression is the compression of archived logs. Logs that are compressed already
	// keep their compression.
	Compression Compression

	// Limits, if non-nil, returns which logs are removed from the archive, at any time
	// and from another goroutine. Logs for which Finished has not succeeded are kept.
	Limits func() Limits

	// Free, if non-nil, causes the removal of the oldest logs of the archive until the
	// given number of bytes is gone, or no log is left that may be removed.
	Free <-chan int64

	// Finished, if not empty, is a command for archived logs. The shell runs it as
	// FINISHED FILE until it succeeds, at least once for each log. It needs Pending, the
	// directory with the list of logs for which it has not succeeded; it is created when
	// needed. Two archivers must not have the same Pending. Command excludes Finished.
	Finished string
	Pending  string

	// Totals and Failures, if non-nil, are updated.
	Totals   *Totals
	Failures *Failures

	// Interval is the time between two runs. Zero means DefaultInterval.
	Interval time.Duration

	// Wake, if non-nil, causes a run for each element, before the interval has
	// passed, if a log is in the queue.
	Wake <-chan struct{}

	// Log receives errors and reports of archived logs. The zero Logger
	// discards them.
	Log zerolog.Logger
}

// Run archives the logs in the queue, at once and then in intervals, until ctx
// ends. Logs that may still be written to are archived when they have not changed
// for 3 s. Runs do not overlap. A log that cannot be archived stays in the queue,
// and the error is logged once. Run tries again after 5 s, and then after pauses
// that double up to 5 minutes. Run fails only if c is invalid.
func Run(ctx context.Context, c Config) error {
	a, err := c.archiver()
	if err != nil {
		return err
	}
	a.serve(ctx)
	return nil
}

// serve is Run with a valid configuration.
func (a *archiver) serve(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	a.resume()
	if a.Finished != "" {
		deliveries.Go(func() { a.deliver(ctx) })
	}
	ticker, expiry := time.NewTicker(a.Interval), time.NewTicker(expiryInterval)
	defer ticker.Stop()
	defer expiry.Stop()
	a.run(ctx)
	a.expire(ctx, 0)
	for {
		var settled, retry <-chan time.Time
		if wait := a.unsettled(); wait > 0 {
			settled = time.After(wait)
		}
		if a.failures > 0 {
			retry = time.After(a.retryAt.Sub(a.now()))
		}
		select {
		case <-ticker.C:
			a.run(ctx)
			a.expire(ctx, 0)
		case <-expiry.C:
			a.resume()
			a.expire(ctx, 0)
		case bytes := <-a.Free:
			a.expire(ctx, bytes)
		case <-settled:
			a.runIfNeeded(ctx)
		case <-retry:
			a.run(ctx)
		case <-a.Wake:
			a.runIfNeeded(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// pause returns the time until the next run after one that failed.
func (a *archiver) pause() time.Duration {
	const doublings = 6 // exceeds maxPause
	return min(firstPause<<min(a.failures-1, doublings), maxPause)
}

// Finish archives the logs in the queue once, as after the end of all nodes. If
// logs may still be written to, it waits once, until they should be complete.
// Finish ends early when ctx ends. It fails only if c is invalid.
func Finish(ctx context.Context, c Config) error {
	a, err := c.archiver()
	if err != nil {
		return err
	}
	a.runIfNeeded(ctx)
	wait := a.unsettled()
	if wait == 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		a.runIfNeeded(ctx)
	case <-ctx.Done():
	}
	return nil
}

// archiver returns the archiver of a configuration, with absolute paths.
func (c Config) archiver() (*archiver, error) {
	if c.Queue == "" || c.Dir == "" {
		return nil, errors.New("archive: Queue and Dir are required")
	}
	switch {
	case c.Finished != "" && c.Pending == "":
		return nil, errors.New("archive: Finished needs Pending")
	case c.Finished != "" && c.Command != "":
		return nil, errors.New("archive: Command excludes Finished")
	}
	if err := c.Compression.check(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	for _, dir := range []*string{&c.Queue, &c.Dir, &c.Pending} {
		if *dir == "" {
			continue
		}
		var err error
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	return newArchiver(c), nil
}

// archiver is the part of Run without timers.
type archiver struct {
	Config
	disk    disk
	now     func() time.Time
	pending *pending

	// warned holds the files that have been logged as not being rotated
	// logs.
	warned map[string]bool

	failures int               // runs that have failed since the last success
	failing  time.Time         // of the first of these runs
	retryAt  time.Time         // of the next run, if the last one failed
	errors   map[string]string // errors of the present run, or the last one, by log; "" for all logs
	logged   map[string]string // errors of the last run, which need not be logged again
	detail   string            // the error of Config.Command with its output
}

func newArchiver(c Config) *archiver {
	a := &archiver{Config: c, now: time.Now, warned: make(map[string]bool), errors: make(map[string]string)}
	a.pending = &pending{wake: make(chan struct{}, 1), logs: make(map[string]*attempts)}
	if c.Finished != "" {
		a.pending.dir = c.Pending
	}
	a.use(files{})
	return a
}

// use makes the archiver use a disk.
func (a *archiver) use(d disk) { a.disk, a.pending.disk = d, d }

// run archives the logs in the queue, by the command if there is one.
func (a *archiver) run(ctx context.Context) {
	a.errors, a.detail = make(map[string]string), ""
	if a.Command != "" {
		a.command(ctx)
	} else {
		a.once(ctx)
	}
	a.logged = a.errors
	if len(a.errors) > 0 {
		a.failures++
		a.retryAt = a.now().Add(a.pause())
	} else {
		a.failures = 0
	}
	a.reportRun()
}

// fail records an error of a run, and returns the event with which to log it. The event is
// nil, which logs nothing, if the last run had the same error. The log is the file that cannot
// be archived, or "" for all.
func (a *archiver) fail(log string, err error) *zerolog.Event {
	known := a.logged[log] == err.Error()
	a.errors[log] = err.Error()
	if known {
		return nil
	}
	return a.Log.Error().Err(err)
}

// runIfNeeded is like run, but does nothing if no log is in the queue.
func (a *archiver) runIfNeeded(ctx context.Context) {
	if len(a.queued()) > 0 {
		a.run(ctx)
	}
}

// unsettled returns the time after which all logs that are in the queue will be
// old enough to be complete, and 0 if all are. It ignores files that it cannot
// read, and that are no rotated logs.
func (a *archiver) unsettled() (wait time.Duration) {
	entries, err := a.disk.list(a.Queue)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if _, ok := parseName(e.Name()); !ok || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil {
			wait = max(wait, a.untilSettled(info))
		}
	}
	return wait
}

// once archives all logs in the queue and returns their number.
func (a *archiver) once(ctx context.Context) (moved int) {
	began, logs := a.now(), a.queued()
	if len(logs) == 0 {
		return 0
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.fail("", err).Msg("cannot archive logs, trying again")
		}
		return 0
	}
	defer unlock()
	for _, log := range logs {
		if ctx.Err() != nil {
			break
		}
		err := a.move(ctx, log.name, log.rotated)
		switch {
		case err == nil:
			moved++
		case ctx.Err() != nil:
		case errors.Is(err, errChanged):
			a.Log.Debug().Str("file", log.name).Err(err).Msg("log is not archived yet")
		default:
			a.fail(log.name, err).Str("file", log.name).Msg("cannot archive log, it stays in the queue, trying again")
		}
	}
	if moved > 0 {
		a.Log.Info().Int("logs", moved).Dur("took", a.now().Sub(began)).Str("archive", a.Dir).Msg("archived logs")
	}
	return moved
}

// queuedLog is a rotated log in the queue.
type queuedLog struct {
	name string
	rotated
}

// queued returns the rotated logs in the queue, and logs other files once.
func (a *archiver) queued() (logs []queuedLog) {
	entries, err := a.disk.list(a.Queue)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.fail("", err).Msg("cannot archive logs, trying again")
		}
		return nil
	}
	before := a.warned
	a.warned = make(map[string]bool)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue // a temporary file of another program
		}
		r, ok := parseName(name)
		if !ok || !e.Type().IsRegular() {
			if a.warned[name] = true; !before[name] {
				a.Log.Warn().Str("file", filepath.Join(a.Queue, name)).Msg("not a rotated log, it stays in the queue")
			}
			continue
		}
		logs = append(logs, queuedLog{name, r})
	}
	return logs
}

// lockFile is the name of the file, in the archive, that locks it.
const lockFile = ".lock"

// lock waits until no other archiver uses the archive. Agents on one machine may share it,
// and two archivers that chose the same name would overwrite each other's log. A file
// system without locks is used without.
func (a *archiver) lock(ctx context.Context) (unlock func(), err error) {
	if err := a.disk.mkdir(a.Dir); err != nil {
		return nil, err
	}
	for waits := 0; ; waits++ {
		f, err := dirlock.Take(ctx, a.Dir, lockFile)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, dirlock.ErrInUse): // Take has waited
			if waits == 0 {
				a.Log.Info().Str("archive", a.Dir).Msg("waiting for another archiver")
			}
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
			return func() {}, nil
		default:
			return nil, err
		}
	}
}

// command runs the configured command.
func (a *archiver) command(ctx context.Context) {
	if _, err := a.disk.list(a.Queue); errors.Is(err, fs.ErrNotExist) {
		return
	}
	out, err := shell(ctx, a.Command+` -1 "$@"`, a.Queue, a.Dir)
	if ctx.Err() != nil {
		return
	}
	logged := out[:min(len(out), 4096)]
	if err != nil {
		a.fail("", err).Str("command", a.Command).Bytes("output", logged).Msg("archiving failed, trying again")
		a.detail = withOutput(err, out)
		return
	}
	a.Log.Debug().Str("command", a.Command).Bytes("output", logged).Msg("archived logs")
}
