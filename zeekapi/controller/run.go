package controller

import (
	"context"
	"errors"
	"fmt"
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
	// topic says. Run takes all their notices, and leaves closing to the
	// caller.
	Buses []broker.Bus

	// Access says who may do what on a bus. Where it says nothing, everybody may
	// do everything.
	Access map[broker.Bus]*Access

	// Dialer reaches agents that listen; nil if that is not wanted.
	Dialer Dialer

	Dialects []*zeekapi.Dialect

	// Store keeps the configurations; nil keeps them in memory.
	Store *Store

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

// Run is a controller until ctx ends, or until its store fails: it must not
// acknowledge what it cannot keep.
func Run(ctx context.Context, cfg Config) error {
	for _, a := range cfg.Access {
		if err := a.validate(); err != nil {
			return err
		}
	}
	var configs map[Slot]zeekapi.Configuration
	if cfg.Store != nil {
		var err error
		if configs, err = cfg.Store.Load(); err != nil {
			return err
		}
	}
	r := &runner{
		Config:  cfg,
		machine: NewMachine(cfg.Settings, configs, uuid.NewString, cfg.Log),
		inputs:  make(chan heard),
		speaks:  make(map[uuid.UUID]map[*zeekapi.Dialect]bool),
	}
	parent := ctx
	group, ctx := errgroup.WithContext(parent)
	for _, bus := range cfg.Buses {
		group.Go(func() error { return r.listen(ctx, bus) })
	}
	group.Go(func() error { return r.loop(ctx) })
	err := group.Wait()
	if parent.Err() != nil && (errors.Is(err, parent.Err()) || errors.Is(err, context.Cause(parent))) {
		return nil
	}
	return err
}

type runner struct {
	Config
	machine *Machine
	inputs  chan heard

	// speaks are the dialects in which a peer said hello. Only loop uses it.
	speaks map[uuid.UUID]map[*zeekapi.Dialect]bool
}

// heard is an input, and if it is a hello, its dialect.
type heard struct {
	Input
	hello *zeekapi.Dialect

	// refusal is the answer to a request in its dialect, in place of an input.
	refusal zeekapi.Message
	dialect *zeekapi.Dialect
}

// listen turns the notices of a bus into inputs.
func (r *runner) listen(ctx context.Context, bus broker.Bus) error {
	guard := newGuard(r.Access[bus])
	for {
		notice, err := bus.Next(ctx)
		if err != nil {
			return fmt.Errorf("controller: %w", err)
		}
		in := r.interpret(notice, guard)
		if in.refusal != nil {
			r.publish(ctx, in.dialect, in.dialect.Topics.Controller, in.refusal)
		}
		if in.Input == nil {
			continue
		}
		select {
		case r.inputs <- in:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// interpret returns the input that a notice is, or none if it is none of ours.
func (r *runner) interpret(notice broker.Notice, g *guard) heard {
	switch n := notice.(type) {
	case broker.PeerAdded:
		return heard{Input: PeerAdded{n.Peer}}
	case broker.PeerLost:
		g.lost(n.Peer)
		return heard{Input: PeerLost{n.Peer}}
	case broker.Received:
		return r.interpretMessage(n, g)
	}
	return heard{}
}

func (r *runner) interpretMessage(n broker.Received, g *guard) heard {
	for _, d := range r.Dialects {
		instance, fromAgent := d.Topics.AgentName(n.Message.Topic)
		if !fromAgent && n.Message.Topic != d.Topics.Controller {
			continue
		}
		log := r.Log.With().Str("topic", n.Message.Topic).Str("peer", n.Peer.ID.String()).Logger()
		if fromAgent {
			if why, news := g.agent(n.Peer, instance); why != nil {
				return refusedAgent(log, n.Peer, instance, why, news)
			}
		}
		ev, err := broker.ParseEvent(n.Message.Value)
		if err != nil {
			log.Warn().Err(err).Msg("ignoring a message that is no event")
			return heard{}
		}
		msg, err := d.Decode(ev)
		switch {
		case errors.Is(err, zeekapi.ErrUnknown):
			log.Warn().Str("event", ev.Name).Msg("ignoring an event that is not of the management API")
			return heard{}
		case err != nil:
			log.Warn().Err(err).Msg("ignoring an event with wrong arguments")
			return heard{}
		case !fromAgent:
			if why := g.client(n.Peer, msg); why != nil {
				log.Warn().Err(why).Str("event", ev.Name).Str("client", clientName(n.Peer)).Msg("refusing a request")
				return heard{refusal: zeekapi.Refuse(msg, why.Error()), dialect: d}
			}
			return heard{Input: FromClient{n.Peer, msg}}
		}
		if name, ok := sender(msg); ok && name != instance {
			log.Warn().Str("instance", name).Str("event", ev.Name).Msg("ignoring an agent that speaks on the topic of another")
			return heard{}
		}
		in := heard{Input: FromAgent{n.Peer, msg}}
		if _, ok := msg.(zeekapi.AgentHello); ok {
			in.hello = d
		}
		return in
	}
	return heard{}
}

// sender returns the instance that a message of an agent says it is from, if it
// says so.
func sender(msg zeekapi.Message) (instance string, ok bool) {
	switch m := msg.(type) {
	case zeekapi.AgentHello:
		return m.Instance, true
	case zeekapi.AgentDescription:
		return m.Instance, true
	case zeekapi.AgentChange:
		return m.Instance, true
	case zeekapi.AgentError:
		return m.Instance, true
	case zeekapi.AgentLog:
		return m.Instance, true
	}
	return "", false
}

// refusedAgent returns nothing to hear but, if it is news, that an agent was
// refused.
func refusedAgent(log zerolog.Logger, p broker.Peer, instance string, why error, news bool) heard {
	if !news {
		log.Debug().Err(why).Msg("ignoring an agent that is not allowed")
		return heard{}
	}
	log.Warn().Err(why).Stringer("addr", p.Addr).Msg("ignoring an agent that is not allowed")
	return heard{Input: AgentRefused{p, instance, why.Error()}}
}

// loop feeds the machine and does what it says.
func (r *runner) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := r.perform(ctx, r.machine.Start(time.Now())); err != nil {
		return err
	}
	for {
		if next := r.machine.Deadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		var in heard
		select {
		case <-ctx.Done():
			return ctx.Err()
		case in = <-r.inputs:
		case <-timer.C:
			in.Input = Tick{}
		}
		r.noteDialect(in)
		if err := r.perform(ctx, r.machine.Step(time.Now(), in.Input)); err != nil {
			return err
		}
	}
}

// noteDialect remembers what agents speak for as long as they are peers.
func (r *runner) noteDialect(in heard) {
	switch msg := in.Input.(type) {
	case PeerLost:
		delete(r.speaks, msg.Peer.ID)
	case FromAgent:
		if in.hello == nil {
			return
		}
		if r.speaks[msg.Peer.ID] == nil {
			r.speaks[msg.Peer.ID] = make(map[*zeekapi.Dialect]bool)
		}
		r.speaks[msg.Peer.ID][in.hello] = true
	}
}

func (r *runner) perform(ctx context.Context, outputs []Output) error {
	for len(outputs) > 0 {
		o := outputs[0]
		outputs = outputs[1:]
		switch o := o.(type) {
		case ToAgent:
			if !r.toAgent(ctx, o) {
				outputs = append(outputs, r.machine.Step(time.Now(), Unsupported{o})...)
			}
		case ToClients:
			for _, d := range r.Dialects {
				if d.Has(o.Message) {
					r.publish(ctx, d, d.Topics.Controller, o.Message)
				}
			}
		case Dial:
			r.dial(o.Address, Dialer.Dial)
		case Hangup:
			r.dial(o.Address, Dialer.Undial)
		case Save:
			if r.Store == nil {
				continue
			}
			if err := r.Store.Save(o.Slot, o.Config); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) dial(address string, do func(Dialer, string) error) {
	if r.Dialer == nil {
		r.Log.Warn().Str("address", address).Msg("cannot reach an agent that listens")
		return
	}
	if err := do(r.Dialer, address); err != nil {
		r.Log.Error().Err(err).Str("address", address).Msg("cannot reach an agent that listens")
	}
}

// toAgent speaks the first of our dialects that the agent also speaks and that
// has the message, and reports whether there is one. To an agent that has not
// said a word yet, it speaks all.
func (r *runner) toAgent(ctx context.Context, o ToAgent) (spoken bool) {
	speaks := r.speaks[o.Peer]
	for _, d := range r.Dialects {
		if spoken && speaks != nil {
			break
		}
		if (speaks == nil || speaks[d]) && d.Has(o.Message) {
			r.publish(ctx, d, d.Topics.Agent(o.Instance), o.Message)
			spoken = true
		}
	}
	return spoken
}

func (r *runner) publish(ctx context.Context, d *zeekapi.Dialect, topic string, msg zeekapi.Message) {
	ev, err := d.Encode(msg)
	if err != nil {
		r.Log.Error().Err(err).Msg("cannot encode a message")
		return
	}
	r.Log.Debug().Str("topic", topic).Str("event", ev.Name).Str("request", msg.RequestID()).Msg("sending")
	for _, bus := range r.Buses {
		if err := bus.Publish(ctx, topic, ev.Value()); err != nil && ctx.Err() == nil {
			r.Log.Warn().Err(err).Str("topic", topic).Str("event", ev.Name).Msg("cannot publish")
		}
	}
}
