package loaded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseList(t *testing.T) {
	long := "/" + strings.Repeat("x", maxPath)
	for name, c := range map[string]struct {
		list string
		want []string
		err  error
	}{
		"good":           {"/a\x00./b\x00././c\x00d/../e\x00\x00", []string{"/a", "/dir/b", "/dir/c", "/dir/e"}, nil},
		"nothing":        {"\x00", nil, nil},
		"empty":          {"", nil, ErrUnfinished},
		"unfinished":     {"/a\x00", nil, ErrUnfinished},
		"cut":            {"/a\x00/b", nil, ErrUnfinished},
		"duplicates":     {"/a\x00/./a\x00\x00", []string{"/a"}, nil},
		"unprintable":    {"/a\nb\x00/\x1b[2J\x00/\xff\x00/ö ü\x00\x00", []string{"/ö ü"}, nil},
		"long":           {long + "\x00/a\x00\x00", []string{"/a"}, nil},
		"after the list": {"/a\x00\x00/b\x00", []string{"/a"}, nil},
	} {
		got, err := ParseList([]byte(c.list), "/dir")
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	var many strings.Builder
	for i := range MaxFiles + 10 {
		many.WriteString("/" + strings.Repeat("y", i%100) + string(rune('a'+i%26)) + strings.Repeat("z", i/100) + "\x00")
	}
	if got, err := ParseList([]byte(many.String()+"\x00"), "/"); err != nil || len(got) != MaxFiles {
		t.Errorf("many: %d, %v", len(got), err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("/a\x00./b\x00\x00"))
	f.Add([]byte("\x00"))
	f.Add([]byte("/a\n\x00/\xff\x00"))
	f.Fuzz(func(t *testing.T, list []byte) {
		paths, err := ParseList(list, "/dir")
		if err != nil && paths != nil || len(paths) > MaxFiles {
			t.Fatalf("%d paths, %v", len(paths), err)
		}
		seen := make(map[string]bool)
		for _, path := range paths {
			if !filepath.IsAbs(path) || filepath.Clean(path) != path || !printable(path) || seen[path] || len(path) > maxPath+len("/dir/") {
				t.Errorf("got %q", path)
			}
			seen[path] = true
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"start":"s","files":[{"path":"/a","size":1,"mtime":2,"sha256":"00"}]}`))
	f.Add([]byte(`{"version":1,"start":"s","files":[{"path":"/a\n"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := Load(name, "s")
		if err != nil && files != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !printable(file.Path) {
				t.Errorf("got %q", file.Path)
			}
		}
	})
}

// Only regular files are read, and no symbolic link that stands for the list is followed.
func TestReadListOfHostileNodes(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("list"), []byte("/a\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	large, err := os.Create(at("large"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(large.Truncate(maxList+1), large.Close(), syscall.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("dir"), 0o700),
		os.Symlink("list", at("link")), os.Symlink("loop", at("loop")), os.Symlink("/dev/zero", at("device"))); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadList(at("list"), dir); err != nil || len(got) != 1 {
		t.Errorf("list: %v, %v", got, err)
	}
	if _, err := ReadList(at("missing"), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	for _, name := range []string{"large", "fifo", "dir", "link", "loop", "device"} {
		if _, err := ReadList(at(name), dir); err == nil || errors.Is(err, ErrUnfinished) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Load(at(name), "s"); err == nil {
			t.Errorf("loaded %s", name)
		}
	}
	var paths []string
	for _, name := range []string{"list", "large", "fifo", "dir", "link", "loop", "device"} {
		paths = append(paths, at(name))
	}
	var got []string
	for _, f := range NewLook(t.Context()).Take(paths, time.Time{}) {
		got = append(got, filepath.Base(f.Path))
	}
	if diff := cmp.Diff([]string{"list", "large", "link"}, got); diff != "" {
		t.Errorf("fingerprint (-want +got):\n%s", diff)
	}
}

func TestSave(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	want := []File{{Path: "/a", Size: 1, ModTime: 2, Hash: "h", Edited: true}, {Path: "/b"}}
	if err := Save(name, "s", want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(name, "s")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := Load(name, "another"); err == nil {
		t.Error("loaded the fingerprint of another start")
	}
}

func TestChanged(t *testing.T) {
	dir := t.TempDir()
	early := time.Unix(1_000_000, 0)
	write := func(name, text string, at time.Time) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	take := func(began time.Time, paths ...string) []File { return NewLook(t.Context()).Take(paths, began) }
	changed := func(files []File) int { return len(NewLook(t.Context()).Changed(files)) }

	a := write("a", "old", early)
	if files := take(early.Add(time.Second), a); changed(files) != 0 {
		t.Error("unchanged")
	}
	if files := take(early.Add(-time.Second), a); changed(files) != 1 {
		t.Error("changed before the fingerprint")
	}
	write("a", "old", time.Now().Add(time.Hour))
	if files := take(early, a); changed(files) != 0 {
		t.Error("modified in the future")
	}
	write("a", "old", early)
	files := take(time.Time{}, a)
	if changed(files) != 0 {
		t.Error("unknown start")
	}
	write("a", "old", early.Add(time.Second))
	if changed(files) != 0 || files[0].ModTime != early.Add(time.Second).UnixNano() {
		t.Error("touched")
	}
	write("a", "new", early.Add(2*time.Second))
	if changed(files) != 1 {
		t.Error("changed")
	}
	write("a", "longer", early.Add(time.Second))
	if changed(files) != 1 {
		t.Error("another size")
	}

	b := write("b", "", early)
	large := func(at time.Time) {
		if err := errors.Join(os.Truncate(b, maxHashed+1), os.Chtimes(b, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	large(early)
	files = take(time.Time{}, b)
	if files[0].Hash != "" || changed(files) != 0 {
		t.Error("large file")
	}
	large(early.Add(time.Second))
	if changed(files) != 1 {
		t.Error("a large file was touched")
	}

	for what, replace := range map[string]func(string) error{
		"removed":   func(string) error { return nil },
		"pipe":      func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"directory": func(name string) error { return os.Mkdir(name, 0o700) },
		"loop":      func(name string) error { return os.Symlink(name, name) },
	} {
		c := write("c", "old", early)
		files = take(time.Time{}, c)
		if err := errors.Join(os.Remove(c), replace(c)); err != nil {
			t.Fatal(err)
		}
		if changed(files) != 1 {
			t.Errorf("%s: not changed", what)
		}
		_ = os.Remove(c) // if it is there
	}
}

// A Look reads a limited amount, and nothing after its context has ended.
func TestLookIsLimited(t *testing.T) {
	a := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(a, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := NewLook(t.Context())
	k.budget = 3
	if f := k.Take([]string{a}, time.Time{}); f[0].Hash != "" {
		t.Error("read more than allowed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := NewLook(ctx).Take([]string{a}, time.Time{}); f[0].Hash != "" {
		t.Error("read after the end")
	}
}
