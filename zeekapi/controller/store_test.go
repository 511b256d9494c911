package controller_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
	"github.com/zeekwire/zeekwire/zeekapi/internal/synced"
)

func openStore(t *testing.T, file string) *controller.FileStore {
	t.Helper()
	s, err := controller.OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t *testing.T, s *controller.FileStore) controller.State {
	t.Helper()
	state, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

var cmpState = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	cmpopts.EquateEmpty(),
}

// The same tests as for other stores.
func TestFileStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		dir := filepath.Join(t.TempDir(), "state")
		file, away := filepath.Join(dir, "state.db"), dir+".away"
		move := func(t *testing.T, from, to string) {
			t.Helper()
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		return storetest.Fixture{
			Open: func() (controller.Store, func(), error) {
				s, err := controller.OpenStore(file)
				return s, func() { s.Close() }, err
			},
			Break:  func(t *testing.T) string { move(t, dir, away); return "the file was removed" },
			Repair: func(t *testing.T) { move(t, away, dir) },
			Damage: func(t *testing.T, n int) (damaged bool) {
				db, err := bolt.Open(file, 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				if err := db.Update(func(tx *bolt.Tx) error {
					return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
						return b.ForEach(func(key, value []byte) error {
							if n--; n != -1 || len(value) == 0 {
								return nil
							}
							damaged = true
							value = slices.Clone(value)
							value[len(value)/2] ^= 1
							return b.Put(slices.Clone(key), value)
						})
					})
				}); err != nil {
					t.Fatal(err)
				}
				return damaged
			},
		}
	})
}

// A file of schema 1 has only configurations. Its ready and target configurations
// include addresses of agents, which the upgrade removes.
func TestStoreUpgradesSchema(t *testing.T) {
	staged, target := config("c1", "a", "b"), config("c1", "a", "b")
	staged.Instances[1].Host = netip.MustParseAddr("10.0.0.2")
	target.Instances[0].Host = netip.MustParseAddr("10.0.0.1")
	target.Instances[1].Host = netip.MustParseAddr("10.0.0.2")
	other := config("c0", "a")
	file := filepath.Join(t.TempDir(), "state.db")
	writeSchemaOne(t, file, map[controller.Slot]zeekapi.Configuration{
		controller.Staged: staged, controller.Ready: target, controller.Deployed: other, controller.Target: target,
	})
	want := map[controller.Slot]zeekapi.Configuration{
		controller.Staged: staged, controller.Ready: staged, controller.Deployed: other, controller.Target: staged,
	}
	for range 2 {
		s := openStore(t, file)
		state := load(t, s)
		if diff := cmp.Diff(want, state.Configs, cmpState); diff != "" {
			t.Errorf("upgraded (-want +got)\n%s", diff)
		}
		s.Close()
	}
}

func writeSchemaOne(t *testing.T, file string, configs map[controller.Slot]zeekapi.Configuration) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		bucket, err := tx.CreateBucket([]byte("configs"))
		if err != nil {
			return err
		}
		for slot, c := range configs {
			v, err := record.Marshal(c)
			if err != nil {
				return err
			}
			if err := bucket.Put([]byte(slot), bin.Append(nil, v)); err != nil {
				return err
			}
		}
		return meta.Put([]byte("schema"), []byte("1"))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A copy of an open file stands for the file of a killed process.
func TestStoreSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state.db")
	s := openStore(t, file)
	for i := range 20 {
		c := storetest.Configuration()
		c.ID = strings.Repeat("x", 1000*i)
		if err := s.Save(controller.Save{Slot: controller.Staged, Config: c}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(dir, "copy.db")
		if err := os.WriteFile(left, data, 0o600); err != nil {
			t.Fatal(err)
		}
		copied := openStore(t, left)
		if got := load(t, copied).Configs[controller.Staged].ID; got != c.ID {
			t.Errorf("save %d: the copy has a configuration ID of %d bytes, want %d", i, len(got), len(c.ID))
		}
		copied.Close()
	}
}

// What Save has stored survives a crash of the machine: the changes are synced before
// the page that leads to them, and that page before Save returns. The same holds for
// the page of the second transaction. A new file and its name are synced, too.
func TestStoreSyncs(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "state.db")
	synced.Files(t, func() {}) // skips the test if nothing can be observed
	var s *controller.FileStore
	opening := synced.Files(t, func() { s = openStore(t, file) })
	if len(opening) < 2 || opening[len(opening)-1] != dir || !strings.HasPrefix(opening[0], file+".new") {
		t.Errorf("opening a new store synced %q, want the new file and then %s", opening, dir)
	}
	for name, save := range map[string]func() error{
		"Save": func() error {
			return s.Save(controller.Save{Slot: controller.Staged, Config: storetest.Configuration()})
		},
		"Rewrite": func() error { return s.Rewrite(controller.State{}) },
	} {
		saving := synced.Files(t, func() { err = save() })
		if err != nil {
			t.Fatal(err)
		}
		if len(saving) < 4 || len(slices.Compact(slices.Clone(saving))) != 1 || saving[0] != file {
			t.Errorf("%s synced %q, want %s four times", name, saving, file)
		}
	}
}

