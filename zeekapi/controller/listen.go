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

// heard is what a notification of a bus means: a hearing, a refusal or a
// malformed message. It is nil for notifications that mean nothing.
type heard interface{ isHeard() }

type (
	// hearing is an input for the machine.
	hearing struct{ input Input }

	// refusal is the response to a request that is not permitted.
	refusal struct {
		to       uuid.UUID
		dialect  *zeekapi.Dialect
		response zeekapi.Message
	}

	// malformed is a message that is not an event of the management API.
	malformed struct{ from uuid.UUID }
)

func (hearing) isHeard()   {}
func (refusal) isHeard()   {}
func (malformed) isHeard() {}

// listener turns the notifications of a bus into inputs.
type listener struct {
	*runner
	bus   broker.Bus
	guard *guard
}

// next waits for the next notification. It returns false if that is no input.
func (l *listener) next(ctx context.Context) (Input, bool, error) {
	notification, err := l.bus.Next(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("controller: %w", err)
	}
	switch h := l.interpret(notification).(type) {
	case hearing:
		return h.input, true, nil
	case refusal:
		l.answer(ctx, h.dialect, h.to, h.response)
	case malformed:
		if rejecter, ok := l.bus.(broker.Rejecter); ok {
			rejecter.Reject(h.from)
		}
	}
	return nil, false, nil
}

func (l *listener) interpret(notification broker.Notification) heard {
	switch n := notification.(type) {
	case broker.PeerAdded:
		return hearing{PeerAdded{n.Peer}}
	case broker.PeerLost:
		l.guard.lost(n.Peer)
		return hearing{PeerLost{n.Peer}}
	case broker.Received:
		return l.interpretMessage(n)
	}
	return nil
}

// interpretMessage tries the dialects that have the message's topic, of which
// there may be several.
func (l *listener) interpretMessage(n broker.Received) heard {
	log := l.Log.With().Str("topic", n.Message.Topic).Str("peer", n.Peer.ID.String()).Logger()
	unknown := ""
	for _, d := range l.Dialects {
		instance, fromAgent := d.Topics.AgentName(n.Message.Topic)
		if !fromAgent && n.Message.Topic != d.Topics.Controller {
			continue
		}
		if fromAgent {
			if why, news := l.guard.agent(n.Peer, instance); why != nil {
				return refusedAgent(log, n.Peer, instance, why, news)
			}
		}
		ev, err := broker.ParseEvent(n.Message.Value)
		if err != nil {
			log.WithLevel(l.guard.level(n.Peer)).Err(err).Msg("ignoring a message that is no event")
			return malformed{n.Peer.ID}
		}
		msg, err := d.Decode(ev)
		switch {
		case errors.Is(err, zeekapi.ErrUnknown):
			unknown = ev.Name
		case err != nil:
			log.WithLevel(l.guard.level(n.Peer)).Err(err).Msg("ignoring an event with wrong arguments")
			return malformed{n.Peer.ID}
		case fromAgent:
			return l.fromAgent(log, n.Peer, d, instance, msg, n.Message.Value.Memory())
		default:
			return l.fromClient(log, n.Peer, d, ev.Name, msg, n.Message.Value.Memory())
		}
	}
	if unknown == "" {
		return nil // not on a topic of the controller
	}
	log.WithLevel(l.guard.level(n.Peer)).Str("event", clip(unknown)).Msg("ignoring an event that is not of the management API")
	return malformed{n.Peer.ID}
}

func (l *listener) fromClient(log zerolog.Logger, p broker.Peer, d *zeekapi.Dialect, event string, msg zeekapi.Message, memory int) heard {
	why := l.guard.client(p, msg)
	if why == nil {
		return hearing{FromClient{p, msg, memory}}
	}
	request := zeekapi.RequestOf(msg)
	log.WithLevel(l.guard.level(p)).Err(why).Str("event", event).Str("client", clientName(p)).Msg("refusing a request")
	return refusal{to: p.ID, dialect: d, response: request.Refuse(msg.RequestID(), why.Error())}
}

func (l *listener) fromAgent(log zerolog.Logger, p broker.Peer, d *zeekapi.Dialect, instance string, msg zeekapi.Message, memory int) heard {
	if name, ok := sender(msg); ok && name != instance {
		log.WithLevel(l.guard.level(p)).Str("instance", name).Msgf("ignoring an agent that speaks on the topic of another, %T", msg)
		return nil
	}
	return hearing{FromAgent{p, d.Name, msg, memory}}
}

// sender returns the instance that a message names as its sender. The result is
// false if it names none.
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

// refusedAgent returns an input for the first refusal of an agent, and nil for
// its repetitions.
func refusedAgent(log zerolog.Logger, p broker.Peer, instance string, why error, first bool) heard {
	if !first {
		log.Debug().Err(why).Msg("ignoring an agent that is not allowed")
		return nil
	}
	log.Warn().Err(why).Stringer("addr", p.Addr).Msg("ignoring an agent that is not allowed")
	return hearing{AgentRefused{p, instance, why.Error()}}
}
