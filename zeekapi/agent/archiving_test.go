package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
)

// Logs that cannot be archived are a problem when that has lasted for the configured time,
// until they can.
func TestLogsCannotBeArchived(t *testing.T) {
	s := connecting("i")
	s.ArchiveFailingAfter = 10 * time.Minute
	f := newFleet(t, s, nil)
	f.step(PeerAdded{})
	since := f.now
	one[zeekapi.AgentProblems](f)
	failing := func(text string) ArchiveRead {
		return ArchiveRead{[]archive.Failure{{Task: archive.TaskArchive, Since: since, Text: text}, {Task: archive.TaskCommand, Since: f.now, Text: "exit status 1"}}}
	}
	f.step(failing("no space"))
	f.pass(9 * time.Minute)
	f.step(failing("no space"))
	compare(t, "problems at first", 0, len(f.machine.Problems()))
	f.pass(time.Minute)
	f.step(failing("no space"))
	take[Publish](f)
	f.step(failing("read-only"))
	p := one[zeekapi.AgentProblems](f).Problems
	if len(p) != 1 || p[0].Kind != zeekapi.ProblemArchive || p[0].Subject != "archive" || !p[0].Since.Equal(f.now) ||
		p[0].Text != "finished logs cannot be archived since "+since.UTC().Format(time.RFC3339)+": read-only" {
		t.Errorf("the problem is %+v", p)
	}
	f.pass(time.Minute)
	f.step(failing("read-only"))
	f.step(ArchiveRead{[]archive.Failure{{Task: archive.TaskCommand, Since: since, Text: "exit status 1"}}})
	if p := f.machine.Problems(); len(p) != 1 || p[0].Subject != "command" || !strings.HasPrefix(p[0].Text, "archive-command does not succeed for finished logs since ") {
		t.Errorf("the problem is %+v", p)
	}
	f.step(ArchiveRead{})
	compare(t, "problems in the end", 0, len(f.machine.Problems()))
	f.step(Tick{})
	if _, err := NewMachine(Settings{Name: "i", ArchiveFailingAfter: -1}, State{}); err == nil {
		t.Error("accepts a negative time")
	}

	s.ArchiveFailingAfter = 0
	f = newFleet(t, s, nil)
	since = f.now
	f.pass(time.Hour)
	f.step(failing("no space"))
	compare(t, "problems without a time", 0, len(f.machine.Problems()))
}
