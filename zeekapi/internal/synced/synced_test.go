package synced_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/internal/synced"
)

func TestFiles(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return f
	}
	for range 3 {
		got := synced.Files(t, func() {
			a, b := create("a"), create("b")
			for _, f := range []*os.File{b, a, b} {
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			}
			a.Close()
			b.Close()
		})
		if want := []string{filepath.Join(dir, "b"), filepath.Join(dir, "a"), filepath.Join(dir, "b")}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := synced.Files(t, func() { create("c").Close() }); got != nil {
		t.Errorf("got %q without a sync", got)
	}
}
