package agent

import (
	"fmt"
	"maps"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// LimitMemory changes the memory limit of a running node, in bytes; 0 means none.
type LimitMemory struct {
	Node  string
	Bytes int64
}

func (LimitMemory) output() {}

// limitMemory passes changed limits of running nodes to the launcher, because another limit
// restarts no node.
func (ns *nodes) limitMemory() {
	for _, name := range slices.Sorted(maps.Keys(ns.all)) {
		n := ns.all[name]
		if n.want == nil || n.have == nil {
			continue
		}
		if limit := memoryLimit(*n.want); limit != memoryLimit(*n.have) {
			// The running process has the options of its assignment from now on, except
			// its CPUs, which need a restart.
			have := *n.have
			cpus, _ := have.CPUs()
			have.Options = n.want.Options
			have.SetCPUs(cpus)
			n.have = &have
			ns.emit(LimitMemory{name, limit})
		}
	}
}

// memoryLimit returns the memory limit of a node in bytes, 0 for none. An invalid limit is
// none: the cluster file was checked when it was read.
func memoryLimit(n launch.Node) int64 {
	limit, _, err := n.MemoryLimit()
	if err != nil {
		return 0
	}
	return limit
}

// measured processes the resource usage of nodes. A node that uses more memory than its limit
// is stopped, as if it had died, and starts again.
func (ns *nodes) measured(usage map[string]launch.Usage) {
	for _, name := range slices.Sorted(maps.Keys(ns.all)) {
		n := ns.all[name]
		n.usage = usage[name]
		if n.want == nil {
			continue
		}
		if limit := memoryLimit(*n.want); limit > 0 && n.usage.Memory > uint64(limit) {
			ns.end(n, fmt.Errorf("it used %s of memory, its limit is %s", diskwatch.Bytes(n.usage.Memory), diskwatch.Bytes(uint64(limit))))
		}
	}
}

// end stops a running node because of a fault of the node. Its end counts as a death with
// that cause.
func (ns *nodes) end(n *node, cause error) {
	if n.have == nil || n.stopping || !n.begun {
		return
	}
	n.stopping, n.again, n.cause = true, false, cause
	ns.emit(Stop{Node: n.have.Name})
}
