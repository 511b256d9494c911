package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/internal/synced"
)

// faulty is a disk that fails at step number failing and, if dead is set, at
// all later steps, as after a crash. A failing write writes half of its data.
// Nothing is synced, because the machine does not crash and syncing takes much
// longer than everything else.
type faulty struct {
	files
	steps, failing int
	dead           bool
	err            error
	log            []string
}

func (d *faulty) step(what string) error {
	d.steps++
	d.log = append(d.log, what)
	if d.steps == d.failing || d.dead && d.steps > d.failing {
		return fmt.Errorf("%s: %w", what, d.err)
	}
	return nil
}

func (d *faulty) list(dir string) ([]fs.DirEntry, error) {
	if err := d.step("list"); err != nil {
		return nil, err
	}
	return d.files.list(dir)
}

func (d *faulty) open(name string) (source, error) {
	if err := d.step("open"); err != nil {
		return nil, err
	}
	f, err := d.files.open(name)
	if err != nil {
		return nil, err
	}
	return faultySource{f, d}, nil
}

type faultySource struct {
	source
	disk *faulty
}

func (s faultySource) Read(b []byte) (int, error) {
	if err := s.disk.step("read"); err != nil {
		return 0, err
	}
	return s.source.Read(b)
}

func (d *faulty) create(name string) (target, error) {
	if err := d.step("create"); err != nil {
		return nil, err
	}
	f, err := d.files.create(name)
	if err != nil {
		return nil, err
	}
	return faultyTarget{f, d}, nil
}

type faultyTarget struct {
	target
	disk *faulty
}

func (t faultyTarget) Write(b []byte) (int, error) {
	if err := t.disk.step("write"); err != nil {
		n, _ := t.target.Write(b[:len(b)/2])
		return n, err
	}
	return t.target.Write(b)
}

func (t faultyTarget) Sync() error {
	return t.disk.step("sync")
}

func (t faultyTarget) setTime(at time.Time) error {
	if err := t.disk.step("set time"); err != nil {
		return err
	}
	return t.target.setTime(at)
}

func (t faultyTarget) Close() error {
	return errors.Join(t.disk.step("close"), t.target.Close())
}

func (d *faulty) mkdir(dir string) error {
	if err := d.step("mkdir"); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// rename can fail before it renames and, as its last step, after that.
func (d *faulty) rename(from, to string) error {
	if err := d.step("rename"); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.step("sync directory")
}

func (d *faulty) remove(name string) error {
	if err := d.step("remove"); err != nil {
		return err
	}
	return d.files.remove(name)
}

// After any failure or crash, the complete log is in the queue or in the
// archive, and the next run completes the move.
func TestEveryStepFails(t *testing.T) {
	content := random(40 << 10)
	for _, kind := range []struct {
		name string
		dead bool
		err  error
	}{{"error", false, syscall.EIO}, {"full disk", false, syscall.ENOSPC}, {"crash", true, errors.New("crash")}} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			var steps []string
			for failing := 1; ; failing++ {
				p := newPlace(t)
				p.put(connName, content)
				d := &faulty{failing: failing, dead: kind.dead, err: kind.err}
				p.use(d)
				p.once(t.Context())
				if d.steps < failing {
					steps = d.log
					break
				}
				what := fmt.Sprintf("%s of %s, step %d", kind.name, d.log[failing-1], failing)
				queued, err := os.ReadFile(filepath.Join(p.Queue, connName))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				inQueue := err == nil && string(queued) == content
				inArchive := p.archived()[connGoal] == content
				if !inQueue && !inArchive {
					t.Fatalf("%s: the log is in neither the queue nor the archive", what)
				}
				if inQueue && !strings.Contains(p.log.String(), kind.err.Error()) {
					t.Errorf("%s: the error is not logged: %s", what, p.log.String())
				}
				if !kind.dead && d.log[failing-1] != "remove" {
					for name := range p.archived() {
						if strings.Contains(name, ".tmp.") {
							t.Errorf("%s: left %s", what, name)
						}
					}
				}

				p.use(&faulty{})
				p.once(t.Context())
				p.expect(what+", then the next run", map[string]string{connGoal: content})
			}
			for _, want := range []string{"list", "mkdir", "open", "create", "read", "write", "set time", "sync", "close", "rename", "sync directory", "remove"} {
				if !slices.Contains(steps, want) {
					t.Errorf("step %s was never reached: %q", want, steps)
				}
			}
		})
	}
}

func TestContextEndsDuringMove(t *testing.T) {
	p := newPlace(t)
	p.put(connName, random(1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	p.use(&stopping{cancel: cancel})
	p.once(ctx)
	p.expect("after the context ended", map[string]string{}, connName)
	if p.log.Len() > 0 {
		t.Errorf("unexpected log: %s", p.log.String())
	}
}

// stopping is a disk that ends the context when it is used.
type stopping struct {
	files
	cancel context.CancelFunc
}

func (s *stopping) create(name string) (target, error) {
	s.cancel()
	return s.files.create(name)
}

// A crash of the machine loses no log, because everything is synced before the log is
// removed from the queue: the new directories, the archived log under its temporary name,
// and then its final name.
func TestMoveSyncs(t *testing.T) {
	p := newPlace(t)
	p.put(connName, random(1<<10))
	got := synced.Files(t, func() { p.once(t.Context()) })
	p.expect("after the run", map[string]string{connGoal: random(1 << 10)})
	root, err := filepath.EvalSymlinks(filepath.Dir(p.Queue))
	if err != nil {
		t.Fatal(err)
	}
	goal := filepath.Join(p.Dir, connGoal)
	want := []string{
		"", "deep", // in which directories are created
		filepath.Join("deep", "archive"),
		filepath.Join("deep", "archive", filepath.Dir(connGoal), ".tmp."+filepath.Base(goal)),
		filepath.Join("deep", "archive", filepath.Dir(connGoal)),
	}
	for i, name := range want {
		want[i] = filepath.Join(root, name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("archiving synced %q, want %q", got, want)
	}
}

// The temporary file is synced before it gets its final name, and that is before the
// removal from the queue.
func TestMoveOrder(t *testing.T) {
	p := newPlace(t)
	p.put(connName, random(1<<10))
	d := &faulty{}
	p.use(d)
	p.once(t.Context())
	at := -1
	for _, step := range []string{"write", "set time", "sync", "rename", "sync directory", "remove"} {
		next := slices.Index(d.log[at+1:], step)
		if next < 0 {
			t.Fatalf("no step %q after step %d of %q", step, at, d.log)
		}
		at += 1 + next
	}
}
