package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// failing returns the present failures as text, with the time since their beginning.
func (p *place) failing() (all []string) {
	for _, f := range p.Failures.Present() {
		all = append(all, fmt.Sprintf("%s %s %s", f.Task, p.now().Sub(f.Since).Round(time.Second), f.Text))
	}
	return all
}

func (p *place) expectFailures(what string, want ...string) {
	p.Helper()
	if diff := cmp.Diff(want, p.failing()); diff != "" {
		p.Errorf("%s: failures (-want +got)\n%s", what, diff)
	}
}

// Logs that do not get into the archive are a failure that begins with the first attempt, and
// ends with the first run without an error.
func TestFailureOfArchive(t *testing.T) {
	p := newPlace(t)
	p.Failures = new(Failures)
	now := time.Now()
	p.now = func() time.Time { return now }
	p.run(t.Context())
	p.expectFailures("without logs")

	inTheWay := filepath.Dir(p.Dir) // a file instead of a directory stops root, too
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.put(connName, "one\n")
	p.run(t.Context())
	text := fmt.Sprintf("mkdir %s: not a directory", p.Dir)
	p.expectFailures("at first", "archive 0s "+text)
	now = now.Add(time.Minute)
	p.run(t.Context())
	p.expectFailures("later", "archive 1m0s "+text)
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	p.run(t.Context())
	p.expectFailures("with a directory")
	p.expect("with a directory", map[string]string{connGoal: "one\n"})

	// A single log is a failure, even if others get into the archive.
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "two\n")
	p.put(connName, "three\n")
	p.use(unreadable{path: filepath.Join(p.Queue, connName)})
	p.run(t.Context())
	p.expectFailures("one log", "archive 0s "+connName+": permission denied")
	p.use(files{})
	now = now.Add(time.Minute)
	p.run(t.Context())
	p.expectFailures("no log")
}

// unreadable is a disk with a log that cannot be read.
type unreadable struct {
	files
	path string
}

func (d unreadable) open(name string) (source, error) {
	if name == d.path {
		return nil, os.ErrPermission
	}
	return d.files.open(name)
}

// The command that replaces the archiver fails with the last line of its output.
func TestFailureOfArchiver(t *testing.T) {
	p := newPlace(t)
	p.Failures = new(Failures)
	p.Command = "echo first; echo no such server password=secret1234; exit 3 #"
	p.run(t.Context())
	if got := p.failing(); len(got) != 1 || !strings.HasPrefix(got[0], "archive 0s exit status 3: no such server ") || strings.Contains(got[0], "secret1234") {
		t.Errorf("failures are %q", got)
	}
	p.Command = "seq 2000; echo disk full; exit 3 #"
	p.run(t.Context())
	p.expectFailures("more output than is logged", "archive 0s exit status 3: disk full")
	p.Command = "true #"
	p.run(t.Context())
	p.expectFailures("success")
}

// The failure of the command for archived logs begins with the first failure of the log that
// has waited for the longest time, and ends when no log waits that has failed.
func TestFailureOfCommand(t *testing.T) {
	ok := filepath.Join(t.TempDir(), "ok")
	p := delivering(t, `echo no such server; test -e '`+ok+`' #`)
	p.Failures = new(Failures)
	synctest.Test(t, func(t *testing.T) {
		p.T, p.now = t, time.Now
		p.put(connName, "one\n")
		p.resume()
		p.once(t.Context())
		p.reportDeliveries()
		p.expectFailures("before the first attempt")
		for range 3 {
			path, wait := p.pending.next(p.now())
			for path == "" {
				time.Sleep(wait)
				path, wait = p.pending.next(p.now())
			}
			p.deliverOne(t.Context(), path)
		}
		p.reportDeliveries()
		name := filepath.Base(connGoal)
		p.expectFailures("three failures", "command 30s "+name+": exit status 1: no such server")
		if err := os.WriteFile(ok, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.put("dns"+strings.TrimPrefix(connName, "conn"), "two\n")
		p.once(t.Context())
		path, _ := p.pending.next(p.now())
		p.deliverOne(t.Context(), path)
		p.reportDeliveries()
		p.expectFailures("another log succeeds", "command 30s "+name+": exit status 1: no such server")
		time.Sleep(maxRetry)
		path, _ = p.pending.next(p.now())
		p.deliverOne(t.Context(), path)
		p.reportDeliveries()
		p.expectFailures("all logs succeed")
	})
}

// A list of logs that cannot be read is a failure of the command.
func TestFailureOfList(t *testing.T) {
	p := delivering(t, "true #")
	p.Failures = new(Failures)
	if err := os.WriteFile(p.Pending, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.resume()
	p.reportDeliveries()
	if got := p.failing(); len(got) != 1 || !strings.HasPrefix(got[0], "command 0s the list of logs: ") {
		t.Errorf("failures are %q", got)
	}
	if err := os.Remove(p.Pending); err != nil {
		t.Fatal(err)
	}
	p.resume()
	p.reportDeliveries()
	p.expectFailures("with a list")
}

// Run reports failures, and their end.
func TestRunReportsFailures(t *testing.T) {
	p := newPlace(t)
	ok := filepath.Join(t.TempDir(), "ok")
	p.Failures, p.Pending = new(Failures), filepath.Join(t.TempDir(), "pending")
	p.Finished = `test -e '` + ok + `' #`
	p.put(connName, "one\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Run(ctx, p.Config) }()
	await(t, func() bool { return len(p.Failures.Present()) == 1 })
	if err := os.WriteFile(ok, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return len(p.Failures.Present()) == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var none *Failures
	if none.Present() != nil {
		t.Error("a nil Failures has some")
	}
}
