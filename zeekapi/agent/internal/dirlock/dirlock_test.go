package dirlock

import (
	"context"
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
	want := "state directory " + dir + " is in use by another agent"
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
