package controller_test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func openStore(t *testing.T, file string) *controller.Store {
	t.Helper()
	s, err := controller.OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t *testing.T, s *controller.Store) map[controller.Slot]zeekapi.Configuration {
	t.Helper()
	configs, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return configs
}

var cmpConfig = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func fullConfig() zeekapi.Configuration {
	cpu := int64(3)
	return zeekapi.Configuration{
		ID:        "c1",
		Instances: []zeekapi.Instance{instance("a"), instanceAt("b", "10.0.0.1:2151"), instanceAt("c", "[2001:db8::1]:2151")},
		Nodes: []zeekapi.Node{
			{
				Name: "m", Instance: "a", Role: zeekapi.RoleManager, State: zeekapi.StateRunning,
				Port: broker.TCP(2200), MetricsPort: broker.TCP(9000),
				Scripts: []string{"b", "a"}, Options: []zeekapi.Option{{Name: "o", Value: "v"}},
				Interface: "eth0", CPUAffinity: &cpu, Env: map[string]string{"A": "1", "B": ""},
			},
			{Name: "w", Instance: "b", Role: zeekapi.RoleWorker, State: zeekapi.StatePending, Env: map[string]string{}},
		},
	}
}

func TestStoreKeeps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "some", "folder", "state.db")
	s := openStore(t, file)
	if configs := load(t, s); len(configs) != 0 {
		t.Errorf("a new store holds %v", configs)
	}
	want := make(map[controller.Slot]zeekapi.Configuration)
	for _, slot := range controller.Slots {
		c := fullConfig()
		c.ID = string(slot)
		for _, c := range []zeekapi.Configuration{{ID: "former"}, c} {
			if err := s.Save(slot, c); err != nil {
				t.Fatal(err)
			}
		}
		want[slot] = c
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, load(t, openStore(t, file)), cmpConfig); diff != "" {
		t.Errorf("loaded (-want +got)\n%s", diff)
	}
}

// A copy of the file that is in use is what a killed process leaves behind.
func TestStoreSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state.db")
	s := openStore(t, file)
	for i := range 20 {
		c := fullConfig()
		c.ID = strings.Repeat("x", 1000*i)
		if err := s.Save(controller.Staged, c); err != nil {
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
		if got := load(t, copied)[controller.Staged].ID; got != c.ID {
			t.Errorf("save %d: the copy has an ID of %d bytes, want %d", i, len(got), len(c.ID))
		}
		copied.Close()
	}
}

func TestStoreErrors(t *testing.T) {
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
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, file string)
		want    string // FILE stands for the file
	}{
		{"in use", func(t *testing.T, file string) { openStore(t, file) }, "controller: state file FILE is in use: is another controller running?"},
		{"other schema", put("meta", "schema", "2"), "controller: state file FILE: schema is \"2\", this program knows \"1\""},
		{"no value", put("configs", "ready", "\xff\xff"), "controller: state file FILE: ready configuration: "},
		{"other value", put("configs", "target", "\x03\x00\x00\x00\x00\x00\x00\x00\x01"), "controller: state file FILE: target configuration: "},
		{"no store", func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("not a store ", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: "},
		{"cut short", func(t *testing.T, file string) {
			s := openStore(t, file)
			if err := s.Save(controller.Staged, fullConfig()); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := os.Truncate(file, 9000); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: "},
		{"folder", func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "controller: state file FILE: "},
		{"file for a folder", func(t *testing.T, file string) {
			if err := os.WriteFile(filepath.Dir(file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "controller: state: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.name == "file for a folder" {
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

// What full disks and crashed machines do to files, blocks of zeros and missing
// ends, is an error or not noticed.
func TestStoreDamaged(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	s := openStore(t, whole)
	for _, slot := range controller.Slots {
		if err := s.Save(slot, fullConfig()); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 50 {
		const block = 512
		damaged := slices.Clone(data)
		for range random.IntN(10) {
			at := block * random.IntN(len(damaged)/block)
			clear(damaged[at : at+block])
		}
		if random.IntN(2) == 0 {
			damaged = damaged[:1+random.IntN(len(damaged))]
		}
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := controller.OpenStore(file); err == nil {
			s.Load()
			s.Close()
		}
	}
}
