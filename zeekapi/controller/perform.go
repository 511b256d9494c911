package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// runner performs the outputs of a machine.
type runner struct {
	Config
	lives   *lives
	dials   *dials
	shared  broadcasts
	encoder encoder
	workers *eventloop.Workers[Input] // complete sites, which takes seconds
	fetches *fetches

	forwards *forwards
	left     []Input // inputs that the machine had not taken when the loop ended
}

// perform stores the changes, and then carries out the outputs. It returns the
// inputs that follow from them.
func (r *runner) perform(ctx context.Context, outputs []Output) (more []Input, err error) {
	if !r.lives.store(outputs) {
		return []Input{storeFailed{}}, nil
	}
	for _, o := range outputs {
		if r.lives.keeper.suspended() && withheld(o) {
			r.lives.withheld = true
			continue
		}
		switch o := o.(type) {
		case ToAgent:
			more = append(more, r.toAgent(ctx, o)...)
		case ToAgents:
			r.toAgents(ctx, o)
		case StoreSite:
			more = append(more, r.storeSite(o)...)
		case ReadSite:
			more = append(more, r.readSite(ctx, o)...)
		case Forward:
			more = append(more, r.forwards.forward(ctx, o, r.lives.post.leader())...)
		case KeepSites:
			r.keepSites(o)
		case TestAlerts:
			more = append(more, r.testAlerts(ctx, o)...)
		case ToClients:
			r.answerAll(ctx, o.Peer, o.Message)
		case Announce:
			msg := zeekapi.EventReport{Event: o.Event}
			for _, d := range r.Dialects {
				if d.Has(msg) {
					r.publish(ctx, d, uuid.Nil, d.Topics.Events, envelope{Message: msg})
				}
			}
		case Dial:
			if !r.lives.dialed[o.Address] { // the machine before may have dialed it
				r.lives.dialed[o.Address] = true
				r.dials.dial(o.Address)
			}
		case Hangup:
			if r.lives.dialed[o.Address] {
				delete(r.lives.dialed, o.Address)
				r.dials.undial(o.Address)
			}
		case checkStorage:
			switch why := r.lives.keeper.check(); {
			case r.lives.keeper.lost():
				more = append(more, deposed{})
			case why != r.lives.storage.why:
				more = append(more, StorageChanged{why})
			}
		case later:
			more = append(more, o.in)
		case StepDown:
			r.Leadership.StepDown()
		}
	}
	return more, nil
}

func (r *runner) keepSites(o KeepSites) {
	if r.Sites == nil {
		return
	}
	if err := r.Sites.Keep(o.Sites, o.Grace); err != nil {
		r.Log.Warn().Err(err).Msg("cannot remove sites that no configuration needs")
	}
}

// maxCompletions is the largest number of sites that are verified at the same time, outside
// the loop.
const maxCompletions = 4

// storeSite stores a part of a site. The last one makes the store verify the site, for
// which the loop does not wait. If too many are being verified, it refuses the part.
func (r *runner) storeSite(o StoreSite) []Input {
	store := func() Input { return SiteStored{o.Peer, storeSite(r.Sites, o.Owner, o.Request)} }
	if o.Request.Data == "" || o.Request.Offset+uint64(len(o.Request.Data)) != o.Request.Size {
		return []Input{store()}
	}
	if r.workers.Do(store) {
		return nil
	}
	return []Input{SiteStored{o.Peer, zeekapi.UploadSiteCall.Respond(o.Request.ID, zeekapi.Failure(o.Request.ID, errTooMany))}}
}

// readSite responds with a part of a site.
func (r *runner) readSite(ctx context.Context, o ReadSite) []Input {
	wait, err := r.fetches.delay(ctx, o.Request.Site, o)
	switch {
	case err != nil:
		return []Input{fetched{[]Output{o}, err.Error()}}
	case !wait:
		r.answerAll(ctx, o.Peer, readSite(r.Sites, o.Request))
	}
	return nil
}

// testAlerts sends test notifications, for which the loop does not wait.
func (r *runner) testAlerts(ctx context.Context, o TestAlerts) []Input {
	if r.workers.Do(func() Input { return testAlerts(ctx, r.Alerts, o) }) {
		return nil
	}
	return []Input{AlertsTested{o.Peer, zeekapi.TestAlertsCall.Respond(o.Request.ID, zeekapi.Failure(o.Request.ID, errTooMany))}}
}

