// Package diskspace measures the space in the file systems of directories, and forecasts
// when it will be used up.
package diskspace

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// Interval is the time between two calls of Meter.Measure.
	Interval = time.Minute

	// window is the time from which the growth is computed, and minPeriod the shortest
	// one. Logs are rotated and archived every hour, so a shorter window would show the
	// work of the archiver.
	window    = 24 * time.Hour
	minPeriod = 10 * time.Minute

	// horizon is the longest forecast.
	horizon = 10 * 365 * 24 * time.Hour
)

// Directory is a directory to measure.
type Directory struct {
	Purpose string // such as "state"
	Path    string
}

// Meter measures directories. It must not be used concurrently.
type Meter struct {
	directories []Directory
	samples     [][]sample // of each directory, the oldest first

	read func(path string) (Usage, error) // Read, except in tests
}

// Usage is the usage of a file system.
type Usage struct {
	Device           uint64 // identifies the file system
	Size, Used, Free uint64 // bytes; Free are those that this user may use
	FreeFiles        uint64 // math.MaxUint64 if files are not limited
}

// sample is the used space at a time.
type sample struct {
	at   time.Time
	used float64 // bytes
}

// NewMeter returns a Meter of these directories. It ignores directories without a path. Of
// several directories with the same path, it measures the first one.
func NewMeter(all []Directory) *Meter {
	m := &Meter{read: readNamed}
	for _, d := range all {
		if d.Path == "" {
			continue
		}
		if abs, err := filepath.Abs(d.Path); err == nil {
			d.Path = abs
		}
		if !slices.ContainsFunc(m.directories, func(o Directory) bool { return o.Path == d.Path }) {
			m.directories = append(m.directories, d)
		}
	}
	m.samples = make([][]sample, len(m.directories))
	return m
}

// Measure measures all directories. A directory that does not exist yet has the space of
// its parent.
func (m *Meter) Measure(now time.Time) []zeekapi.DirectorySpace {
	all := make([]zeekapi.DirectorySpace, len(m.directories))
	for i, d := range m.directories {
		all[i] = zeekapi.DirectorySpace{Purpose: d.Purpose, Path: d.Path}
		u, err := m.nearest(d.Path)
		if err != nil {
			all[i].Error = err.Error()
			m.samples[i] = nil
			continue
		}
		all[i].Size, all[i].Used, all[i].Free = u.Size, u.Used, u.Free
		m.samples[i] = append(m.samples[i], sample{now, float64(u.Used)})
		m.samples[i] = slices.DeleteFunc(m.samples[i], func(s sample) bool { return now.Sub(s.at) > window })
		all[i].Growth, all[i].Period = growth(m.samples[i])
		all[i].FullIn = fullIn(u.Free, all[i].Growth)
	}
	return all
}

// readNamed is Read with the path in its errors.
func readNamed(path string) (Usage, error) {
	u, err := Read(path)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return u, err
}

// nearest returns the usage of the file system of a directory, or of its nearest parent
// that exists.
func (m *Meter) nearest(path string) (Usage, error) {
	u, err := m.read(path)
	for err != nil && filepath.Dir(path) != path {
		path = filepath.Dir(path)
		parent, parentErr := m.read(path)
		if parentErr == nil {
			return parent, nil
		}
	}
	return u, err
}

// growth returns the slope of the line that fits the samples best (least squares), in bytes
// per second, and the time between the first and the last sample. Both are 0 before
// minPeriod.
func growth(samples []sample) (float64, time.Duration) {
	if len(samples) < 2 {
		return 0, 0
	}
	period := samples[len(samples)-1].at.Sub(samples[0].at)
	if period < minPeriod {
		return 0, 0
	}
	var meanTime, meanUsed float64
	for _, s := range samples {
		meanTime += s.at.Sub(samples[0].at).Seconds()
		meanUsed += s.used
	}
	n := float64(len(samples))
	meanTime, meanUsed = meanTime/n, meanUsed/n
	var covariance, variance float64
	for _, s := range samples {
		t := s.at.Sub(samples[0].at).Seconds() - meanTime
		covariance += t * (s.used - meanUsed)
		variance += t * t
	}
	return covariance / variance, period
}

// fullIn returns the time until the free space is used up, 0 if that is not foreseeable.
func fullIn(free uint64, growth float64) time.Duration {
	if growth <= 0 || float64(free)/growth > horizon.Seconds() {
		return 0
	}
	return cmp.Or(time.Duration(float64(free)/growth*float64(time.Second)), 1) // 0 would mean never
}
