package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// deliveryTimeout limits the time of the command for one archived log. After a failure, the
// command runs again for the log after minRetry, doubled with every failure, at most maxRetry.
const (
	deliveryTimeout = time.Hour
	minRetry        = 10 * time.Second
	maxRetry        = 15 * time.Minute
)

// pending is the list of archived logs for which the command Config.Finished has not
// succeeded yet. Each has a file in a directory, so that the list survives a crash. The file
// exists before the log has its name in the archive: a log may be on the list twice after a
// crash, but is never missing. The zero pending has no directory and holds no logs.
type pending struct {
	dir  string
	disk disk
	wake chan struct{} // has an element after a log was added

	mu     sync.Mutex
	loaded bool // the files of an earlier archiver are in logs
	logs   map[string]*attempts
	unread attempts // to read the files of an earlier archiver
}

// attempts are the past attempts for a log. The zero attempts are none.
type attempts struct {
	failures int
	retry    time.Time
	since    time.Time // of the first failure
	text     string    // of the latest one
}

// take adds an attempt that failed, or forgets the attempts if err is nil.
func (a *attempts) take(now time.Time, err error) {
	if err == nil {
		*a = attempts{}
		return
	}
	if a.failures == 0 {
		a.since = now
	}
	a.failures++
	a.text = err.Error()
}

// during adds a log with the given path and calls rename, which gives the log its name.
func (p *pending) during(path string, rename func() error) error {
	if p.dir == "" {
		return rename()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.store(path); err != nil {
		return fmt.Errorf("list for the command: %w", err)
	}
	err := rename()
	if err != nil && !p.exists(path) {
		_ = p.disk.remove(p.file(path)) // a log that does not exist is dropped when the list is read
		return err
	}
	p.logs[path] = &attempts{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return err // if there is one, the log has its name, but not durably
}

// file returns the name of the file of a log.
func (p *pending) file(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(p.dir, hex.EncodeToString(sum[:16]))
}

// store writes the file of a log, which contains its path.
func (p *pending) store(path string) (err error) {
	if err := p.disk.mkdir(p.dir); err != nil {
		return err
	}
	name := p.file(path)
	tmp := filepath.Join(p.dir, ".tmp."+filepath.Base(name))
	f, err := p.disk.create(tmp)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, path)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = p.disk.rename(tmp, name)
	}
	if err != nil {
		_ = p.disk.remove(tmp) // the next attempt overwrites it
	}
	return err
}

// resume reads the list of an earlier archiver. If that fails, it is called again.
func (a *archiver) resume() {
	if err := a.pending.load(a.now()); err != nil {
		a.Log.Error().Err(err).Msg("cannot read the list of logs for the command for archived logs, trying again")
	}
}

// load reads the files of an earlier archiver, until it has read all of them. Logs that are
// not in the archive are dropped: they are still in the queue, or were removed.
func (p *pending) load(now time.Time) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded || p.dir == "" {
		return nil
	}
	defer func() { p.unread.take(now, err) }()
	entries, err := p.disk.list(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var unread error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(p.dir, e.Name())
		path, err := p.read(name)
		switch {
		case err != nil:
			unread = err
		case p.file(path) != name || !p.exists(path):
			_ = p.disk.remove(name) // otherwise the next archiver drops it
		case p.logs[path] == nil:
			p.logs[path] = &attempts{}
		}
	}
	p.loaded = unread == nil
	return unread
}

// read returns the content of a file of the list.
func (p *pending) read(name string) (path string, err error) {
	f, err := p.disk.open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const longest = 1 << 16
	b, err := io.ReadAll(io.LimitReader(f, longest))
	return string(b), err
}

// exists reports whether there may be a log with this path.
func (p *pending) exists(path string) bool {
	f, err := p.disk.open(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	f.Close()
	return true
}

// has reports whether a log is on the list, or may be.
func (p *pending) has(path string) bool {
	if p.dir == "" {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.loaded || p.logs[path] != nil
}

// next returns the log to try next: among the logs that are due, the one with the fewest
// failures, and the oldest of several. If none is due, it returns "" and the time until one is, or a
// negative time if there are none.
func (p *pending) next(now time.Time) (path string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = -1
	paths := slices.SortedFunc(maps.Keys(p.logs), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.logs[a].failures, p.logs[b].failures), strings.Compare(a, b))
	})
	for _, path := range paths {
		left := p.logs[path].retry.Sub(now)
		if left <= 0 {
			return path, 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return "", wait
}

// failed records a failure and returns the time of the next attempt.
func (p *pending) failed(path string, now time.Time, err error) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.logs[path]
	a.retry = now.Add(min(minRetry<<min(a.failures, 20), maxRetry))
	a.take(now, err)
	return a.retry
}

// longest returns the log on the list that has failed for the longest time. The result
// failing is false if no log on the list has failed, and the list could be read.
func (p *pending) longest() (first Failure, failing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unread.failures > 0 {
		return Failure{TaskCommand, p.unread.since, "the list of logs: " + p.unread.text}, true
	}
	for path, a := range p.logs {
		text := filepath.Base(path) + ": " + a.text
		if a.failures > 0 && (!failing || cmp.Or(a.since.Compare(first.Since), cmp.Compare(text, first.Text)) < 0) {
			first, failing = Failure{TaskCommand, a.since, text}, true
		}
	}
	return first, failing
}

// done removes a log from the list.
func (p *pending) done(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.logs, path)
	return p.disk.remove(p.file(path))
}

// len returns the number of logs on the list.
func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.logs)
}

// deliver runs the command for the logs on the list, one at a time, until ctx ends.
func (a *archiver) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		a.Totals.waiting(a.pending.len())
		a.reportDeliveries()
		path, wait := a.pending.next(a.now())
		if path != "" {
			a.deliverOne(ctx, path)
			continue
		}
		var retry <-chan time.Time
		if wait >= 0 {
			retry = time.After(wait)
		}
		select {
		case <-a.pending.wake:
		case <-retry:
		case <-ctx.Done():
		}
	}
}

// deliverOne runs the command for a log, and removes the log from the list if it succeeds
// or the log no longer exists.
func (a *archiver) deliverOne(ctx context.Context, path string) {
	log := a.Log.With().Str("file", path).Logger()
	if !a.pending.exists(path) {
		log.Warn().Msg("an archived log was removed before the command for archived logs has succeeded")
	} else if out, err := a.finished(ctx, path); err != nil {
		if ctx.Err() != nil {
			return // it begins again with the next archiver
		}
		a.Totals.delivered(false)
		retry := a.pending.failed(path, a.now(), errors.New(withOutput(err, out)))
		log.Error().Err(err).Bytes("output", out[:min(len(out), 4096)]).Time("retry", retry).Msg("the command for archived logs failed")
		return
	} else {
		a.Totals.delivered(true)
	}
	if err := a.pending.done(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn().Err(err).Msg("the command for archived logs may run again for a log: cannot remove it from the list")
	}
}

// finished runs the command for an archived log.
func (a *archiver) finished(ctx context.Context, path string) (output []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	output, err = shell(ctx, a.Finished+` "$@"`, path)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("killed after %s", deliveryTimeout)
	}
	return output, err
}

// shell runs a command with arguments in its own process group. When ctx ends, the group
// gets SIGTERM, and the command is killed if it does not end in time.
func shell(ctx context.Context, command string, args ...string) (output []byte, err error) {
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", command, "sh"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	return cmd.CombinedOutput()
}
