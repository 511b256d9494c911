package archive

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	log := func(name string, age time.Duration, size int64) stored {
		return stored{name: name, size: size, written: now.Add(-age)}
	}
	logs := []stored{
		log("new", time.Hour, 10), log("future", -time.Hour, 10), log("written", time.Second, 10),
		log("old", 48*time.Hour, 10), log("oldest", 72*time.Hour, 10),
		{name: "held", size: 10, written: now.Add(-96 * time.Hour), held: true},
	}
	for _, tt := range []struct {
		limits Limits
		free   int64
		want   string
	}{
		{Limits{}, 0, ""},
		{Limits{Age: 24 * time.Hour}, 0, "oldest old"},
		{Limits{Age: 48 * time.Hour}, 0, "oldest"},
		{Limits{Size: 60}, 0, ""},
		{Limits{Size: 59}, 0, "oldest"},
		{Limits{Size: 50}, 0, "oldest"},
		{Limits{Size: 41}, 0, "oldest old"},
		{Limits{Size: 1}, 0, "oldest old new"},
		{Limits{Age: 60 * time.Hour, Size: 45}, 0, "oldest old"},
		{Limits{}, 1, "oldest"},
		{Limits{}, 11, "oldest old"},
		{Limits{}, 1000, "oldest old new"},
		{Limits{Age: 24 * time.Hour}, 15, "oldest old"},
	} {
		var got []string
		for _, s := range tt.limits.expired(now, logs, tt.free) {
			got = append(got, s.name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v, %d bytes to free: %q, want %q", tt.limits, tt.free, got, tt.want)
		}
	}
}

// For any archive: what is removed may be removed, no kept log that may be removed is older,
// and the limits hold afterwards or nothing more may be removed.
func TestExpiredProperties(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		logs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) stored {
			return stored{
				size: rapid.Int64Range(0, 100).Draw(t, "size"), held: rapid.IntRange(0, 4).Draw(t, "held") == 0,
				written: now.Add(-time.Duration(rapid.IntRange(-100, 10_000).Draw(t, "age")) * time.Second),
			}
		}), 0, 30).Draw(t, "logs")
		for i := range logs {
			logs[i].name = fmt.Sprint(i)
		}
		limits := Limits{
			Age:  time.Duration(rapid.IntRange(0, 10_000).Draw(t, "limit")) * time.Second,
			Size: rapid.Int64Range(0, 2000).Draw(t, "space"),
		}
		free := rapid.Int64Range(-1, 500).Draw(t, "free")
		removed := limits.expired(now, logs, free)
		var total, gone int64
		var kept []stored
		for _, s := range logs {
			if slices.Contains(removed, s) {
				gone += s.size
				continue
			}
			total += s.size
			if !s.held && now.Sub(s.written) >= recent {
				kept = append(kept, s)
			}
		}
		for _, s := range removed {
			if s.held || now.Sub(s.written) < recent {
				t.Fatalf("removed %+v", s)
			}
		}
		for _, s := range kept {
			if len(removed) > 0 && s.written.Before(removed[len(removed)-1].written) {
				t.Fatalf("kept %+v, removed %+v", s, removed)
			}
			if limits.Age > 0 && now.Sub(s.written) > limits.Age || limits.Size > 0 && total > limits.Size || gone < free {
				t.Fatalf("kept %+v with %d bytes left and %d removed: %+v", s, total, gone, limits)
			}
		}
	})
}

// file creates a file in the archive, last written at the given age.
func (p *place) file(name string, age time.Duration) {
	p.Helper()
	path := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		p.Fatal(err)
	}
	written := time.Now().Add(-age)
	if err := os.Chtimes(path, written, written); err != nil {
		p.Fatal(err)
	}
}

// Expiry removes logs and the directories that are empty then. It removes no files that are
// no logs of the archive, and none through a link.
func TestExpire(t *testing.T) {
	p := newPlace(t)
	p.Totals = new(Totals)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "mine.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"2026-01-01/a.log", "2026-01-02/b.log", "2026-01-02/.tmp.c.log", "notes/d.log", "e.log", "2026-01-03x/f.log",
	} {
		p.file(name, 100*time.Hour)
	}
	p.file("2026-01-02/new.log", time.Hour)
	for _, link := range []string{"2026-01-04", "2026-01-02/link.log"} {
		target := outside
		if filepath.Ext(link) != "" {
			target = filepath.Join(outside, "mine.log")
		}
		if err := os.Symlink(target, filepath.Join(p.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	p.Limits = func() Limits { return Limits{Age: 99 * time.Hour} }
	if got := p.expire(t.Context(), 0); got != 20 {
		t.Errorf("removed %d bytes, want 20", got)
	}
	var left []string
	err := filepath.WalkDir(p.Dir, func(path string, e fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(p.Dir, path); err == nil && !e.IsDir() && name != lockFile {
			left = append(left, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2026-01-02/.tmp.c.log", "2026-01-02/link.log", "2026-01-02/new.log", "2026-01-03x/f.log", "2026-01-04", "e.log", "notes/d.log"}
	if !slices.Equal(left, want) {
		t.Errorf("%q are left, want %q", left, want)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "2026-01-01")); !os.IsNotExist(err) {
		t.Errorf("the empty directory is left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "mine.log")); err != nil {
		t.Error(err)
	}
	if logs, bytes := p.Totals.ExpiredLogs.Load(), p.Totals.ExpiredBytes.Load(); logs != 2 || bytes != 20 {
		t.Errorf("totals are %d logs, %d bytes", logs, bytes)
	}
}

// Without limits nothing is removed, and nothing is created.
func TestNoExpiry(t *testing.T) {
	p := newPlace(t)
	p.Limits = func() Limits { return Limits{Age: time.Hour} }
	p.expire(t.Context(), 10)
	if _, err := os.Stat(p.Dir); !os.IsNotExist(err) {
		t.Errorf("expiry created the archive: %v", err)
	}
	p.Limits = nil
	p.file("2026-01-01/a.log", 1000*time.Hour)
	p.expire(t.Context(), 0)
	if n := len(p.archived()); n != 1 {
		t.Errorf("%d logs are left", n)
	}
	p.expire(t.Context(), 1)
	if n := len(p.archived()); n != 0 {
		t.Errorf("%d logs are left after a request to free space", n)
	}
}
