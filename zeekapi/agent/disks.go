package agent

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
)

// DiskInterval is the time between two measurements of the disks.
const DiskInterval = 10 * time.Second

// DisksRead reports the free space of the agent's directories.
type DisksRead struct{ Spaces []diskwatch.Space }

// FreeSpace asks for the removal of the oldest archived logs, until the given number of
// bytes is gone.
type FreeSpace struct{ Bytes int64 }

func (DisksRead) input()  {}
func (FreeSpace) output() {}

// disks acts when disks fill up.
type disks struct {
	*outbox
	watch    *diskwatch.Machine
	nodes    *nodes
	target   *target
	problems *problems
	stop     string // why no logs may be written, "" if they may
}

// read processes a measurement.
func (d *disks) read(now time.Time, spaces []diskwatch.Space) {
	actions := d.watch.Step(spaces)
	var found []zeekapi.Problem
	for _, p := range actions.Problems {
		found = append(found, zeekapi.Problem{Subject: p.Path, Text: p.Text})
	}
	d.problems.set(now, zeekapi.ProblemDisk, found)
	if actions.Expire > 0 {
		d.emit(FreeSpace{actions.Expire})
	}
	d.stop = actions.Stop
}

// settle holds the nodes that write logs while none may be written. They stop, and start
// again when there is space.
func (d *disks) settle(now time.Time) {
	writers := make(map[string]bool)
	if a := d.target.assignment; d.stop != "" && a != nil {
		for _, n := range a.logWriters() {
			writers[n.Name] = true
		}
	}
	for name, n := range d.nodes.all {
		held := ""
		if writers[name] && n.want != nil {
			held = "not running: " + d.stop
		}
		d.nodes.hold(now, n, held)
	}
}
