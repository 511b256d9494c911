package archive

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/redact"
)

// The tasks of an archiver that can fail.
const (
	TaskArchive = "archive" // logs in Config.Queue do not get into the archive
	TaskCommand = "command" // Config.Finished does not succeed for a log
)

// Tasks are all tasks that can fail.
var Tasks = []string{TaskArchive, TaskCommand}

// Failure is a task that has failed and has not succeeded since.
type Failure struct {
	Task  string
	Since time.Time // of the first failure
	Text  string    // the latest error, with the log that it is about
}

// Failures has the present failures of an archiver. The zero Failures has none, and may be
// used concurrently. A nil *Failures ignores all failures.
type Failures struct {
	mu      sync.Mutex
	present map[string]Failure // by task
}

// Present returns the present failures, sorted by task.
func (f *Failures) Present() []Failure {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.present), func(a, b Failure) int { return cmp.Compare(a.Task, b.Task) })
}

// set records that a task fails.
func (f *Failures) set(failure Failure) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.present == nil {
		f.present = make(map[string]Failure)
	}
	f.present[failure.Task] = failure
}

// clear records that a task does not fail.
func (f *Failures) clear(task string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.present, task)
}

// reportRun reports the result of a run.
func (a *archiver) reportRun() {
	if len(a.errors) == 0 {
		a.failing = time.Time{}
		a.Failures.clear(TaskArchive)
		return
	}
	if a.failing.IsZero() {
		a.failing = a.now()
	}
	log := slices.Min(slices.Collect(maps.Keys(a.errors)))
	text := cmp.Or(a.detail, a.errors[log])
	if log != "" {
		text = log + ": " + text
	}
	a.Failures.set(Failure{TaskArchive, a.failing, text})
}

// reportDeliveries reports the log for which the command has failed for the longest time.
func (a *archiver) reportDeliveries() {
	if first, failing := a.pending.longest(); failing {
		a.Failures.set(first)
		return
	}
	a.Failures.clear(TaskCommand)
}

// maxOutput limits the output of a command in an error, in bytes.
const maxOutput = 200

// withOutput returns an error of a command with the last line of its output, without secrets.
func withOutput(err error, output []byte) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(output), "?")), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" {
		return err.Error()
	}
	if len(last) > maxOutput {
		last = strings.ToValidUTF8(last[:maxOutput], "") + "…"
	}
	return err.Error() + ": " + redact.Text(last)
}
