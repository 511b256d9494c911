package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// Dialer opens and ends lasting peerings with agents that listen. A native
// endpoint is one.
type Dialer interface {
	Dial(address string) error
	Undial(address string) error
}

// Config configures Run. Buses and Dialects are required.
type Config struct {
	Settings Settings

	// Buses carry agents and clients; the topic of a message says which of the
	// two it is from. Run takes all notifications of the buses. The caller
	// closes them.
	Buses []broker.Bus

	// Dialer connects to agents that listen for their controller. If nil, the
	// controller only accepts connections.
	Dialer Dialer

	// Access maps each bus to its access rules. A bus without rules accepts
	// every agent and every request, like Zeek's controller, and sends responses
	// to all clients.
	Access map[broker.Bus]*Access

	// Dialects are the dialects that the controller speaks.
	Dialects []*zeekapi.Dialect

	// Loaded, if non-nil, is called once, after the stored state has been
	// restored.
	Loaded func()

	// Store keeps the state over restarts. If nil, the state is lost when Run
	// ends.
	Store *Store

	// Observe, if non-nil, is called after the start, with a nil Input, and
	// after every step of the machine, with the numbers after the step and with
	// the outputs, which have not been performed yet. It must not block.
	Observe func(s Snapshot, in Input, out []Output)

	// Beat is the longest time between two calls of Observe. Zero means that a
	// controller without input takes no steps; a negative duration is an error.
	Beat time.Duration

	// Ending, if non-nil, ends Run when it is closed, after all pending requests
	// have been answered. New ones are refused.
	Ending <-chan struct{}

	// Log receives errors that no method returns, and what clients and agents
	// do. The zero value discards them.
	Log zerolog.Logger
}

func (c Config) validate() error {
	switch {
	case len(c.Buses) == 0:
		return errors.New("controller: Config has no buses")
	case slices.Contains(c.Buses, nil):
		return errors.New("controller: Config has a bus that is nil")
	case len(c.Dialects) == 0:
		return errors.New("controller: Config has no dialects")
	case c.Beat < 0:
		return fmt.Errorf("controller: Beat is %s, must not be negative", c.Beat)
	}
	for _, a := range c.Access {
		if err := a.validate(); err != nil {
			return err
		}
	}
	return nil
}

// Topics returns the prefixes that the buses of a controller must subscribe to.
func Topics(dialects []*zeekapi.Dialect) []string {
	var topics []string
	for _, d := range dialects {
		topics = append(topics, d.Topics.Controller, d.Topics.AgentPrefix)
	}
	return topics
}

// inputBatch is the number of inputs whose changes are stored together: a
// transaction takes about as long for many changes as for one.
const inputBatch = 256

// Run runs a controller until ctx or cfg.Ending ends it, and then returns nil.
// It ends earlier with an error if cfg is invalid, if a bus fails, or if the
// store fails: the controller must not acknowledge changes that are not stored.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if _, err := cfg.Settings.complete(); err != nil {
		return err
	}
	var state State
	if cfg.Store != nil {
		var err error
		if state, err = cfg.Store.Load(); err != nil {
			return err
		}
		cfg.Store.tell(cfg.Log, state)
	}
	machine, err := NewMachine(cfg.Settings, state, uuid.NewString, cfg.Log)
	if err != nil {
		return err
	}
	r := &runner{Config: cfg, dials: newDials(cfg.Dialer, cfg.Log)}
	defer r.dials.wait()
	loop := eventloop.Config[Input, Output]{
		Machine: machine, Batch: inputBatch, Tick: Tick{}, Shutdown: Shutdown{},
		Perform: r.perform, Started: cfg.Loaded, Beat: cfg.Beat, Ending: cfg.Ending,
	}
	for _, bus := range cfg.Buses {
		l := &listener{runner: r, bus: bus, guard: newGuard(cfg.Access[bus], cfg.Log)}
		loop.Sources = append(loop.Sources, l.next)
	}
	if cfg.Observe != nil {
		loop.Observe = func(in Input, out []Output) { cfg.Observe(machine.Snapshot(), in, out) }
	}
	return eventloop.Run(ctx, loop)
}

