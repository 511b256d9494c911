package proc

import (
	"context"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// measureInterval is the time between two measurements.
const measureInterval = 5 * time.Second

// Measure reports the resource usage of nodes at intervals, until ctx ends. The function
// that owners returns maps a process to its node, or to "". It is nil if there are no
// nodes.
func Measure(ctx context.Context, events *launch.Events, owners func() func(pid int, s Stat) string) {
	ticker := time.NewTicker(measureInterval)
	defer ticker.Stop()
	var m Meter
	for {
		select {
		case now := <-ticker.C:
			owner := owners()
			if owner == nil {
				continue
			}
			if usage := m.Read(now, owner); len(usage) > 0 {
				events.Add(launch.Measured{Nodes: usage})
			}
		case <-ctx.Done():
			return
		}
	}
}

// Meter measures the resource usage of nodes between two readings.
type Meter struct {
	last  time.Time
	ticks map[process]uint64 // CPU time of the processes at the previous reading
}

// process identifies a process, even if its ID is used again.
type process struct {
	pid       int
	startTime string
}

// Read returns the resource usage of nodes, by name. The CPU usage of a
// new process is zero.
func (m *Meter) Read(now time.Time, owner func(pid int, s Stat) string) map[string]launch.Usage {
	usage := make(map[string]launch.Usage)
	ticks := make(map[process]uint64)
	elapsed := now.Sub(m.last).Seconds()
	err := Each(func(pid int, s Stat) {
		name := owner(pid, s)
		if name == "" {
			return
		}
		id := process{pid, s.StartTime}
		ticks[id] = s.ticks
		u := usage[name]
		u.Memory += s.resident
		u.Threads += s.threads
		u.Files += openFiles(pid)
		if started := s.Started(); u.Started.IsZero() || started.Before(u.Started) {
			u.Started = started
		}
		if before, ok := m.ticks[id]; ok && elapsed > 0 {
			u.CPU += float64(s.ticks-before) / TicksPerSecond / elapsed
		}
		usage[name] = u
	})
	if err != nil {
		return nil
	}
	m.last, m.ticks = now, ticks
	return usage
}
