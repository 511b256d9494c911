package controller_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
)

// TestStoreDetectsDamage changes files as failing disks, full disks and crashes do:
// it flips bits, clears or copies blocks, and truncates files. OpenStore and Load
// must return the saved state or an error that names the file.
func TestStoreDetectsDamage(t *testing.T) {
	t.Parallel()
	rounds := scale(200, 20_000)
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	s := openStore(t, whole)
	for some := range slices.Chunk(storetest.Changes(), 50) {
		if err := s.Save(some...); err != nil {
			t.Fatal(err)
		}
	}
	want := load(t, s)
	s.Close()
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range rounds {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		// Use a new file each time. If bbolt panics when it opens a file, the file
		// stays open and locked until the process ends.
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, damage(random, data), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := controller.OpenStore(file)
		var got controller.State
		if err == nil {
			got, err = s.Load()
			if err == nil && i%10 == 0 {
				// A file that was loaded can also be changed, or Save returns an error.
				err = s.Save(storetest.Changes()...)
			}
			s.Close()
		}
		switch {
		case err != nil:
			refused++
			if !strings.Contains(err.Error(), "controller: state file "+file) {
				t.Errorf("round %d: the error does not name the file: %v", i, err)
			}
		case !cmp.Equal(want, got, cmpState):
			t.Errorf("round %d: the loaded state differs (-saved +loaded)\n%s", i, cmp.Diff(want, got, cmpState))
		}
	}
	t.Logf("%d of %d damaged files refused", refused, rounds)
}

// The store survives damage of either of the two meta pages of the database. Each
// refers to the complete state.
func TestStoreSurvivesDamagedMetaPage(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	s := openStore(t, whole)
	for i := range 3 {
		want := "c" + strconv.Itoa(i)
		if err := s.Save(controller.Save{Slot: controller.Staged, Config: config(want, "a")}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		for page := range 2 {
			damaged := slices.Clone(data)
			clear(damaged[page*os.Getpagesize():][:512])
			file := filepath.Join(dir, fmt.Sprint(i, page))
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := load(t, openStore(t, file)).Configs[controller.Staged].ID; got != want {
				t.Errorf("without meta page %d: configuration %q loaded, %q saved", page, got, want)
			}
		}
	}
}

func damage(random *rand.Rand, data []byte) []byte {
	const block = 512
	damaged := slices.Clone(data)
	place := func() []byte {
		at := block * random.IntN(len(damaged)/block)
		return damaged[at : at+block]
	}
	switch random.IntN(5) {
	case 0:
		return damaged[:random.IntN(len(damaged))]
	case 1:
		clear(place())
	case 2:
		copy(place(), place())
	default:
		for range 1 + random.IntN(20) {
			damaged[random.IntN(len(damaged))] ^= 1 << random.IntN(8)
		}
	}
	return damaged
}
