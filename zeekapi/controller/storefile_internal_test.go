package controller

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func openedStore(t *testing.T, file string) *FileStore {
	t.Helper()
	s, err := OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A file that is removed while changes are saved does not have them.
func TestFileRemovedDuringSave(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.db")
	s := openedStore(t, file)
	err := s.write(func(w *ledger) {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
		w.apply(event(1))
	})
	if err == nil || !strings.Contains(err.Error(), "the file was removed") {
		t.Errorf("got %v, want that the file was removed", err)
	}
}

// A directory that became a file is one without the store.
func TestDirectoryReplacedByFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := openedStore(t, filepath.Join(dir, "state.db"))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(event(1)); err == nil || !strings.Contains(err.Error(), "the file was removed") {
		t.Errorf("got %v, want that the file was removed", err)
	}
}

// Of two controllers that create a file at the same time, the second one uses that of
// the first.
func TestCreateKeepsExistingFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state.db")
	s := openedStore(t, file)
	if err := s.Save(Save{Slot: Staged, Config: zeekapi.Configuration{ID: "c1"}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := create(file); err != nil {
		t.Errorf("create: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
	if err := create(filepath.Join(dir, "missing", "state.db")); err == nil {
		t.Error("a file was created in a directory that does not exist")
	}
}

// transactions returns the number of the last transaction of a store.
func transactions(t *testing.T, s *FileStore) (last int) {
	t.Helper()
	if err := s.db.View(func(tx *bolt.Tx) error { last = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return last
}

// Check reserves free pages within the file when there are too few, and writes nothing
// when there are enough.
func TestReserveOfFreePages(t *testing.T) {
	s := openedStore(t, filepath.Join(t.TempDir(), "state.db"))
	free := func() int { return (s.db.Stats().FreePageN + s.db.Stats().PendingPageN) * s.db.Info().PageSize }
	checks := func(writes bool) {
		t.Helper()
		before := transactions(t, s)
		if broken, err := s.Check(); broken || err != nil {
			t.Fatalf("Check: %t, %v", broken, err)
		}
		if wrote := transactions(t, s) != before; wrote != writes {
			t.Errorf("Check writes: %t, want %t", wrote, writes)
		}
		if free() < reserve/2 {
			t.Errorf("%d bytes are free after Check", free())
		}
	}
	checks(true)
	checks(false)
	for number := uint64(1); free() >= reserve/2; number++ {
		e := zeekapi.ClusterEvent{Number: number, Text: strings.Repeat("x", 20<<10)}
		if err := s.Save(Announce{Event: e}); err != nil {
			t.Fatal(err)
		}
		if number > 1000 {
			t.Fatal("changes take no room")
		}
	}
	checks(true)
	checks(false)
}
