package zeek

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// measureInterval is how often it is measured what nodes use.
const measureInterval = 5 * time.Second

// measure tells what nodes use until the launcher closes.
func (l *Launcher) measure() {
	ticker := time.NewTicker(measureInterval)
	defer ticker.Stop()
	var m meter
	for {
		select {
		case now := <-ticker.C:
			if usage := m.read(now, l.groups()); len(usage) > 0 {
				l.events.Add(launch.Measured{Nodes: usage})
			}
		case <-l.closing.Done():
			return
		}
	}
}

// groups returns the nodes by the process groups that they are.
func (l *Launcher) groups() map[int]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	groups := make(map[int]string)
	for name, n := range l.nodes {
		if n.pid != 0 {
			groups[n.pid] = name
		}
	}
	return groups
}

// meter finds out what nodes use by looking again and again.
type meter struct {
	last  time.Time
	ticks map[identity]uint64 // of processor time that processes had used by then
}

// read returns what nodes use, by name. A process that was not there the last
// time has used no processor yet.
func (m *meter) read(now time.Time, groups map[int]string) map[string]launch.Usage {
	usage := make(map[string]launch.Usage)
	ticks := make(map[identity]uint64)
	elapsed := now.Sub(m.last).Seconds()
	err := processes(func(pid int, stat processStat) {
		name, ours := groups[stat.group]
		if !ours {
			return
		}
		id := identity{PID: pid, StartTime: stat.startTime}
		ticks[id] = stat.ticks
		u := usage[name]
		u.Memory += stat.resident
		if before, ok := m.ticks[id]; ok && elapsed > 0 {
			u.CPU += float64(stat.ticks-before) / ticksPerSecond / elapsed
		}
		usage[name] = u
	})
	if err != nil {
		return nil
	}
	m.last, m.ticks = now, ticks
	return usage
}
