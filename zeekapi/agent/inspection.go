package agent

import (
	"maps"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// inspection collects the results of checks of nodes.
type inspection struct {
	waiting map[string]launch.Node    // nodes without a result, by name
	failed  map[string]launch.Checked // failed checks, by name
}

// begin makes i wait for the checks of nodes. They replace earlier checks of the same
// nodes.
func (i *inspection) begin(nodes []launch.Node) {
	if i.waiting == nil {
		i.waiting, i.failed = make(map[string]launch.Node), make(map[string]launch.Checked)
	}
	for _, n := range nodes {
		i.waiting[n.Name] = n
		delete(i.failed, n.Name)
	}
}

// take processes a result, and reports whether i waited for it.
func (i *inspection) take(ev launch.Checked) bool {
	n, ok := i.waiting[ev.Node.Name]
	if !ok || !n.Equal(ev.Node) {
		return false
	}
	delete(i.waiting, ev.Node.Name)
	if ev.Err != nil {
		i.failed[ev.Node.Name] = ev
	}
	return true
}

// failures returns the names of the nodes that failed, sorted.
func (i *inspection) failures() []string { return slices.Sorted(maps.Keys(i.failed)) }

// portsInUse returns the ports of other programs, sorted, if nodes failed because of their
// ports.
func (i *inspection) portsInUse() []uint16 {
	var ports []uint16
	for _, ev := range i.failed {
		ports = append(ports, ev.PortsInUse...)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	return ports[:min(len(ports), zeekapi.MaxMachinePorts)]
}

// problem returns the error of a failed check, and its outputs. All failed checks share
// MaxOutputs.
func (i *inspection) problem(name string) (string, broker.Value) {
	ev := i.failed[name]
	reason := ev.Err.Error()
	return reason, mustMarshal(shorten(explain(reason, ev.Outputs), MaxOutputs/2/len(i.failed)))
}

// failedResult returns the result of a node that failed.
func (o *outbox) failedResult(reqID, node, text string, outputs broker.Value) zeekapi.Result {
	r := o.failure(reqID, "%s", text)
	r.Node, r.Data = node, outputs
	return r
}
