package diskwatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

func TestThreshold(t *testing.T) {
	for text, want := range map[string]Threshold{
		"0": {}, "0%": {}, "10%": {Percent: 10}, "0.5%": {Percent: 0.5}, "5G": {Bytes: 5 << 30}, "1024": {Bytes: 1024},
	} {
		got, err := ParseThreshold(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseThreshold(got.String()); err != nil || again != want {
			t.Errorf("%q is printed as %q, which is %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "%", "100%", "-1%", "-1", "NaN%", "much", "10 %"} {
		if got, err := ParseThreshold(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

var (
	state   = Directory{"/state", State}
	logs    = Directory{"/logs", Logs}
	archive = Directory{"/archive", Archive}
)

// on returns the measurement of a directory on a disk of 1000 bytes.
func on(d Directory, device, free uint64) Space {
	return Space{Directory: d, Device: device, Size: 1000, Free: free}
}

func gone(d Directory) Space { return Space{Directory: d, Err: errors.New("gone")} }

// step is a measurement, and what follows.
type step struct {
	spaces   []Space
	problems string // parts of the problems, with commas between them
	expire   int64
	stop     bool
}

func one(free uint64, problems string, expire int64, stop bool) step {
	return step{[]Space{on(Directory{"/all", State | Logs | Archive}, 1, free)}, problems, expire, stop}
}

func TestMachine(t *testing.T) {
	all := Settings{Warn: Threshold{Bytes: 200}, Expire: Threshold{Bytes: 100}, Stop: Threshold{Percent: 2}}
	for name, tt := range map[string]struct {
		settings Settings
		steps    []step
	}{
		"one disk": {all, []step{
			one(500, "", 0, false),
			one(200, "", 0, false),
			one(199, "199 B free", 0, false),
			one(210, "210 B free", 0, false), // a little more does not end it
			one(220, "", 0, false),
			one(99, "the oldest archived logs are removed", 11, false),
			one(105, "the oldest archived logs are removed", 5, false),
			one(150, "150 B free", 0, false),
			one(19, "nodes that write logs are stopped", 91, true),
			one(21, "nodes that write logs are stopped", 89, true),
			one(22, "the oldest archived logs are removed", 88, false),
			one(0, "nodes that write logs are stopped", 110, true),
			one(1000, "", 0, false),
		}},
		"nothing set": {Settings{}, []step{one(0, "", 0, false)}},
		"only a warning": {Settings{Warn: Threshold{Percent: 10}}, []step{
			one(0, "0 B free", 0, false), one(99, "99 B free", 0, false),
		}},
		"without a warning the stop is reported": {Settings{Stop: Threshold{Bytes: 10}}, []step{
			one(9, "nodes that write logs are stopped", 0, true), one(500, "", 0, false),
		}},
		"disks with different uses": {all, []step{
			{[]Space{on(state, 1, 500), on(logs, 2, 500), on(archive, 3, 500)}, "", 0, false},
			{[]Space{on(state, 1, 500), on(logs, 2, 50), on(archive, 3, 500)}, "/logs has 50 B", 0, false},
			{[]Space{on(state, 1, 500), on(logs, 2, 500), on(archive, 3, 0)}, "/archive has 0 B", 110, false},
			{[]Space{on(state, 1, 0), on(logs, 2, 500), on(archive, 3, 500)}, "/state has 0 B", 0, true},
			{[]Space{on(state, 1, 500), on(logs, 2, 0), on(archive, 3, 50)}, "/logs has 0 B, /archive has 50 B", 60, true},
		}},
		"directories on one disk": {all, []step{
			{[]Space{on(state, 1, 50), on(logs, 1, 50), on(archive, 1, 50)}, "/state has 50 B", 60, false},
		}},
		"a disk that cannot be measured": {all, []step{
			{[]Space{gone(logs)}, "cannot measure the disk of /logs: gone", 0, false},
			{[]Space{on(logs, 1, 0)}, "/logs has 0 B", 0, true},
			{[]Space{gone(logs)}, "cannot measure", 0, true},
			{[]Space{on(logs, 1, 0)}, "/logs has 0 B", 0, true},
			{[]Space{gone(logs), on(state, 1, 500)}, "cannot measure", 0, true},
			{[]Space{on(logs, 1, 500)}, "", 0, false},
		}},
		"a directory on another disk": {all, []step{
			{[]Space{on(logs, 1, 0)}, "/logs has 0 B", 0, true},
			{[]Space{on(logs, 2, 500)}, "", 0, false},
			{[]Space{on(logs, 1, 500)}, "", 0, false},
		}},
		"a threshold above the size": {Settings{Warn: Threshold{Bytes: 5000}, Expire: Threshold{Bytes: 5000}}, []step{
			one(900, "900 B free", 100, false), one(1000, "1000 B free", 1, false),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(tt.settings)
			for i, s := range tt.steps {
				a := m.Step(s.spaces)
				if err := m.Check(); err != nil {
					t.Errorf("step %d: %v", i, err)
				}
				var problems []string
				for _, p := range a.Problems {
					problems = append(problems, p.Text)
				}
				text := strings.Join(problems, ", ")
				matches := (s.problems == "") == (text == "")
				for part := range strings.SplitSeq(s.problems, ", ") {
					matches = matches && strings.Contains(text, part)
				}
				if !matches || a.Expire != s.expire || (a.Stop != "") != s.stop {
					t.Errorf("step %d: %q, expire %d, stop %q; want %+v", i, text, a.Expire, a.Stop, s)
				}
			}
		})
	}
}

// With any measurements, the state is consistent. With much free space and all disks
// measured, nothing is left of earlier problems.
func TestSimulation(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		threshold := func() Threshold {
			if r.IntN(2) == 0 {
				return Threshold{Percent: r.Float64() * 50}
			}
			return Threshold{Bytes: r.Int64N(500)}
		}
		m := New(Settings{threshold(), threshold(), threshold()})
		for range 100 {
			var spaces []Space
			free := make(map[uint64]uint64)
			for i := range r.IntN(4) {
				device := uint64(r.IntN(3))
				if _, ok := free[device]; !ok {
					free[device] = r.Uint64N(1001)
				}
				s := on(Directory{fmt.Sprint("/", i), Use(r.IntN(8))}, device, free[device])
				if r.IntN(10) == 0 {
					s = gone(s.Directory)
				}
				spaces = append(spaces, s)
			}
			m.Step(spaces)
			if err := m.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if a := m.Step([]Space{on(Directory{"/0", State | Logs | Archive}, 0, 999)}); len(a.Problems) > 0 || a.Stop != "" || a.Expire != 0 {
			t.Fatalf("seed %d: an empty disk causes %+v", seed, a)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	spaces := Read([]Directory{{dir, State}, {filepath.Join(dir, "not", "yet"), Logs}, {"/proc/self/status/x", Archive}})
	if s := spaces[0]; s.Err != nil || s.Size == 0 || s.Free > s.Size {
		t.Errorf("%+v", s)
	}
	if s := spaces[1]; s.Err != nil || s.Device != spaces[0].Device || s.Size != spaces[0].Size {
		t.Errorf("a directory that does not exist: %+v", s)
	}
	if s := spaces[2]; s.Err == nil {
		t.Errorf("a directory in a file: %+v", s)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 29: "1.5 GiB", 1 << 63: "8.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
