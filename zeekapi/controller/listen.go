package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// heard is an input or, in place of it, the answer to a request that is
// refused, with its dialect, or nothing that makes sense.
type heard struct {
	input    Input
	refusal  zeekapi.Message
	peer     uuid.UUID // who is refused or makes no sense
	dialect  *zeekapi.Dialect
	nonsense bool
}

// listen turns the notifications of a bus into inputs.
func (r *runner) listen(ctx context.Context, bus broker.Bus) error {
	guard := newGuard(r.Access[bus])
	for {
		notification, err := bus.Next(ctx)
		if err != nil {
			return fmt.Errorf("controller: %w", err)
		}
		in := r.interpret(notification, guard)
		if in.refusal != nil {
			r.answer(ctx, in.dialect, in.peer, in.refusal)
		}
		if rejecter, ok := bus.(broker.Rejecter); ok && in.nonsense {
			rejecter.Reject(in.peer)
		}
		if in.input == nil {
			continue
		}
		select {
		case r.inputs <- in.input:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// interpret returns the input that a notification is, or none if it is none of ours.
func (r *runner) interpret(notification broker.Notification, g *guard) heard {
	switch n := notification.(type) {
	case broker.PeerAdded:
		return heard{input: PeerAdded{n.Peer}}
	case broker.PeerLost:
		g.lost(n.Peer)
		return heard{input: PeerLost{n.Peer}}
	case broker.Received:
		return r.interpretMessage(n, g)
	}
	return heard{}
}

// interpretMessage tries the dialects that have the message's topic; several
// may share one.
func (r *runner) interpretMessage(n broker.Received, g *guard) heard {
	log := r.Log.With().Str("topic", n.Message.Topic).Str("peer", n.Peer.ID.String()).Logger()
	nonsense := heard{peer: n.Peer.ID, nonsense: true}
	unknown := ""
	for _, d := range r.Dialects {
		instance, fromAgent := d.Topics.AgentName(n.Message.Topic)
		if !fromAgent && n.Message.Topic != d.Topics.Controller {
			continue
		}
		if fromAgent {
			if why, news := g.agent(n.Peer, instance); why != nil {
				return refusedAgent(log, n.Peer, instance, why, news)
			}
		}
		ev, err := broker.ParseEvent(n.Message.Value)
		if err != nil {
			log.WithLevel(g.level(n.Peer)).Err(err).Msg("ignoring a message that is no event")
			return nonsense
		}
		msg, err := d.Decode(ev)
		switch {
		case errors.Is(err, zeekapi.ErrUnknown):
			unknown = ev.Name
			continue
		case err != nil:
			log.WithLevel(g.level(n.Peer)).Err(err).Msg("ignoring an event with wrong arguments")
			return nonsense
		case fromAgent:
			return fromAgentOf(log, g, n.Peer, d, instance, msg)
		}
		if why := g.client(n.Peer, msg); why != nil {
			log.WithLevel(g.level(n.Peer)).Err(why).Str("event", ev.Name).Str("client", clientName(n.Peer)).Msg("refusing a request")
			return heard{refusal: zeekapi.RequestOf(msg).Refuse(msg.RequestID(), why.Error()), peer: n.Peer.ID, dialect: d}
		}
		return heard{input: FromClient{n.Peer, msg}}
	}
	if unknown == "" {
		return heard{} // on no topic of ours
	}
	log.WithLevel(g.level(n.Peer)).Str("event", clip(unknown)).Msg("ignoring an event that is not of the management API")
	return nonsense
}

func fromAgentOf(log zerolog.Logger, g *guard, p broker.Peer, d *zeekapi.Dialect, instance string, msg zeekapi.Message) heard {
	if name, ok := sender(msg); ok && name != instance {
		log.WithLevel(g.level(p)).Str("instance", name).Msgf("ignoring an agent that speaks on the topic of another, %T", msg)
		return heard{}
	}
	return heard{input: FromAgent{p, d.Name, msg}}
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
	return heard{input: AgentRefused{p, instance, why.Error()}}
}
