// Package diskwatch decides what to do when the disks of an agent fill up: warn, let archived
// logs expire early, and stop writing logs. Machine is a state machine without I/O; Read
// measures disks.
package diskwatch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Threshold is an amount of free space: a share of the size of the disk, or a number of
// bytes. The zero Threshold is never reached.
type Threshold struct {
	Percent float64
	Bytes   int64 // if Percent is 0
}

// ParseThreshold parses a text such as 10% or 5G, see zeekapi.ParseMemory. 0 is the zero
// Threshold.
func ParseThreshold(text string) (Threshold, error) {
	number, percent := strings.CutSuffix(text, "%")
	if !percent {
		bytes, err := zeekapi.ParseMemory(text)
		if err != nil {
			return Threshold{}, errors.New("want free space such as 10% or 5G, or 0")
		}
		return Threshold{Bytes: bytes}, nil
	}
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !(share >= 0 && share < 100) {
		return Threshold{}, errors.New("want a share of the disk such as 10%, or 0")
	}
	return Threshold{Percent: share}, nil
}

// String returns a text that ParseThreshold accepts.
func (t Threshold) String() string {
	if t.Percent > 0 {
		return strconv.FormatFloat(t.Percent, 'f', -1, 64) + "%"
	}
	return strconv.FormatInt(t.Bytes, 10)
}

// of returns the threshold in bytes for a disk of the given size.
func (t Threshold) of(size uint64) uint64 {
	if t.Percent > 0 {
		return uint64(float64(size) * t.Percent / 100)
	}
	return uint64(t.Bytes)
}

// Settings are the thresholds of free space below which the machine acts. The zero Settings
// do nothing.
type Settings struct {
	Warn   Threshold // report the disk
	Expire Threshold // remove the oldest archived logs
	Stop   Threshold // stop the nodes that write logs
}

// Off reports whether the machine never acts.
func (s Settings) Off() bool { return s == Settings{} }

// Use is what a directory is used for.
type Use uint8

// The uses.
const (
	State   Use = 1 << iota // the agent's state
	Logs                    // nodes write logs there
	Archive                 // archived logs
)

// Directory is a directory to watch.
type Directory struct {
	Path string
	Use  Use
}

// Space is a measurement of a directory.
type Space struct {
	Directory
	Device     uint64 // identifies the file system
	Size, Free uint64 // in bytes
	Err        error  // why there are no numbers, nil if there are
}

// Actions are what to do after a measurement.
type Actions struct {
	// Problems are disks with too little space. Each has the path of the first directory
	// on the disk.
	Problems []Problem

	// Expire is the number of bytes of the oldest archived logs to remove, 0 for none.
	Expire int64

	// Stop is why no logs may be written now, "" if they may.
	Stop string
}

// Problem is a disk with too little space.
type Problem struct{ Path, Text string }

// Machine is the state of all disks. It has no I/O and no clock, and must not be used
// concurrently.
type Machine struct {
	settings Settings
	disks    map[uint64]*disk  // by Device
	known    map[string]uint64 // Device of each directory that was ever measured, by path
	stop     string            // Actions.Stop of the last measurement
}

// disk is a file system. A state that has begun ends when there is more free space than the
// threshold, so that it does not change with every write.
type disk struct{ warned, expiring, stopped bool }

// New returns a machine that knows no disks.
func New(s Settings) *Machine {
	return &Machine{settings: s, disks: make(map[uint64]*disk), known: make(map[string]uint64)}
}

// withSlack returns the free space at which a state ends that has begun below a limit.
func withSlack(limit uint64) uint64 { return limit + limit/10 }

// below reports whether free space is below a threshold, given whether it was.
func below(t Threshold, size, free uint64, was bool) bool {
	limit := t.of(size)
	if was {
		limit = withSlack(limit)
	}
	return free < limit
}

// Step takes a measurement of all directories. The file system of a directory that cannot be
// measured keeps its state.
func (m *Machine) Step(spaces []Space) Actions {
	var a Actions
	seen := make(map[uint64]*disk)
	for _, s := range spaces {
		if s.Err == nil {
			m.known[s.Path] = s.Device
		}
	}
	for _, s := range spaces {
		if s.Err != nil {
			a.Problems = append(a.Problems, Problem{s.Path, fmt.Sprintf("cannot measure the disk of %s: %v", s.Path, s.Err)})
		}
		device, known := m.known[s.Path]
		if !known || seen[device] != nil {
			continue
		}
		d := m.disks[device]
		if d == nil {
			d = &disk{}
		}
		seen[device] = d
		if s.Err == nil {
			m.measure(d, s, m.usesOn(device, spaces), &a)
		}
		if d.stopped && a.Stop == "" {
			a.Stop = m.reason(s)
		}
	}
	m.disks, m.stop = seen, a.Stop
	return a
}

// usesOn returns the uses of all directories on a device.
func (m *Machine) usesOn(device uint64, spaces []Space) (use Use) {
	for _, s := range spaces {
		if on, known := m.known[s.Path]; known && on == device {
			use |= s.Use
		}
	}
	return use
}

// measure updates a disk and adds what to do about it.
func (m *Machine) measure(d *disk, s Space, use Use, a *Actions) {
	d.stopped = below(m.settings.Stop, s.Size, s.Free, d.stopped) && use&(Logs|State) != 0
	d.expiring = below(m.settings.Expire, s.Size, s.Free, d.expiring) && use&Archive != 0
	d.warned = below(m.settings.Warn, s.Size, s.Free, d.warned) || d.stopped || d.expiring
	if d.expiring {
		goal := min(withSlack(m.settings.Expire.of(s.Size)), s.Size)
		a.Expire = max(a.Expire, int64(goal-min(goal, s.Free)), 1)
	}
	if d.warned {
		a.Problems = append(a.Problems, Problem{s.Path, m.text(d, s)})
	}
}

// text describes a disk with too little space.
func (m *Machine) text(d *disk, s Space) string {
	text := fmt.Sprintf("the disk of %s has %s free of %s", s.Path, Bytes(s.Free), Bytes(s.Size))
	switch {
	case d.stopped:
		text += "; nodes that write logs are stopped"
	case d.expiring:
		text += "; the oldest archived logs are removed"
	}
	return text
}

// reason says why no logs may be written. It does not change with every measurement.
func (m *Machine) reason(s Space) string {
	return fmt.Sprintf("the disk of %s has less than %s free (disk-stop)", s.Path, m.settings.Stop.limit())
}

// limit returns the threshold as text for users.
func (t Threshold) limit() string {
	if t.Percent > 0 {
		return t.String()
	}
	return Bytes(uint64(t.Bytes))
}

// Check returns an error if the state contradicts itself, which is a bug. Tests call it after
// every step.
func (m *Machine) Check() error {
	anyStopped := false
	for device, d := range m.disks {
		anyStopped = anyStopped || d.stopped
		if (d.stopped || d.expiring) && !d.warned {
			return fmt.Errorf("disk %d has a problem that is not reported", device)
		}
	}
	if anyStopped != (m.stop != "") {
		return fmt.Errorf("a disk is full: %t, the reason is %q", anyStopped, m.stop)
	}
	return nil
}

// Bytes returns a number of bytes as text for users, such as 1.5 GiB.
func Bytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
