package controller

import (
	"slices"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// encoder is Dialect.Encode with a memory. The request to deploy tells every
// agent of the whole cluster, and to encode that for each anew would take most
// of the controller's time.
type encoder struct {
	mu   sync.Mutex
	last map[*zeekapi.Dialect]deployEvent
}

// deployEvent is the last one in a dialect.
type deployEvent struct {
	request zeekapi.AgentDeployRequest
	event   broker.Event
}

func (e *encoder) encode(d *zeekapi.Dialect, msg zeekapi.Message) (broker.Event, error) {
	request, ok := msg.(zeekapi.AgentDeployRequest)
	if !ok {
		return d.Encode(msg)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	last, ok := e.last[d]
	if ok && last.request.Force == request.Force && same(last.request.Config, request.Config) {
		ev := last.event
		ev.Args = slices.Clone(ev.Args)
		ev.Args[0] = broker.String(request.ID) // in all dialects
		return ev, nil
	}
	ev, err := d.Encode(msg)
	if err != nil {
		return ev, err
	}
	if e.last == nil {
		e.last = make(map[*zeekapi.Dialect]deployEvent)
	}
	e.last[d] = deployEvent{request, ev}
	return ev, nil
}

// same reports whether a and b are one configuration, which nobody changes once
// the machine has it. It does not look at what they hold.
func same(a, b zeekapi.Configuration) bool {
	return a.ID == b.ID && sameSlice(a.Instances, b.Instances) && sameSlice(a.Nodes, b.Nodes)
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
