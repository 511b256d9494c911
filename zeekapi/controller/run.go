package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Dialer opens and ends lasting peerings with agents that listen. A native
// endpoint is one.
type Dialer interface {
	Dial(address string) error
	Undial(address string) error
}

// Config is what Run needs.
type Config struct {
	Settings Settings

	// Buses carry agents and clients, either on any: what a message is, its
	// topic says. Run takes all their notifications, and leaves closing to the
	// caller.
	Buses []broker.Bus

	// Dialer reaches agents that listen; nil if that is not wanted.
	Dialer Dialer

	// Access says who may do what on a bus. Where it says nothing, uuid.Nil may
	// do everything.
	Access map[broker.Bus]*Access

	Dialects []*zeekapi.Dialect

	// Loaded, if set, is called once, when the store has told what it keeps and
	// the controller goes on with that.
	Loaded func()

	// Store keeps the state; nil keeps it in memory.
	Store *Store

	// Observe, if set, is called by the controller's loop after every step of
	// the machine, with what happened and what is to be done about it. It may
	// ask the machine but not change it, and must not block. With Beat set there
	// is a step, if only a Tick, at least that often: while Observe is called,
	// the controller works.
	Observe func(m *Machine, in Input, out []Output)
	Beat    time.Duration

	// Ending has Run end when it is closed: no sooner than all requests are
	// answered, new ones are refused.
	Ending <-chan struct{}

	Log zerolog.Logger
}

// Topics returns the prefixes that the buses of a controller must subscribe to.
func Topics(dialects []*zeekapi.Dialect) []string {
	var topics []string
	for _, d := range dialects {
		topics = append(topics, d.Topics.Controller, d.Topics.AgentPrefix)
	}
	return topics
}

// How many inputs may wait, and how many are dealt with at once: what they
// change is stored together, for it takes a disk as long to keep a lot as to
// keep a little.
const (
	inputQueue = 256
	inputBatch = 256
)

// Run is a controller until ctx or cfg.Ending ends it, or until its store fails:
// it must not acknowledge what it cannot keep.
func Run(ctx context.Context, cfg Config) error {
	for _, a := range cfg.Access {
		if err := a.validate(); err != nil {
			return err
		}
	}
	var state State
	if cfg.Store != nil {
		var err error
		if state, err = cfg.Store.Load(); err != nil {
			return err
		}
		cfg.Store.tell(cfg.Log, state)
	}
	r := &runner{
		Config:  cfg,
		machine: NewMachine(cfg.Settings, state, uuid.NewString, cfg.Log),
		inputs:  make(chan Input, inputQueue),
		dials:   newDials(cfg.Dialer, cfg.Log),
	}
	defer r.dials.wait()
	parent := ctx
	group, ctx := errgroup.WithContext(parent)
	for _, bus := range cfg.Buses {
		group.Go(func() error { return r.listen(ctx, bus) })
	}
	group.Go(func() error { return r.loop(ctx) })
	err := group.Wait()
	if err == errEnded {
		return nil
	}
	if parent.Err() != nil && (errors.Is(err, parent.Err()) || errors.Is(err, context.Cause(parent))) {
		return nil
	}
	return err
}

// errEnded says that a controller that was told to end has nothing left to do.
var errEnded = errors.New("controller: ended")

type runner struct {
	Config
	machine *Machine
	inputs  chan Input
	dials   *dials
	encoder encoder
}

// loop feeds the machine and does what it says.
func (r *runner) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := r.perform(ctx, r.machine.Start(time.Now())); err != nil {
		return err
	}
	if r.Loaded != nil {
		r.Loaded()
	}
	ending, ended := r.Ending, false
	for !ended || r.machine.Pending() > 0 {
		next := r.machine.Deadline()
		if r.Beat > 0 && (next.IsZero() || time.Until(next) > r.Beat) {
			next = time.Now().Add(r.Beat)
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		var in Input
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ending:
			in, ending, ended = Shutdown{}, nil, true
		case in = <-r.inputs:
		case <-timer.C:
			in = Tick{}
		}
		if err := r.perform(ctx, r.steps(in)); err != nil {
			return err
		}
	}
	return errEnded
}

func (r *runner) step(in Input) []Output {
	outputs := r.machine.Step(time.Now(), in)
	if r.Observe != nil {
		r.Observe(r.machine, in, outputs)
	}
	return outputs
}

// steps gives the machine an input, and what else is waiting.
func (r *runner) steps(in Input) []Output {
	outputs := r.step(in)
	for range inputBatch - 1 {
		select {
		case in := <-r.inputs:
			outputs = append(outputs, r.step(in)...)
		default:
			return outputs
		}
	}
	return outputs
}

// perform stores what is to be stored, and then does the rest.
func (r *runner) perform(ctx context.Context, outputs []Output) error {
	for len(outputs) > 0 {
		if err := r.store(outputs); err != nil {
			return err
		}
		var more []Output
		for _, o := range outputs {
			switch o := o.(type) {
			case ToAgent:
				if !r.toAgent(ctx, o) {
					more = append(more, r.step(Unsupported{o})...)
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
						r.publish(ctx, d, uuid.Nil, d.Topics.Events, msg)
					}
				}
			case Dial:
				r.dials.dial(o.Address)
			case Hangup:
				r.dials.undial(o.Address)
			}
		}
		outputs = more
	}
	return nil
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

// toAgent speaks the first of our dialects that the agent also speaks and that
// has the message, and reports whether there is one. To an agent that has not
// said a word yet, it speaks all.
func (r *runner) toAgent(ctx context.Context, o ToAgent) (spoken bool) {
	known := len(o.Dialects) > 0
	for _, d := range r.Dialects {
		if spoken && known {
			break
		}
		if (!known || slices.Contains(o.Dialects, d.Name)) && d.Has(o.Message) {
			r.publish(ctx, d, o.Peer, d.Topics.Agent(o.Instance), o.Message)
			spoken = true
		}
	}
	return spoken
}

// answer says msg to the client that asked. Others hear it as they do with
// Zeek, unless the bus has rules: then it is no business of theirs, and they
// need not keep up with one that asks much.
func (r *runner) answer(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, msg zeekapi.Message) {
	r.say(ctx, d, d.Topics.Controller, msg, func(bus broker.Bus) uuid.UUID {
		if r.Access[bus] == nil {
			return uuid.Nil
		}
		return to
	})
}

// publish says msg to a peer, or with uuid.Nil to all who subscribe to topic.
func (r *runner) publish(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, topic string, msg zeekapi.Message) {
	r.say(ctx, d, topic, msg, func(broker.Bus) uuid.UUID { return to })
}

func (r *runner) say(ctx context.Context, d *zeekapi.Dialect, topic string, msg zeekapi.Message, to func(broker.Bus) uuid.UUID) {
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
