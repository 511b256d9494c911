package controller

import (
	"context"
	"errors"

	"github.com/zeekwire/zeekwire/broker"
)

// Leadership determines when a controller leads.
type Leadership interface {
	// Next waits for the next turn. The first call returns at once. Next returns an error
	// only if the controller must end, or if ctx ends.
	Next(ctx context.Context) (Turn, error)

	// StepDown makes a controller that leads hand over to another one. It returns at once,
	// and may be called concurrently with Next. A turn follows.
	StepDown()
}

// Relay is a Leadership that passes requests to the leader.
type Relay interface {
	Leadership

	// Forward makes the request in m of the leader, and returns its response. client
	// describes the client to the leader. The error wraps ErrNotForwarded if the request
	// certainly has no effect. Forward may be called concurrently.
	Forward(ctx context.Context, client string, m broker.Message) (broker.Value, error)
}

// ErrNotForwarded is wrapped by the errors of requests that did not reach the leader.
var ErrNotForwarded = errors.New("the request was not passed to the leader")

// Turn is a change of the position of a controller, or of what it knows while it stands by.
type Turn struct {
	Post Post

	// State is the stored state at the beginning of a term or, for a controller that
	// stands by, the stored state if that has changed. It is nil otherwise.
	State *State

	// Store is the store of a leader at the beginning of its term. No other controller
	// may change the state in this term. It is nil in other turns.
	Store SharedStore
}
