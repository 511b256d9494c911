package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// filled is a disk on which no file can be created until it has room.
type filled struct {
	files
	began    time.Time
	room     time.Time
	attempts []time.Duration // since the beginning
}

func (d *filled) create(name string) (target, error) {
	d.attempts = append(d.attempts, time.Since(d.began))
	if time.Now().Before(d.room) {
		return nil, syscall.ENOSPC
	}
	return d.files.create(name)
}

// A log that does not fit on a full disk is archived soon after there is room. The pauses
// between the attempts double up to a limit, and the log says so once.
func TestRetriesOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.Interval = 24 * time.Hour
		p.put(connName, "one\n")
		d := &filled{began: time.Now(), room: time.Now().Add(20 * time.Minute)}
		p.use(d)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.serve(ctx); close(done) }()
		time.Sleep(2 * time.Hour)
		cancel()
		<-done
		p.expect("with room", map[string]string{connGoal: "one\n"})
		seconds := func(n ...int) (all []time.Duration) {
			for _, n := range n {
				all = append(all, time.Duration(n)*time.Second)
			}
			return all
		}
		if want := seconds(0, 5, 15, 35, 75, 155, 315, 615, 915, 1215); !slices.Equal(d.attempts, want) {
			t.Errorf("attempts after %v, want %v", d.attempts, want)
		}
		if n := strings.Count(p.log.String(), "no space left on device"); n != 1 {
			t.Errorf("%d lines about the disk, want one:\n%s", n, p.log.String())
		}
	})
}

// Another error of the same log is logged, and so is one that returns.
func TestErrorsAreLoggedOnce(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	lines := func(want int) {
		t.Helper()
		p.run(t.Context())
		if n := strings.Count(p.log.String(), "cannot archive log"); n != want {
			t.Errorf("%d lines, want %d:\n%s", n, want, p.log.String())
		}
	}
	failing := func(err error) {
		d := &faulty{failing: 3, dead: true, err: err}
		p.use(d)
	}
	failing(syscall.ENOSPC)
	lines(1)
	failing(syscall.ENOSPC)
	lines(1)
	failing(syscall.EIO)
	lines(2)
	p.use(files{})
	lines(2)
	p.put(connName, "two\n")
	failing(syscall.EIO)
	lines(3)
}

// A command that fails is run again, too.
func TestCommandIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.Interval = 24 * time.Hour
		counter := filepath.Join(t.TempDir(), "runs")
		p.Command = fmt.Sprintf("echo run >>'%s'; [ $(wc -l <'%s') -gt 2 ] #", counter, counter)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.serve(ctx); close(done) }()
		time.Sleep(time.Hour)
		cancel()
		<-done
		if got := p.tree(filepath.Dir(counter))["runs"]; got != "run\nrun\nrun\n" {
			t.Errorf("runs are %q, want three", got)
		}
		if n := strings.Count(p.log.String(), "archiving failed"); n != 1 {
			t.Errorf("%d lines, want one:\n%s", n, p.log.String())
		}
	})
}
