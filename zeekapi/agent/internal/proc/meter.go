package proc

import (
	"context"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// measureInterval is how often Measure looks.
const measureInterval = 5 * time.Second

// Measure tells now and then what nodes use, until ctx ends. What owners returns
// says which node a process belongs to, "" for none; nil says that there are no
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
	ticks map[process]uint64 // of processor time that processes had used by then
}

// process tells a process from a later one with the same ID.
type process struct {
	pid       int
	startTime string
}

// Read returns the resource usage of nodes, by name. A process that was not there the last
// time has used no processor yet.
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
