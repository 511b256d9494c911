package atomicfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
	"github.com/zeekwire/zeekwire/zeekapi/internal/synced"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, content := range []string{"old", "new and longer", ""} {
		if err := atomicfile.Write(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode of %v, %v", info, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files, want 1", len(entries))
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := atomicfile.Write(filepath.Join(dir, "missing", "file"), nil, 0o600); err == nil {
		t.Error("no error without a directory")
	}
	target := filepath.Join(dir, "directory")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(target, nil, 0o600); err == nil {
		t.Error("no error for the name of a directory")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a temporary file is left: %v", entries)
	}
}

// The content is synced before the file gets its name, and the name before Write
// returns.
func TestWriteSyncs(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "file")
	for _, content := range []string{"first", "second"} {
		got := synced.Files(t, func() { err = atomicfile.Write(name, []byte(content), 0o600) })
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || !strings.HasPrefix(got[0], filepath.Join(dir, ".file.")) || got[1] != dir {
			t.Errorf("writing synced %q, want the temporary file and then %s", got, dir)
		}
	}
	if got := synced.Files(t, func() { err = atomicfile.Write(name, []byte("second"), 0o600) }); err != nil || got != nil {
		t.Errorf("writing the same content synced %q, %v", got, err)
	}
}
