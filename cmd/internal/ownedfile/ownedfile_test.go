package ownedfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

func TestWriteAndCreate(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := ownedfile.Create(name, []byte("one"), 0o640, ownedfile.Own()); err != nil {
		t.Fatal(err)
	}
	if err := ownedfile.Create(name, []byte("two"), 0o640, ownedfile.Own()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create replaces a file: %v", err)
	}
	for _, want := range []string{"one", "three"} {
		if want == "three" {
			if err := ownedfile.Write(name, []byte(want), 0o640, ownedfile.Own()); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != want {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files are left: %v, %v", entries, err)
	}
}

func TestMakeDir(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := ownedfile.MakeDir(name, 0o700, ownedfile.Own()); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]fs.FileMode{name: 0o700, filepath.Dir(name): 0o755} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	file := filepath.Join(name, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ownedfile.MakeDir(file, 0o700, ownedfile.Own()); err == nil {
		t.Error("a file is a directory")
	}
}

// Root makes files for the user of the services.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	owner, err := ownedfile.Named("nobody")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for name, o := range map[string]ownedfile.Owner{"own": owner, "read": owner.Reader()} {
		name = filepath.Join(dir, name)
		if err := ownedfile.Write(name, nil, 0o640, o); err != nil {
			t.Fatal(err)
		}
		got, err := ownedfile.Of(name)
		if err != nil || (got == owner) != (o == owner) || got.Reader() != owner.Reader() {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, o)
		}
	}
	if _, err := ownedfile.Named("no-such-user"); err == nil {
		t.Error("an unknown user is found")
	}
}
