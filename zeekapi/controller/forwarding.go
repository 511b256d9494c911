package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// forwards passes requests to the leader.
type forwards struct {
	relay    Relay // nil: there is none
	dialects []*zeekapi.Dialect
	workers  *eventloop.Workers[Input]
}

func newForwards(l Leadership, dialects []*zeekapi.Dialect) *forwards {
	relay, _ := l.(Relay)
	return &forwards{relay: relay, dialects: dialects, workers: eventloop.NewWorkers[Input](maxForwards)}
}

// forward passes a request to the leader. The loop does not wait for the response.
func (f *forwards) forward(ctx context.Context, o Forward, leader zeekapi.ControllerMember) []Input {
	id, request := o.Message.RequestID(), zeekapi.RequestOf(o.Message)
	ended := func(response zeekapi.Message) Input { return Forwarded{o.By.ID, response} }
	refuse := func(why error) zeekapi.Message { return request.Respond(id, zeekapi.Failure(id, "%v", why)) }
	if f.relay == nil {
		return []Input{ended(refuse(ErrNotForwarded))}
	}
	began := f.workers.Do(func() Input {
		response, err := f.ask(ctx, o)
		switch {
		case errors.Is(err, ErrNotForwarded):
			response = refuse(fmt.Errorf("this controller stands by; %w; send it to controller %q at %s", err, leader.Name, leader.Clients))
		case err != nil:
			response = refuse(fmt.Errorf("this controller stands by, and passed the request to controller %q: %w; see the status for the outcome", leader.Name, err))
		}
		return ended(response)
	})
	if !began {
		return []Input{ended(refuse(errors.New(errTooMany)))}
	}
	return nil
}

// ask sends a request to the leader, in the first dialect that has it, and returns the
// response.
func (f *forwards) ask(ctx context.Context, o Forward) (zeekapi.Message, error) {
	for _, d := range f.dialects {
		if !d.Has(o.Message) {
			continue
		}
		ev, err := d.Encode(o.Message)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotForwarded, err)
		}
		v, err := f.relay.Forward(ctx, nameOf(o.By), broker.Message{Topic: d.Topics.Controller, Value: ev.Value()})
		if err != nil {
			return nil, err
		}
		return responseIn(d, o.Message, v)
	}
	return nil, ErrNotForwarded
}

var errOtherResponse = errors.New("the leader sent something else than a response")

// responseIn decodes a value as the response to a request.
func responseIn(d *zeekapi.Dialect, to zeekapi.Message, v broker.Value) (zeekapi.Message, error) {
	ev, err := broker.ParseEvent(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherResponse, err)
	}
	response, err := d.Decode(ev)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherResponse, err)
	}
	if !zeekapi.RequestOf(to).RespondedBy(response) || response.RequestID() != to.RequestID() {
		return nil, errOtherResponse
	}
	return response, nil
}