func TestOpenStoreErrors(t *testing.T) {
	put := func(bucket, key, value string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			openStore(t, file).Close()
			db, err := bolt.Open(file, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	// change fills a store and then changes its buckets.
	change := func(do func(tx *bolt.Tx) error) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			s := openStore(t, file)
			if err := s.Save(storetest.Changes()...); err != nil {
				t.Fatal(err)
			}
			s.Close()
			db, err := bolt.Open(file, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(do); err != nil {
				t.Fatal(err)
			}
		}
	}
	const damaged = "the file is damaged; restore it from a copy, or move it away to begin anew"
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, file string)
		want    string // FILE stands for the file name
	}{
		{"in use", func(t *testing.T, file string) { openStore(t, file) }, "controller: state file FILE is in use: is another controller running?"},
		{"other schema", put("meta", "schema", "3"), "controller: state file FILE: schema is \"3\", and this program reads up to \"2\": install the version that wrote it, or a later one"},
		{"other value", put("configs", "target", "\x03\x00\x00\x00\x00\x00\x00\x00\x01"), "controller: state file FILE: configs \"target\": " + damaged},
		{"short value", put("configs", "ready", "\xff\xff"), "controller: state file FILE: configs \"ready\": " + damaged},
		{"no checksum", put("meta", "checksum", ""), "controller: state file FILE: checksum is missing: " + damaged},
		{"no bucket", change(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("history")) }),
			"controller: state file FILE: history is missing: " + damaged},
		{"missing entry", change(func(tx *bolt.Tx) error { return tx.Bucket([]byte("configs")).Delete([]byte("ready")) }),
			"controller: state file FILE: entries are missing: " + damaged},
		{"extra entry", put("history", "\x00\x00\x00\x00\x00\x00\x00\x09", "12345678"), "controller: state file FILE: history 9: " + damaged},
		{"moved entry", change(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("configs"))
			return b.Put([]byte("ready"), slices.Clone(b.Get([]byte("staged"))))
		}), "controller: state file FILE: configs \"ready\": " + damaged},
		{"other database", func(t *testing.T, file string) {
			db, err := bolt.Open(file, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(func(tx *bolt.Tx) error {
				_, err := tx.CreateBucket([]byte("songs"))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: it is a database of something else, with \"songs\""},
		{"not a database", func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("not a store ", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: " + damaged},
		{"too small", func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte("not a store"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: " + damaged},
		{"empty", func(t *testing.T, file string) {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: it is empty: " + damaged},
		{"truncated", func(t *testing.T, file string) {
			s := openStore(t, file)
			if err := s.Save(storetest.Changes()...); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := os.Truncate(file, 9000); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: "},
		{"directory", func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: "},
		{"file instead of a directory", func(t *testing.T, file string) {
			if err := os.WriteFile(filepath.Dir(file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tt.name == "file instead of a directory" {
				dir = filepath.Join(dir, "file")
			}
			file := filepath.Join(dir, "state.db")
			tt.prepare(t, file)
			s, err := controller.OpenStore(file)
			if err == nil {
				defer s.Close()
				_, err = s.Load()
			}
			want := strings.ReplaceAll(tt.want, "FILE", file)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// Run logs whether it loaded a state or created a new file. If it created one, it
// logs state files of other controller names.
func TestRunLogsLoadedState(t *testing.T) {
	dir := t.TempDir()
	first, renamed := filepath.Join(dir, "first", "state.db"), filepath.Join(dir, "renamed", "state.db")
	ending := make(chan struct{})
	close(ending)
	bus := membus.New().Endpoint()
	defer bus.Close()
	for _, tt := range []struct{ file, want string }{
		{first, `{"level":"info","file":"FILE","message":"no state file, began a new one"}`},
		{first, `{"level":"info","file":"FILE","staged":"c1","deployments":0,"message":"read the state file"}`},
		{renamed, `{"level":"warn","others":["` + first + `"],"file":"FILE","message":"no state file, began a new one"}`},
	} {
		file, want := tt.file, tt.want
		s, log := openStore(t, file), new(lines)
		err := controller.Run(t.Context(), controller.Config{
			Buses: []broker.Bus{bus}, Dialects: dialects, Store: s, Ending: ending, Log: zerolog.New(log),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := log.take(); len(got) != 1 || got[0] != strings.ReplaceAll(want, "FILE", file) {
			t.Errorf("got %q, want %s", got, want)
		}
		if err := s.Save(controller.Save{Slot: controller.Staged, Config: config("c1", "a")}); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

// Earlier versions can read a file with stopped nodes: they ignore a field that they do not
// know, but an unknown entry would be damage.
func TestStoppedNodesAreNoEntry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	s := openStore(t, file)
	entries := func() (n int) {
		s.Close()
		db, err := bolt.Open(file, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.View(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("last")).ForEach(func([]byte, []byte) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	sent := controller.SaveSent{Sent: controller.Sent{ID: "c"}}
	stopped := controller.SaveStopped{Nodes: []zeekapi.StoppedNode{{Node: "w", By: "bob", Since: time.Unix(1, 0)}}}
	if err := s.Save(sent, stopped); err != nil {
		t.Fatal(err)
	}
	if n := entries(); n != 1 {
		t.Errorf("%d entries, want that of Sent only", n)
	}
	var former controller.Sent
	if err := record.Unmarshal(mustMarshal(struct {
		controller.Sent
		Stopped []zeekapi.StoppedNode `zeek:"stopped,extension"`
	}{sent.Sent, stopped.Nodes}), &former); err != nil || former != sent.Sent {
		t.Errorf("an earlier version reads %+v: %v", former, err)
	}
}
