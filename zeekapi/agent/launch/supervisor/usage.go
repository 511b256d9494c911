package supervisor

import "github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"

// owners returns what says to which node a process belongs: the node's own and
// those that it has started.
func (l *Launcher) owners() func(int, proc.Stat) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return owners(l.machine.processes())
}

func owners(nodes map[int]string) func(int, proc.Stat) string {
	return func(pid int, s proc.Stat) string {
		if name := nodes[pid]; name != "" && isNode(s, name) {
			return name
		}
		if name := nodes[s.Parent]; name != "" {
			if parent, err := proc.Read(s.Parent); err == nil && isNode(parent, name) {
				return name
			}
		}
		return ""
	}
}

// isNode reports whether a process calls itself as Zeek has its nodes do. A
// Supervisor in a container may have told us the ID of a process that is another
// one here. (Zeek: SupervisorStem::Spawn)
func isNode(s proc.Stat, name string) bool {
	const longest = 15 // bytes that the kernel keeps
	name = "zeek." + name
	return s.Name == name[:min(len(name), longest)]
}
