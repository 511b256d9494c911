package controller_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// expectCheck checks what Check returns. The reason is "" for no error.
func expectCheck(t *testing.T, s *controller.FileStore, broken bool, reason string) {
	t.Helper()
	got, err := s.Check()
	switch {
	case got != broken:
		t.Errorf("broken is %t: %v", got, err)
	case reason == "" && err != nil, reason != "" && (err == nil || !strings.Contains(err.Error(), reason)):
		t.Errorf("Check: %v, want %q", err, reason)
	}
}

func expectSaveError(t *testing.T, s *controller.FileStore, reason string) {
	t.Helper()
	if err := s.Save(staged("c2")); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("Save: %v, want %q", err, reason)
	}
}

// A store on a read-only file system is read, and locked. It takes changes when the file
// system is writable again.
func TestStoreOnReadOnlyDisk(t *testing.T) {
	if !disktest.Isolated(t) {
		return
	}
	d := disktest.New(t, 8<<10, 0)
	file := filepath.Join(d.Dir, "state.db")
	s := openStore(t, file)
	if err := s.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	want := load(t, s)
	s.Close()
	d.SetReadOnly(true)
	s = openStore(t, file)
	if diff := cmp.Diff(want, load(t, s), cmpState); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := controller.OpenStore(file); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a second controller opens the file: %v", err)
	}
	const reason = "read-only file system; make the file system writable"
	expectSaveError(t, s, reason)
	expectCheck(t, s, true, reason)
	d.SetReadOnly(false)
	expectSaveError(t, s, reason) // before it is opened for writing
	expectCheck(t, s, false, "")
	if err := s.Save(staged("c2")); err != nil {
		t.Error(err)
	}
	if _, err := controller.OpenStore(file); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a second controller opens the file: %v", err)
	}
	s.Close()
	if got := load(t, openStore(t, file)).Configs[controller.Staged].ID; got != "c2" {
		t.Errorf("staged is %s", got)
	}
}

// A disk with little room is full for new changes, before the file is.
func TestStoreOnFullDisk(t *testing.T) {
	if !disktest.Isolated(t) {
		return
	}
	d := disktest.New(t, 8<<10, 0)
	s := openStore(t, filepath.Join(d.Dir, "state.db"))
	expectCheck(t, s, false, "")
	free := d.Fill()
	const reason = "no space left on device; free some space there"
	expectCheck(t, s, false, reason)
	if err := s.Save(staged("c1")); err != nil {
		t.Errorf("the reserve is not used: %v", err)
	}
	free()
	expectCheck(t, s, false, "")
}

// If the disk of a store is unmounted, the store does not begin a new file on the disk
// below it.
func TestStoreOfUnmountedDisk(t *testing.T) {
	if !disktest.Isolated(t) {
		return
	}
	dir := t.TempDir()
	d := disktest.At(t, dir, 8<<10, 0)
	file := filepath.Join(dir, "state.db")
	s := openStore(t, file)
	d.Unmount()
	expectSaveError(t, s, "the file was removed")
	expectCheck(t, s, true, "the file was removed")
	if _, err := os.Stat(file); err == nil {
		t.Error("a new file was begun on another disk")
	}
}
