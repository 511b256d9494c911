package agent

import (
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
)

// ArchiveInterval is the time between two looks at the failures of the archiver.
const ArchiveInterval = 10 * time.Second

// ArchiveRead reports the present failures of the archiver.
type ArchiveRead struct{ Failures []archive.Failure }

func (ArchiveRead) input() {}

// archiving reports finished logs that cannot be archived.
type archiving struct {
	problems *problems
	after    time.Duration // 0: never
}

// read processes the present failures. A failure becomes a problem when it has lasted: the
// archiver tries again, and most failures end by themselves.
func (a archiving) read(now time.Time, failures []archive.Failure) {
	var found []zeekapi.Problem
	for _, f := range failures {
		if a.after > 0 && now.Sub(f.Since) >= a.after {
			found = append(found, zeekapi.Problem{Subject: f.Task, Text: failureText(f)})
		}
	}
	a.problems.set(now, zeekapi.ProblemArchive, found)
}

// failureText describes a failure. It does not change while the failure lasts, unless the
// error does.
func failureText(f archive.Failure) string {
	what := "finished logs cannot be archived"
	if f.Task == archive.TaskCommand {
		what = "archive-command does not succeed for finished logs"
	}
	return fmt.Sprintf("%s since %s: %s", what, f.Since.UTC().Format(time.RFC3339), f.Text)
}
