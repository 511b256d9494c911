package dirlock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := Take(t.Context(), dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Take(t.Context(), dir, "other.lock")
	if err != nil {
		t.Fatal(err)
	}
	other.Close()

	ended, end := context.WithCancel(t.Context())
	end()
	want := "directory " + dir + " is in use by another agent"
	if _, err := Take(ended, dir, "lock"); err == nil || err.Error() != want {
		t.Errorf("second Take: %v, want %s", err, want)
	}
	first.Close()
	if again, err := Take(ended, dir, "lock"); err != nil {
		t.Errorf("after the end of the first lock: %v", err)
	} else {
		again.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), file, "lock"); err == nil {
		t.Error("Take accepts a file as directory")
	}
}

func TestShare(t *testing.T) {
	dir := t.TempDir()
	ended, end := context.WithCancel(t.Context())
	end()
	if Held(dir, "lock") {
		t.Error("a lock that does not exist is held")
	}
	first, err := Share(t.Context(), dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Share(ended, dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(ended, dir, "lock"); !errors.Is(err, ErrInUse) {
		t.Errorf("Take of a shared lock: %v", err)
	}
	if Held(dir, "lock") {
		t.Error("a shared lock counts as held")
	}
	first.Close()
	second.Close()
	alone, err := Take(ended, dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if _, err := Share(ended, dir, "lock"); !errors.Is(err, ErrInUse) {
		t.Errorf("Share of a lock that is taken: %v", err)
	}
	if !Held(dir, "lock") {
		t.Error("the lock is not held")
	}
}
