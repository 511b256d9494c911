package controller_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
)

// staged returns a change that stages a configuration.
func staged(id string) controller.Change {
	return controller.Save{Slot: controller.Staged, Config: config(id, "a")}
}

// A store whose file is not the one that has its name stores nothing, and says what to
// do. A file that was removed is written again if its directory is there.
func TestStoreOfRemovedFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	file, away := filepath.Join(dir, "controller.db"), dir+".away"
	s := openStore(t, file)
	if err := s.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	want := load(t, s)
	refuses := func(reason string) {
		t.Helper()
		if err := s.Save(staged("c2")); err == nil || !strings.Contains(err.Error(), "state file "+file+": saving: "+reason) {
			t.Errorf("Save: %v, want %s", err, reason)
		}
		if broken, err := s.Check(); !broken || err == nil || !strings.HasPrefix(err.Error(), file+": "+reason) {
			t.Errorf("Check: %t, %v, want %s", broken, err, reason)
		}
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(dir, away)
	refuses("the file was removed")
	second := openStore(t, file)
	refuses("another file was put in its place")
	second.Close()
	move(dir, dir+".second")
	move(away, dir)
	if broken, err := s.Check(); broken || err != nil {
		t.Errorf("with the file back: %t, %v", broken, err)
	}
	if err := s.Rewrite(want); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, load(t, s), cmpState); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	refuses("the file was removed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if broken, err := s.Check(); broken || err != nil {
		t.Fatalf("with an empty directory: %t, %v", broken, err)
	}
	if err := s.Rewrite(want); err != nil {
		t.Fatal(err)
	}
	if _, err := controller.OpenStore(file); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("the new file is not locked: %v", err)
	}
	s.Close()
	if diff := cmp.Diff(want, load(t, openStore(t, file)), cmpState); diff != "" {
		t.Errorf("the new file (-want +got)\n%s", diff)
	}
}

// Rewrite removes and adds whatever differs.
func TestStoreRewrite(t *testing.T) {
	dir := t.TempDir()
	one, other := openStore(t, filepath.Join(dir, "one")), openStore(t, filepath.Join(dir, "other"))
	if err := one.Save(storetest.Changes()...); err != nil {
		t.Fatal(err)
	}
	if err := other.Save(staged("c9"), controller.SaveNames{Set: controller.Owed, Name: "z", In: true}); err != nil {
		t.Fatal(err)
	}
	for _, state := range []controller.State{load(t, one), load(t, other), {}} {
		if err := other.Rewrite(state); err != nil {
			t.Fatal(err)
		}
		got := load(t, other)
		if state.Configs == nil {
			state.Configs = got.Configs
		}
		if diff := cmp.Diff(state, got, cmpState); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
