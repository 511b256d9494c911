package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// receiver turns the notifications of a bus into inputs.
type receiver struct {
	name      string
	dialects  []*zeekapi.Dialect
	obey      func(broker.Peer) bool // nil: all peers are controllers
	log       zerolog.Logger
	strangers map[uuid.UUID]bool // peers whose requests are ignored, and logged once
}

// notifications returns the source of the inputs from a bus.
func (r *receiver) notifications(bus broker.Bus) eventloop.Source[Input] {
	return func(ctx context.Context) (Input, bool, error) {
		notification, err := bus.Next(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("agent: bus: %w", err)
		}
		switch n := notification.(type) {
		case broker.PeerAdded:
			return PeerAdded{n.Peer}, true, nil
		case broker.PeerLost:
			return PeerLost{n.Peer}, true, nil
		case broker.Received:
			in, ok := r.decode(n)
			return in, ok, nil
		}
		return nil, false, nil
	}
}

// launched returns the source of the inputs from a launcher.
func launched(l launch.Launcher, log zerolog.Logger) eventloop.Source[Input] {
	return func(ctx context.Context) (Input, bool, error) {
		ev, err := l.Next(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("agent: launcher: %w", err)
		}
		switch ev := ev.(type) {
		case launch.Started:
			log.Info().Str("node", ev.Node).Int64("pid", ev.PID).Msg("node started")
		case launch.Revived:
			log.Warn().Str("node", ev.Node).Int64("pid", ev.PID).Msg("node died and was started again")
		case launch.Exited:
			log.Info().Str("node", ev.Node).AnErr("reason", ev.Err).Msg("node exited")
		}
		return Launched{ev}, true, nil
	}
}

// decode decodes a received message. The result is false if the message is not
// for this agent.
func (r *receiver) decode(n broker.Received) (Received, bool) {
	log := r.log.With().Stringer("peer", n.Peer.ID).Str("topic", n.Message.Topic).Logger()
	ev, err := broker.ParseEvent(n.Message.Value)
	if err != nil {
		log.Debug().Err(err).Msg("ignoring message")
		return Received{}, false
	}
	for _, d := range r.dialects {
		msg, err := d.Decode(ev)
		if errors.Is(err, zeekapi.ErrUnknown) {
			continue
		}
		if err != nil {
			log.Warn().Err(err).Msg("ignoring event")
			return Received{}, false
		}
		want, fromNode := d.Topics.Agent(r.name), false
		switch msg.(type) {
		case zeekapi.NodeHello, zeekapi.NodeDispatchResponse:
			want, fromNode = d.Topics.Node, true
		case zeekapi.AgentLayout:
			want = d.Topics.Agents
		}
		if !fromNode && r.obey != nil && !r.obey(n.Peer) {
			r.ignoreStranger(n.Peer, ev.Name)
			return Received{}, false
		}
		// A subscription is a prefix: that of agent-1 also matches messages for
		// agent-10.
		if n.Message.Topic != want {
			log.Debug().Str("event", ev.Name).Msg("ignoring event for others")
			return Received{}, false
		}
		log.Debug().Str("event", ev.Name).Str("reqid", msg.RequestID()).Msg("received")
		return Received{Peer: n.Peer, Dialect: d, Message: msg, Memory: n.Message.Value.Memory()}, true
	}
	log.Debug().Str("event", ev.Name).Msg("ignoring unknown event")
	return Received{}, false
}

// maxStrangers limits the number of peers in strangers. If there are more, some
// are logged again.
const maxStrangers = 1000

// ignoreStranger logs, once for every peer, that its requests are ignored.
func (r *receiver) ignoreStranger(p broker.Peer, event string) {
	if r.strangers[p.ID] {
		return
	}
	if r.strangers == nil || len(r.strangers) >= maxStrangers {
		r.strangers = make(map[uuid.UUID]bool)
	}
	r.strangers[p.ID] = true
	r.log.Warn().Stringer("peer", p.ID).Stringer("addr", p.Addr).Str("name", p.Name).Str("event", event).
		Msg("ignoring requests of a peer that is no controller of ours")
}
