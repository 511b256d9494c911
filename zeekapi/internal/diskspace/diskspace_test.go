package diskspace

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

var epoch = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// series measures a directory every minute, whose used space is the given function of the
// minute, and returns the last measurement.
func series(minutes int, used func(minute int) uint64) zeekapi.DirectorySpace {
	const size = 1 << 30
	now := uint64(0)
	m := NewMeter([]Directory{{"state", "/d"}})
	m.read = func(string) (Usage, error) { return Usage{Size: size, Used: now, Free: size - now}, nil }
	var last zeekapi.DirectorySpace
	for i := range minutes {
		now = used(i)
		last = m.Measure(epoch.Add(time.Duration(i) * Interval))[0]
	}
	return last
}

func TestForecast(t *testing.T) {
	const perMinute = 1 << 20
	grows := func(i int) uint64 { return uint64(i) * perMinute }
	for _, tt := range []struct {
		name    string
		minutes int
		used    func(int) uint64
		growth  float64 // bytes per minute
		period  time.Duration
		full    time.Duration
	}{
		{"no forecast from a short time", 10, grows, 0, 0, 0},
		{"constant growth", 101, grows, perMinute, 100 * time.Minute, 924 * time.Minute},
		{"no growth", 60, func(int) uint64 { return 7 }, 0, 59 * time.Minute, 0},
		{"less and less", 60, func(i int) uint64 { return 1<<29 - uint64(i)*perMinute }, -perMinute, 59 * time.Minute, 0},
		{"full", 101, func(i int) uint64 { return min(1<<30, (924+uint64(i))*perMinute) }, perMinute, 100 * time.Minute, 1},
		{"growth beyond the horizon", 60, func(i int) uint64 { return uint64(i) }, 1, 59 * time.Minute, 0},
		{"only the last day counts", 3 * 24 * 60, func(i int) uint64 { return uint64(max(0, i-2*24*60)) * 1000 }, 1000, 24 * time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := series(tt.minutes, tt.used)
			if math.Abs(got.Growth*60-tt.growth) > 1 || got.Period != tt.period {
				t.Errorf("growth is %f in %s, want %f in %s", got.Growth*60, got.Period, tt.growth, tt.period)
			}
			if tt.full != 0 && got.FullIn.Round(time.Minute) != tt.full.Round(time.Minute) || tt.full == 1 && got.FullIn != 1 {
				t.Errorf("full in %s, want %s", got.FullIn, tt.full)
			}
			if tt.full == 0 && tt.growth <= 1 && got.FullIn != 0 {
				t.Errorf("full in %s, want no forecast", got.FullIn)
			}
		})
	}
}

// The logs of an hour that are rotated and compressed do not look like a full disk.
func TestForecastOfRotatedLogs(t *testing.T) {
	got := series(24*60, func(i int) uint64 { return uint64(i/60)*(1<<20) + uint64(i%60)*(1<<20) })
	if perHour := got.Growth * 3600 / (1 << 20); perHour < 0.5 || perHour > 2 {
		t.Errorf("growth is %f MiB per hour, want about one", perHour)
	}
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	m := NewMeter([]Directory{
		{"state", dir}, {"spool", dir}, {"archive", filepath.Join(dir, "not", "yet")}, {"nothing", ""},
	})
	got := m.Measure(epoch)
	if len(got) != 2 || got[0].Purpose != "state" || got[1].Purpose != "archive" {
		t.Fatalf("measured %+v", got)
	}
	for _, d := range got {
		if d.Error != "" || d.Size == 0 || d.Size < d.Used || d.Size < d.Free {
			t.Errorf("measured %+v", d)
		}
	}
}

func TestUnreadable(t *testing.T) {
	m := NewMeter([]Directory{{"state", "/d"}})
	m.read = func(string) (Usage, error) { return Usage{}, fs.ErrPermission }
	if got := m.Measure(epoch)[0]; got.Error != fs.ErrPermission.Error() {
		t.Errorf("error is %q", got.Error)
	}
	m.read = func(path string) (Usage, error) {
		if path == "/d" {
			return Usage{}, errors.New("not there")
		}
		return Usage{Size: 1}, nil
	}
	if got := m.Measure(epoch)[0]; got.Error != "" || got.Size != 1 {
		t.Errorf("measured %+v", got)
	}
}
