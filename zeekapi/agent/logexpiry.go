package agent

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// logExpiry is the age at which the logs of an instance are removed from its archive.
type logExpiry struct {
	age time.Duration // 0: never
	set bool          // whether the configuration has an age
}

// logExpiry returns the age in the configuration: the longest one of the nodes that write
// logs. Invalid ages do not count.
func (a *Assignment) logExpiry() (longest logExpiry) {
	if a == nil {
		return longest
	}
	for _, n := range a.logWriters() {
		age, set, err := n.LogExpiry()
		if !set || err != nil {
			continue
		}
		if age == 0 {
			return logExpiry{0, true}
		}
		longest = logExpiry{max(longest.age, age), true}
	}
	return longest
}

// logWriters returns the nodes of an assignment that write the logs of the cluster: its
// loggers, or the manager if the cluster has none. Without either on this instance, it
// returns none, unless the cluster has neither: then each node writes its own logs.
func (a *Assignment) logWriters() []zeekapi.Node {
	with := func(role zeekapi.ClusterRole) []zeekapi.Node {
		return slices.DeleteFunc(slices.Clone(a.Nodes), func(n zeekapi.Node) bool { return n.Role != role })
	}
	for _, role := range []zeekapi.ClusterRole{zeekapi.RoleLogger, zeekapi.RoleManager} {
		if a.Layout.HasRole(role) {
			return with(role)
		}
	}
	return a.Nodes
}

// LogExpiry returns the age at which archived logs of the instance expire, 0 for never. The
// result set is false if its configuration has no age.
func (m *Machine) LogExpiry() (age time.Duration, set bool) {
	return m.target.expiry.age, m.target.expiry.set
}