// runner performs the outputs of a machine.
type runner struct {
	Config
	dials   *dials
	encoder encoder
}

// perform stores the changes, and then carries out the outputs. It returns the
// inputs that follow from them.
func (r *runner) perform(ctx context.Context, outputs []Output) (more []Input, err error) {
	if err := r.store(outputs); err != nil {
		return nil, err
	}
	for _, o := range outputs {
		switch o := o.(type) {
		case ToAgent:
			if !r.toAgent(ctx, o) {
				more = append(more, Unsupported{o})
			}
		case ToClients:
			for _, d := range r.Dialects {
				if d.Has(o.Message) {
					r.answer(ctx, d, o.Peer, o.Message)
				}
			}
		case Announce:
			msg := zeekapi.EventReport{Event: o.Event}
			for _, d := range r.Dialects {
				if d.Has(msg) {
					r.publish(ctx, d, uuid.Nil, d.Topics.Events, envelope{Message: msg})
				}
			}
		case Dial:
			r.dials.dial(o.Address)
		case Hangup:
			r.dials.undial(o.Address)
		}
	}
	return more, nil
}

func (r *runner) store(outputs []Output) error {
	if r.Store == nil {
		return nil
	}
	var changes []Change
	for _, o := range outputs {
		if c, ok := o.(Change); ok {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return r.Store.Save(changes...)
}

// envelope is a message with the content that it shares with others, see
// ToAgent.
type envelope struct {
	zeekapi.Message
	content uint64
}

// toAgent sends a message in the first dialect of the controller that the agent
// also speaks and that has the message. It reports whether there is one. To an
// agent that has not said hello yet, it sends the message in all dialects.
func (r *runner) toAgent(ctx context.Context, o ToAgent) (sent bool) {
	known := len(o.Dialects) > 0
	for _, d := range r.Dialects {
		if sent && known {
			break
		}
		if (!known || slices.Contains(o.Dialects, d.Name)) && d.Has(o.Message) {
			r.publish(ctx, d, o.Peer, d.Topics.Agent(o.Instance), envelope{o.Message, o.Content})
			sent = true
		}
	}
	return sent
}

// answer sends a response to a client. On a bus without access rules, all
// clients hear it, as with Zeek's controller. On others only the client does:
// the response may be confidential, and the other clients need not keep up with
// a client that sends many requests.
func (r *runner) answer(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, msg zeekapi.Message) {
	r.say(ctx, d, d.Topics.Controller, envelope{Message: msg}, func(bus broker.Bus) uuid.UUID {
		if r.Access[bus] == nil {
			return uuid.Nil
		}
		return to
	})
}

// publish sends a message to a peer, or with uuid.Nil to all subscribers of the
// topic.
func (r *runner) publish(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, topic string, msg envelope) {
	r.say(ctx, d, topic, msg, func(broker.Bus) uuid.UUID { return to })
}

func (r *runner) say(ctx context.Context, d *zeekapi.Dialect, topic string, msg envelope, to func(broker.Bus) uuid.UUID) {
	ev, err := r.encoder.encode(d, msg)
	if err != nil {
		r.Log.Error().Err(err).Msg("cannot encode a message")
		return
	}
	r.Log.Debug().Str("topic", topic).Str("event", ev.Name).Str("request", msg.RequestID()).Msg("sending")
	for _, bus := range r.Buses {
		if err := publish(ctx, bus, to(bus), topic, ev.Value()); err != nil && ctx.Err() == nil {
			r.Log.Warn().Err(err).Str("topic", topic).Str("event", ev.Name).Msg("cannot publish")
		}
	}
}

func publish(ctx context.Context, bus broker.Bus, to uuid.UUID, topic string, v broker.Value) error {
	if direct, ok := bus.(broker.Director); ok && to != uuid.Nil {
		_, err := direct.PublishTo(ctx, to, topic, v)
		return err
	}
	return bus.Publish(ctx, topic, v)
}
