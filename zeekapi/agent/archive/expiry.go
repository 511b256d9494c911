package archive

import (
	"cmp"
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits say which logs of the archive are removed. The zero Limits keep all.
type Limits struct {
	Age  time.Duration // logs that were written to last before that are removed; 0: never
	Size int64         // the oldest logs are removed while all together have more bytes; 0: no limit
}

// expiryInterval is the time between two searches for logs to remove.
const expiryInterval = 10 * time.Minute

// recent is the age below which a log may still be written, by a program that archives logs
// in place of the agent. Its own unfinished files are recognized by their names.
const recent = time.Minute

// stored is a log in the archive.
type stored struct {
	name    string // relative to the archive
	size    int64
	written time.Time // last change
	held    bool      // it must not be removed
}

// expired returns the logs to remove, the oldest first: logs that are too old, then more
// until the rest fits into the size, then more until free bytes are gone. It keeps logs that
// are held or recent. A log from the future is recent: its clock says nothing about its age.
func (l Limits) expired(now time.Time, logs []stored, free int64) []stored {
	logs = slices.SortedFunc(slices.Values(logs), func(a, b stored) int {
		return cmp.Or(a.written.Compare(b.written), cmp.Compare(a.name, b.name))
	})
	var total int64
	for _, s := range logs {
		total += s.size
	}
	var remove []stored
	for _, s := range logs {
		age := now.Sub(s.written)
		if s.held || age < recent {
			continue
		}
		old := l.Age > 0 && age > l.Age
		large := l.Size > 0 && total > l.Size
		if !old && !large && free <= 0 {
			continue
		}
		total -= s.size
		free -= s.size
		remove = append(remove, s)
	}
	return remove
}

// day matches the names of the directories in the archive.
var day = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d{4}-\d\d-\d\d$`) })

// stored returns the logs in the archive.
func (a *archiver) stored(ctx context.Context) ([]stored, error) {
	days, err := a.disk.list(a.Dir)
	if err != nil {
		return nil, err
	}
	var logs []stored
	for _, d := range days {
		if !d.IsDir() || !day().MatchString(d.Name()) {
			continue
		}
		entries, err := a.disk.list(filepath.Join(a.Dir, d.Name()))
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				name := filepath.Join(d.Name(), e.Name())
				logs = append(logs, stored{name, info.Size(), info.ModTime(), a.pending.has(filepath.Join(a.Dir, name))})
			}
		}
	}
	return logs, nil
}

// expire removes logs from the archive as the limits say, and more until free bytes are
// gone. It returns the number of removed bytes.
func (a *archiver) expire(ctx context.Context, free int64) (removed int64) {
	limits := a.limits()
	if limits == (Limits{}) && free <= 0 {
		return 0
	}
	if _, err := a.disk.list(a.Dir); err != nil {
		return 0 // there is no archive yet; archiving reports other errors
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		return 0
	}
	defer unlock()
	logs, err := a.stored(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.Log.Error().Err(err).Msg("cannot expire archived logs")
		}
		return 0
	}
	count := 0
	for _, s := range limits.expired(a.now(), logs, free) {
		if ctx.Err() != nil {
			break
		}
		if err := a.disk.remove(filepath.Join(a.Dir, s.name)); err != nil {
			a.Log.Error().Err(err).Str("file", s.name).Msg("cannot remove an expired log")
			continue
		}
		count++
		removed += s.size
		_ = a.disk.remove(filepath.Join(a.Dir, filepath.Dir(s.name))) // fails unless it is empty
	}
	if count > 0 {
		a.Log.Info().Int("logs", count).Int64("bytes", removed).Str("archive", a.Dir).Msg("removed expired logs")
	}
	a.Totals.expired(count, removed)
	return removed
}

// limits returns the present limits.
func (a *archiver) limits() Limits {
	if a.Limits == nil {
		return Limits{}
	}
	return a.Limits()
}