// toAgent sends a message in the first dialect of the controller that the agent
// also speaks and that has the message. If there is none, Unsupported follows. To
// an agent that has not said hello yet, it sends the message in all dialects.
func (r *runner) toAgent(ctx context.Context, o ToAgent) []Input {
	if o.Part {
		request := o.Message.(zeekapi.AgentSiteRequest)
		wait, err := r.fetches.delay(ctx, request.Site, o)
		if wait {
			return nil
		}
		if err == nil {
			o.Message, err = withPart(r.Sites, request)
		}
		if err != nil {
			return []Input{PartUnreadable{o, err.Error()}}
		}
	}
	sent := false
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
	if !sent {
		return []Input{Unsupported{o}}
	}
	return nil
}

// toAgents sends a message to several agents. It encodes the message only once.
func (r *runner) toAgents(ctx context.Context, o ToAgents) {
	for _, d := range r.Dialects {
		if d.Topics.Agents == "" || !d.Has(o.Message) {
			continue
		}
		r.say(ctx, d, d.Topics.Agents, envelope{Message: o.Message}, func(bus broker.Bus, v broker.Value) error {
			if all, ok := bus.(broker.Multicaster); ok {
				return all.PublishToAll(ctx, o.Peers, d.Topics.Agents, v)
			}
			var errs []error
			for _, peer := range o.Peers {
				errs = append(errs, publish(ctx, bus, peer, d.Topics.Agents, v))
			}
			return errors.Join(errs...)
		})
	}
}

// answerAll sends a response to a client in all dialects that have it.
func (r *runner) answerAll(ctx context.Context, to uuid.UUID, msg zeekapi.Message) {
	for _, d := range r.Dialects {
		if d.Has(msg) {
			r.answer(ctx, d, to, msg)
		}
	}
}

// answer sends a response to a client. On a bus without access rules, all
// clients hear it, as with Zeek's controller, except for responses beyond the limits
// of broadcasts. On others only the client does: the response may be confidential.
func (r *runner) answer(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, msg zeekapi.Message) {
	shared := sizeOf(msg) <= maxBroadcast && r.shared.take(time.Now())
	r.say(ctx, d, d.Topics.Controller, envelope{Message: msg}, func(bus broker.Bus, v broker.Value) error {
		if shared && r.Access[bus].broadcasts() {
			return bus.Publish(ctx, d.Topics.Controller, v)
		}
		return publish(ctx, bus, to, d.Topics.Controller, v)
	})
}

// Responses that all clients hear. Further and larger ones are sent only to the client
// that asked: the others need not keep up with it.
const (
	broadcastBurst      = 200
	broadcastsPerSecond = 50
	maxBroadcast        = 64 << 10 // bytes
)

// leastResult is the size of a result without texts and data, in bytes.
const leastResult = 100

// sizeOf returns the memory of the results of a response, in bytes.
func sizeOf(response zeekapi.Message) (n int) {
	_, results := zeekapi.ResponseOf(response)
	for _, r := range results {
		n += leastResult + len(r.ReqID) + len(r.Instance) + len(r.Node) + len(r.Error) + r.Data.Memory()
	}
	return n
}

// broadcasts counts the responses that all clients hear. It may be used concurrently.
type broadcasts struct {
	mu        sync.Mutex
	allowance *allowance
}

func (b *broadcasts) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.allowance == nil {
		fresh := newAllowance(broadcastBurst, broadcastsPerSecond)
		b.allowance = &fresh
	}
	return b.allowance.take(now)
}

// publish sends a message to a peer, or with uuid.Nil to all subscribers of the
// topic.
func (r *runner) publish(ctx context.Context, d *zeekapi.Dialect, to uuid.UUID, topic string, msg envelope) {
	r.say(ctx, d, topic, msg, func(bus broker.Bus, v broker.Value) error { return publish(ctx, bus, to, topic, v) })
}

// say encodes a message, and sends it on each bus.
func (r *runner) say(ctx context.Context, d *zeekapi.Dialect, topic string, msg envelope, send func(broker.Bus, broker.Value) error) {
	ev, err := r.encoder.encode(d, msg)
	if err != nil {
		r.Log.Error().Err(err).Msg("cannot encode a message")
		return
	}
	r.Log.Debug().Str("topic", topic).Str("event", ev.Name).Str("request", msg.RequestID()).Msg("sending")
	for _, bus := range r.Buses {
		if err := send(bus, ev.Value()); err != nil && ctx.Err() == nil {
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
