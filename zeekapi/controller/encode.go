package controller

import (
	"slices"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// envelope is a message with the content that it shares with others, see
// ToAgent.
type envelope struct {
	zeekapi.Message
	content uint64
}

// encoder encodes messages and remembers the last deployment in each dialect.
// Its message has the whole configuration for every agent; to encode that for
// each of them would take most of the controller's time. The zero value is ready
// to use, also concurrently.
type encoder struct {
	mu   sync.Mutex
	last map[*zeekapi.Dialect]deployEvent
}

// deployEvent is an encoded AgentDeployRequest.
type deployEvent struct {
	content uint64 // see ToAgent
	force   bool
	event   broker.Event
}

func (e *encoder) encode(d *zeekapi.Dialect, msg envelope) (broker.Event, error) {
	request, ok := msg.Message.(zeekapi.AgentDeployRequest)
	if !ok || msg.content == 0 {
		return d.Encode(msg.Message)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if last := e.last[d]; last.content == msg.content && last.force == request.Force {
		ev := last.event
		ev.Args = slices.Clone(ev.Args)
		ev.Args[0] = broker.String(request.ID) // in all dialects
		return ev, nil
	}
	ev, err := d.Encode(request)
	if err != nil {
		return ev, err
	}
	if e.last == nil {
		e.last = make(map[*zeekapi.Dialect]deployEvent)
	}
	e.last[d] = deployEvent{msg.content, request.Force, ev}
	return ev, nil
}
