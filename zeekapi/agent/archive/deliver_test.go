package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// delivering returns a place whose archived logs are delivered by a command.
func delivering(t *testing.T, command string) *place {
	p := newPlace(t)
	p.Finished, p.Pending, p.Totals = command, filepath.Join(filepath.Dir(p.Queue), "pending"), new(Totals)
	p.again()
	return p
}

// again replaces the archiver by a new one, as after a crash.
func (p *place) again() { p.archiver = newArchiver(p.Config) }

// listed returns the logs on the list.
func (p *place) listed() []string {
	p.Helper()
	var names []string
	for _, path := range p.tree(p.Pending) {
		name, err := filepath.Rel(p.Dir, path)
		if err != nil {
			p.Error(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// The command gets each archived log once, if it succeeds.
func TestDeliver(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	p := delivering(t, `printf '%s\n' >>'`+seen+`'`)
	p.put(connName, "one\n")
	p.put("a b'$(c)"+strings.TrimPrefix(connName, "conn"), "two\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Run(ctx, p.Config) }()
	for p.Totals.Delivered.Load() < 2 || len(p.listed()) > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(b)), "\n")
	slices.Sort(got)
	want := []string{filepath.Join(p.Dir, "2026-11-22/a b'$(c).09:00:00-10:00:00.log.gz"), filepath.Join(p.Dir, connGoal)}
	if !slices.Equal(got, want) {
		t.Errorf("the command got %q, want %q", got, want)
	}
}

// A log for which the command has failed is tried again, by the next archiver as well, and
// does not expire.
func TestDeliverAgain(t *testing.T) {
	ok := filepath.Join(t.TempDir(), "ok")
	p := delivering(t, `echo no such server; test -e '`+ok+`' #`)
	p.put(connName, "one\n")
	p.once(t.Context())
	p.resume()
	path, _ := p.pending.next(p.now())
	p.deliverOne(t.Context(), path)
	if !strings.Contains(p.log.String(), "no such server") || p.Totals.Failures.Load() != 1 {
		t.Errorf("%d failures, logged: %s", p.Totals.Failures.Load(), p.log.String())
	}
	if path, wait := p.pending.next(p.now()); path != "" || wait <= 0 || wait > minRetry {
		t.Errorf("next attempt: %q after %s", path, wait)
	}
	p.again()
	p.resume()
	p.Limits = func() Limits { return Limits{Age: time.Second} }
	p.now = func() time.Time { return time.Now().Add(time.Hour) }
	if got := p.expire(t.Context(), 1000); got != 0 {
		t.Errorf("expiry removed %d bytes", got)
	}
	if err := os.WriteFile(ok, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, _ = p.pending.next(p.now()); path != filepath.Join(p.Dir, connGoal) {
		t.Fatalf("the next log is %q", path)
	}
	p.deliverOne(t.Context(), path)
	if n := p.pending.len(); n != 0 || len(p.listed()) != 0 {
		t.Errorf("%d logs are waiting: %q", n, p.listed())
	}
	if got := p.expire(t.Context(), 0); got == 0 {
		t.Error("a delivered log does not expire")
	}
}

// A log that was removed in the meantime, by an operator or the command, is not waited for.
func TestDeliverRemoved(t *testing.T) {
	p := delivering(t, "false #")
	p.put(connName, "one\n")
	p.once(t.Context())
	p.resume()
	path, _ := p.pending.next(p.now())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.deliverOne(t.Context(), path)
	if n := len(p.listed()); n != 0 || p.Totals.Failures.Load() != 0 {
		t.Errorf("%d logs are waiting, %d failures", n, p.Totals.Failures.Load())
	}
}

var errFailed = errors.New("failed")

// Logs without failures come first, and then the oldest; pauses become longer.
func TestDeliveryOrder(t *testing.T) {
	p := &pending{dir: "x", logs: map[string]*attempts{"b": {}, "a": {}, "c": {}}}
	now := time.Now()
	if got, _ := p.next(now); got != "a" {
		t.Errorf("first %q", got)
	}
	p.failed("a", now, errFailed)
	if got, _ := p.next(now.Add(time.Hour)); got != "b" {
		t.Errorf("after a failure of a: %q", got)
	}
	var pauses []time.Duration
	for range 12 {
		pauses = append(pauses, p.failed("b", now, errFailed).Sub(now))
	}
	if pauses[0] != minRetry || pauses[1] != 2*minRetry || pauses[11] != maxRetry {
		t.Errorf("pauses are %v", pauses)
	}
	p.failed("c", now, errFailed)
	if got, wait := p.next(now); got != "" || wait != minRetry {
		t.Errorf("with all failed: %q after %s", got, wait)
	}
	if got, wait := new(pending).next(now); got != "" || wait >= 0 {
		t.Errorf("without logs: %q after %s", got, wait)
	}
}

// The archiver is killed, or the disk fails, at any step: afterwards each log is in the
// archive, and on the list of the next archiver.
func TestDeliveriesSurvive(t *testing.T) {
	for _, dead := range []bool{false, true} {
		for failing := 1; ; failing++ {
			p := delivering(t, "true")
			p.put(connName, "one\n")
			d := &faulty{failing: failing, dead: dead, err: os.ErrPermission}
			p.use(d)
			p.once(t.Context())
			if d.steps < failing {
				break
			}
			p.again()
			p.resume()
			p.once(t.Context())
			if got := p.listed(); !slices.Equal(got, []string{connGoal}) || p.pending.len() != 1 {
				t.Errorf("step %d, %s, dead %t: the list is %q, %d in memory", failing, d.log[failing-1], dead, got, p.pending.len())
			}
			p.expect(fmt.Sprintf("step %d", failing), map[string]string{connGoal: "one\n"})
		}
	}
}

// A list that cannot be read keeps everything from expiring, and is read later.
func TestDeliveriesUnreadable(t *testing.T) {
	p := delivering(t, "true")
	p.put(connName, "one\n")
	p.once(t.Context())
	p.again()
	p.use(&faulty{failing: 1, err: os.ErrPermission})
	p.resume()
	if !strings.Contains(p.log.String(), "cannot read the list") {
		t.Errorf("log: %s", p.log.String())
	}
	p.now = func() time.Time { return time.Now().Add(time.Hour) }
	if got := p.expire(t.Context(), 1000); got != 0 {
		t.Errorf("expiry removed %d bytes", got)
	}
	p.resume()
	if path, _ := p.pending.next(p.now()); path == "" {
		t.Error("no log is waiting")
	}
}

func TestInvalidConfig(t *testing.T) {
	for what, c := range map[string]Config{
		"no list":      {Queue: "q", Dir: "d", Finished: "true"},
		"two commands": {Queue: "q", Dir: "d", Finished: "true", Pending: "p", Command: "true"},
		"compression":  {Queue: "q", Dir: "d", Compression: "lzma"},
		"no queue":     {Dir: "d"},
	} {
		if err := Run(t.Context(), c); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
