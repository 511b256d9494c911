package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseName(t *testing.T) {
	const times = "__2026-11-22-09-00-00__2026-11-22-10-00-00__"
	for _, tt := range []struct{ name, want string }{
		{"conn" + times + ".log", "2026-11-22/conn.09:00:00-10:00:00.log.gz"},
		{"conn" + times + ".log.gz", "2026-11-22/conn.09:00:00-10:00:00.log.gz"},
		{"conn__2026-11-22-23-00-00__2026-11-23-00-00-00__.log", "2026-11-22/conn.23:00:00-00:00:00.log.gz"},
		{"conn" + times + "log_suffix=logger-1,pid=4711__.log", "2026-11-22/conn.09:00:00-10:00:00-logger-1.log.gz"},
		{"conn" + times + "pid=4711__.log", "2026-11-22/conn.09:00:00-10:00:00.log.gz"},
		{"conn" + times + "__.log", "2026-11-22/conn.09:00:00-10:00:00.log.gz"},
		{"my__own" + times + ".log", "2026-11-22/my__own.09:00:00-10:00:00.log.gz"},
		{"a b'$(c)" + times + ".json", "2026-11-22/a b'$(c).09:00:00-10:00:00.json.gz"},
		{"conn" + times, "2026-11-22/conn.09:00:00-10:00:00.gz"},

		{"conn.log", ""},
		{"conn" + times + "log", ""},
		{times + ".log", ""},
		{".conn" + times + ".log", ""},
		{"conn__2026-13-22-09-00-00__2026-11-22-10-00-00__.log", ""},
		{"conn__2026-11-22-09-00-00__2026-11-22-25-00-00__.log", ""},
		{"conn" + times + "log_suffix=a,__.log", ""},
		{"conn" + times + "log_suffix,b=a__.log", ""},
		{"conn" + times + " __.log", ""},
	} {
		got := ""
		if r, ok := parseName(tt.name); ok {
			got = r.dir() + "/" + r.file(1, Gzip)
		}
		if got != tt.want {
			t.Errorf("%s is archived as %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("conn__2026-11-22-09-00-00__2026-11-22-10-00-00__log_suffix=a__.log")
	f.Fuzz(func(t *testing.T, name string) {
		if strings.Contains(name, "/") {
			return // not a file name
		}
		r, ok := parseName(name)
		if ok && (strings.Contains(r.file(2, Gzip), "/") || strings.HasPrefix(r.file(2, Gzip), ".")) {
			t.Errorf("%q is archived as %q", name, r.file(2, Gzip))
		}
	})
}

const (
	connName = "conn__2026-11-22-09-00-00__2026-11-22-10-00-00__.log"
	connGoal = "2026-11-22/conn.09:00:00-10:00:00.log.gz"
)

// place is an archive and its queue, whose files are old enough to be
// archived.
type place struct {
	*testing.T
	*archiver
	log bytes.Buffer
}

func newPlace(t *testing.T) *place {
	p := &place{T: t}
	dir := t.TempDir()
	p.archiver = newArchiver(Config{
		Queue: filepath.Join(dir, "queue"), Dir: filepath.Join(dir, "deep", "archive"), Log: zerolog.New(zerolog.SyncWriter(&p.log)),
	})
	if err := os.Mkdir(p.Queue, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *place) put(name, content string) {
	p.Helper()
	path := filepath.Join(p.Queue, name)
	old := time.Now().Add(-time.Minute)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.Fatal(err)
	}
	if err := os.Chtimes(path, old, old); err != nil {
		p.Fatal(err)
	}
}

// archived returns the content of the archive, uncompressed.
func (p *place) archived() map[string]string {
	found := p.tree(p.Dir)
	delete(found, lockFile)
	return found
}

func (p *place) queued() []string {
	var names []string
	for name := range p.tree(p.Queue) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p *place) tree(root string) map[string]string {
	p.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".gz") && !strings.HasPrefix(e.Name(), ".") {
			if b, err = unzip(b); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
		name, _ := filepath.Rel(root, path)
		found[name] = string(b)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		p.Error(err)
	}
	return found
}

func unzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func zip(content string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(content))
	z.Close()
	return b.String()
}

func (p *place) expect(what string, archived map[string]string, queued ...string) {
	p.Helper()
	if diff := cmp.Diff(archived, p.archived()); diff != "" {
		p.Errorf("%s: archive (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(queued, p.queued()); diff != "" {
		p.Errorf("%s: queue (-want +got):\n%s", what, diff)
	}
}

func TestArchive(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "")
	p.put("http"+strings.TrimPrefix(connName, "conn")+".gz", zip("three\n"))
	p.put("notes.txt", "mine")
	if err := os.Mkdir(filepath.Join(p.Queue, "x"+strings.TrimPrefix(connName, "conn")), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.once(t.Context())
	}
	p.expect("archived", map[string]string{
		connGoal: "one\n",
		"2026-11-22/dns.09:00:00-10:00:00.log.gz":  "",
		"2026-11-22/http.09:00:00-10:00:00.log.gz": "three\n",
	}, "notes.txt")
	if n := strings.Count(p.log.String(), "not a rotated log"); n != 2 {
		t.Errorf("logged %d warnings, want one for each of two files: %s", n, p.log.String())
	}
	info, err := os.Stat(filepath.Join(p.Dir, connGoal))
	if err != nil || time.Since(info.ModTime()) < 30*time.Second {
		t.Errorf("the modification time is not preserved: %v, %v", info.ModTime(), err)
	}
}

// Logs can have the same name: when clocks are set back, or if two loggers
// have the same name.
func TestLogsWithTheSameName(t *testing.T) {
	p := newPlace(t)
	for _, content := range []string{"one\n", "two\n", "", "one\n", "two\nand more\n"} {
		p.put(connName, content)
		p.once(t.Context())
	}
	p.expect("archived", map[string]string{
		connGoal: "one\n",
		"2026-11-22/conn.09:00:00-10:00:00-2.log.gz": "two\n",
		"2026-11-22/conn.09:00:00-10:00:00-3.log.gz": "",
		"2026-11-22/conn.09:00:00-10:00:00-4.log.gz": "two\nand more\n",
	})
}

// A file with the name of the log may contain a part of the log, or something
// else.
func TestExistingFileIsKept(t *testing.T) {
	whole := zip("one\n")
	for name, there := range map[string]string{"empty": "", "half": whole[:len(whole)-4], "not gzip": "one\n", "more": zip("one\ntwo\n")} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.put(connName, "one\n")
			goal := filepath.Join(p.Dir, connGoal)
			if err := os.MkdirAll(filepath.Dir(goal), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(goal, []byte(there), 0o644); err != nil {
				t.Fatal(err)
			}
			p.once(t.Context())
			if got, err := os.ReadFile(goal); err != nil || string(got) != there {
				t.Errorf("the existing file was changed: %q, %v", got, err)
			}
			second, err := os.ReadFile(filepath.Join(p.Dir, "2026-11-22/conn.09:00:00-10:00:00-2.log.gz"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := unzip(second); err != nil || string(got) != "one\n" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// growing is a disk on which a file grows while it is read.
type growing struct {
	files
	path string
}

func (g growing) create(name string) (target, error) {
	f, err := os.OpenFile(g.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	f.WriteString("more\n")
	f.Close()
	return g.files.create(name)
}

func TestFilesBeingWrittenAreSkipped(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	p.use(growing{path: filepath.Join(p.Queue, connName)})
	p.once(t.Context())
	p.expect("while it grows", map[string]string{}, connName)

	info, err := os.Stat(filepath.Join(p.Queue, connName))
	if err != nil {
		t.Fatal(err)
	}
	p.use(files{})
	p.now = func() time.Time { return info.ModTime().Add(settleTime - 1) }
	p.once(t.Context())
	p.expect("just written", map[string]string{}, connName)

	p.now = func() time.Time { return info.ModTime().Add(settleTime) }
	p.once(t.Context())
	p.expect("later", map[string]string{connGoal: "one\nmore\n"})
	if p.log.Len() > 0 && strings.Contains(p.log.String(), `"level":"error"`) {
		t.Errorf("unexpected log: %s", p.log.String())
	}
}

// Links, pipes and directories are not logs, even if one replaces a log after
// the queue has been listed.
func TestIrregularFilesAreSkipped(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, create := range map[string]func(name string) error{
		"link":   func(name string) error { return os.Symlink(secret, name) },
		"pipe":   func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"folder": func(name string) error { return os.Mkdir(name, 0o700) },
	} {
		t.Run(what, func(t *testing.T) {
			p := newPlace(t)
			if err := create(filepath.Join(p.Queue, connName)); err != nil {
				t.Fatal(err)
			}
			p.now = func() time.Time { return time.Now().Add(time.Hour) } // old enough to be complete
			p.once(t.Context())
			if err := p.move(t.Context(), connName, rotated{log: "conn"}); err == nil {
				t.Error("move accepted it")
			}
			if got := p.archived(); len(got) != 0 {
				t.Errorf("archived %v", got)
			}
			if _, err := os.Stat(secret); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMissingQueue(t *testing.T) {
	p := newPlace(t)
	if err := os.Remove(p.Queue); err != nil {
		t.Fatal(err)
	}
	p.once(t.Context())
	if p.log.Len() > 0 {
		t.Errorf("unexpected log: %s", p.log.String())
	}
}

func TestRun(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	p.Interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, p.Config) }()
	await(t, func() bool { return len(p.queued()) == 0 })
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "two\n")
	await(t, func() bool { return len(p.queued()) == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.expect("in the end", map[string]string{connGoal: "one\n", "2026-11-22/dns.09:00:00-10:00:00.log.gz": "two\n"})

	if err := Run(t.Context(), Config{}); err == nil {
		t.Error("Run accepts a Config without directories")
	}
}

// putYoung adds a log that counts as complete after the given time.
func (p *place) putYoung(name, content string, settled time.Duration) {
	p.Helper()
	p.put(name, content)
	written := time.Now().Add(settled - settleTime)
	if err := os.Chtimes(filepath.Join(p.Queue, name), written, written); err != nil {
		p.Fatal(err)
	}
}

// A log that is too young for a run does not wait for the next interval, and a run
// can be requested.
func TestLogsNeedNotWaitForInterval(t *testing.T) {
	p := newPlace(t)
	p.putYoung(connName, "one\n", time.Second)
	p.Interval = time.Hour
	wake := make(chan struct{})
	p.Wake = wake
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, p.Config) }()
	await(t, func() bool { return len(p.queued()) == 0 })
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "two\n")
	wake <- struct{}{}
	await(t, func() bool { return len(p.queued()) == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.expect("in the end", map[string]string{connGoal: "one\n", "2026-11-22/dns.09:00:00-10:00:00.log.gz": "two\n"})
}

// Two archivers of one archive, as of two agents, do not overwrite each other's logs.
func TestArchiversTakeTurns(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	other, err := dirlock.Take(t.Context(), p.Dir, lockFile)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	go func() { done <- p.once(t.Context()) }()
	select {
	case <-done:
		t.Error("it did not wait for the other archiver")
	case <-time.After(10 * time.Millisecond):
		p.expect("before its turn", map[string]string{}, connName)
		other.Close()
		if moved := <-done; moved != 1 {
			t.Errorf("moved %d logs", moved)
		}
	}
	p.expect("after its turn", map[string]string{connGoal: "one\n"})

	p.put(connName, "two\n")
	if other, err = dirlock.Take(t.Context(), p.Dir, lockFile); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if moved := p.once(ctx); moved != 0 {
		t.Errorf("moved %d logs", moved)
	}
	if strings.Contains(p.log.String(), `"level":"error"`) {
		t.Errorf("unexpected log: %s", p.log.String())
	}
}

func TestFinish(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	p.putYoung("dns"+strings.TrimPrefix(connName, "conn"), "two\n", time.Second)
	p.put("notes.txt", "mine")
	if err := Finish(t.Context(), p.Config); err != nil {
		t.Fatal(err)
	}
	p.expect("finished", map[string]string{connGoal: "one\n", "2026-11-22/dns.09:00:00-10:00:00.log.gz": "two\n"}, "notes.txt")

	p.putYoung(connName, "three\n", time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Finish(ctx, p.Config); err != nil {
		t.Fatal(err)
	}
	p.expect("not finished", p.archived(), connName, "notes.txt")

	if err := Finish(t.Context(), Config{}); err == nil {
		t.Error("Finish accepts a Config without directories")
	}
}

// A command that leaves a young log in the queue runs again when the log is complete.
func TestCommandRunsAgainForYoungLogs(t *testing.T) {
	p := newPlace(t)
	p.putYoung(connName, "one\n", time.Second)
	out := filepath.Join(t.TempDir(), "runs")
	p.Command = fmt.Sprintf("echo run >>'%s' #", out)
	if err := Finish(t.Context(), p.Config); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "run\nrun\n" {
		t.Errorf("%q, %v", got, err)
	}

	if err := errors.Join(os.Remove(filepath.Join(p.Queue, connName)), os.Remove(out), Finish(t.Context(), p.Config)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err == nil {
		t.Errorf("without a log: %q", got)
	}
}

func await(t *testing.T, there func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for !there() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("timeout")
		}
	}
}

func TestCommand(t *testing.T) {
	p := newPlace(t)
	out := filepath.Join(t.TempDir(), "arguments of it")
	p.Command = fmt.Sprintf(`printf '%%s\n' >'%s' first`, out)
	p.command(t.Context())
	got, err := os.ReadFile(out)
	if want := "first\n-1\n" + p.Queue + "\n" + p.Dir + "\n"; err != nil || string(got) != want {
		t.Errorf("arguments %q, %v, want %q", got, err, want)
	}

	p.Command = "echo broken >&2; exit 3 #"
	p.command(t.Context())
	if !strings.Contains(p.log.String(), "exit status 3") || !strings.Contains(p.log.String(), "broken") {
		t.Errorf("log is %s", p.log.String())
	}

	p.log.Reset()
	p.Command = "sleep 1000 #"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.command(ctx); close(done) }()
	cancel()
	<-done
	if p.log.Len() > 0 {
		t.Errorf("log is %s", p.log.String())
	}
}

// All processes that the command has started get the signal to end, not only the shell.
func TestCommandEndsWithItsProcesses(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	ready, ended := filepath.Join(dir, "ready"), filepath.Join(dir, "ended")
	exists := func(name string) bool { _, err := os.Stat(name); return err == nil }
	p.Command = fmt.Sprintf(`(trap "echo >'%s'; exit" TERM; echo >'%s'; while :; do sleep 0.05; done) & wait #`, ended, ready)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.command(ctx); close(done) }()
	await(t, func() bool { return exists(ready) })
	cancel()
	<-done
	await(t, func() bool { return exists(ended) })
}

// random returns text that cannot be compressed.
func random(size int) string {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return string(b)
}

// rewriting is a disk on which another program replaces the content of a log with one
// of the same size while the log is archived.
type rewriting struct {
	files
	path string
}

func (r rewriting) create(name string) (target, error) {
	if err := os.WriteFile(r.path, []byte("new\n"), 0o600); err != nil {
		return nil, err
	}
	return r.files.create(name)
}

// A log that changes while it is archived stays in the queue, even if its size is the
// same afterwards.
func TestRewrittenLogIsSkipped(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "old\n")
	p.use(rewriting{path: filepath.Join(p.Queue, connName)})
	p.once(t.Context())
	p.expect("while it changes", map[string]string{}, connName)
}

// appending is a disk on which a log grows while it is archived, and has the same time as
// before: at the beginning, or after it was read.
type appending struct {
	files
	path   string
	atOnce bool
}

func (d appending) append() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("more\n")
	return errors.Join(err, f.Close(), os.Chtimes(d.path, info.ModTime(), info.ModTime()))
}

func (d appending) create(name string) (target, error) {
	f, err := d.files.create(name)
	if d.atOnce {
		err = errors.Join(err, d.append())
	}
	return f, err
}

func (d appending) open(name string) (source, error) {
	f, err := d.files.open(name)
	if err != nil {
		return nil, err
	}
	return appendingSource{f, d}, nil
}

type appendingSource struct {
	source
	disk appending
}

func (s appendingSource) Read(b []byte) (int, error) {
	n, err := s.source.Read(b)
	if errors.Is(err, io.EOF) && !s.disk.atOnce {
		if failed := s.disk.append(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// A log that grows while it is archived stays in the queue, even if its time is the same
// afterwards.
func TestLogThatGrowsUnnoticedIsSkipped(t *testing.T) {
	for _, atOnce := range []bool{true, false} {
		p := newPlace(t)
		p.put(connName, "old\n")
		p.use(appending{path: filepath.Join(p.Queue, connName), atOnce: atOnce})
		p.once(t.Context())
		p.expect(fmt.Sprintf("at once %t", atOnce), map[string]string{}, connName)
	}
}

// The clock of a log in the future says nothing about its age.
func TestLogFromFutureIsArchived(t *testing.T) {
	p := newPlace(t)
	p.put(connName, "one\n")
	p.now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
	p.once(t.Context())
	p.expect("a day earlier", map[string]string{connGoal: "one\n"})
}

// What an interrupted run left under the temporary name is replaced. A link with that
// name is not followed.
func TestTemporaryFileExists(t *testing.T) {
	temporary := func(p *place) string {
		goal := filepath.Join(p.Dir, connGoal)
		if err := os.MkdirAll(filepath.Dir(goal), 0o755); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(filepath.Dir(goal), ".tmp."+filepath.Base(goal))
	}
	t.Run("longer file", func(t *testing.T) {
		p := newPlace(t)
		p.put(connName, "one\n")
		if err := os.WriteFile(temporary(p), []byte(random(10<<10)), 0o600); err != nil {
			t.Fatal(err)
		}
		p.once(t.Context())
		p.expect("after the run", map[string]string{connGoal: "one\n"})
	})
	t.Run("link", func(t *testing.T) {
		p := newPlace(t)
		p.put(connName, "one\n")
		other := filepath.Join(t.TempDir(), "other")
		if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(other, temporary(p)); err != nil {
			t.Fatal(err)
		}
		p.once(t.Context())
		if got, err := os.ReadFile(other); err != nil || string(got) != "other" {
			t.Errorf("the file to which the link points has %q, %v", got, err)
		}
	})
}
