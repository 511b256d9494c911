package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// nextNotification returns nil for what is not the agent's business.
func (r *runner) nextNotification(ctx context.Context) (Input, error) {
	notification, err := r.Bus.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: bus: %w", errEnded, err)
	}
	switch n := notification.(type) {
	case broker.PeerAdded:
		return PeerAdded{}, nil
	case broker.PeerLost:
		return PeerLost{}, nil
	case broker.Received:
		return r.decode(n), nil
	}
	return nil, nil
}

func (r *runner) decode(n broker.Received) Input {
	log := r.Log.With().Stringer("peer", n.Peer.ID).Str("topic", n.Message.Topic).Logger()
	ev, err := broker.ParseEvent(n.Message.Value)
	if err != nil {
		log.Debug().Err(err).Msg("ignoring message")
		return nil
	}
	for _, d := range r.Dialects {
		msg, err := d.Decode(ev)
		if errors.Is(err, zeekapi.ErrUnknown) {
			continue
		}
		if err != nil {
			log.Warn().Err(err).Msg("ignoring event")
			return nil
		}
		want := d.Topics.Agent(r.Name)
		switch msg.(type) {
		case zeekapi.NodeHello, zeekapi.NodeDispatchResponse:
			want = d.Topics.Node
		default:
			if r.Obey != nil && !r.Obey(n.Peer) {
				r.ignoreStranger(n.Peer, ev.Name)
				return nil
			}
		}
		// A subscription is a prefix: that of agent-1 also brings what is
		// meant for agent-10.
		if n.Message.Topic != want {
			log.Debug().Str("event", ev.Name).Msg("ignoring event for others")
			return nil
		}
		log.Debug().Str("event", ev.Name).Str("reqid", msg.RequestID()).Msg("received")
		return Received{Dialect: d, Message: msg}
	}
	log.Debug().Str("event", ev.Name).Msg("ignoring unknown event")
	return nil
}

// maxStrangers limits how many peers are remembered. When there are more, some
// are logged again.
const maxStrangers = 1000

// ignoreStranger logs, once for every peer, that it is not obeyed.
func (r *runner) ignoreStranger(p broker.Peer, event string) {
	if r.strangers[p.ID] {
		return
	}
	if r.strangers == nil || len(r.strangers) >= maxStrangers {
		r.strangers = make(map[uuid.UUID]bool)
	}
	r.strangers[p.ID] = true
	r.Log.Warn().Stringer("peer", p.ID).Stringer("addr", p.Addr).Str("name", p.Name).Str("event", event).
		Msg("ignoring requests of a peer that is no controller of ours")
}
