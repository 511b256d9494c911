package supervised

import (
	"maps"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// owners returns a function that maps processes to nodes, or nil if there are no nodes.
func (l *Launcher) owners() func(int, proc.Stat) string {
	l.mu.Lock()
	nodes := l.machine.processes()
	l.mu.Unlock()
	return owners(nodes)
}

// owners returns a function that maps the processes of nodes, and their children, to the
// names of the nodes. It returns nil if no node has a process.
//
// It verifies the names of the processes (Zeek: SupervisorStem::Spawn): the process IDs of
// a Supervisor in a container may belong to other processes outside it.
func owners(nodes map[int]string) func(int, proc.Stat) string {
	maps.DeleteFunc(nodes, func(pid int, name string) bool {
		s, err := proc.Read(pid)
		return err != nil || s.Name != processName(name)
	})
	if len(nodes) == 0 {
		return nil
	}
	return func(pid int, s proc.Stat) string {
		if name, ok := nodes[pid]; ok {
			return name
		}
		return nodes[s.Parent]
	}
}

// processName returns the name of a node's process, truncated as by the kernel.
func processName(node string) string {
	const longest = 15 // bytes
	name := launch.ProcessName(node)
	return name[:min(len(name), longest)]
}
