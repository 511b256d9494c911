package controller

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// leaveTimeout limits the time in which the last responses are sent.
const leaveTimeout = time.Second

// leave responds to the requests that are still pending at the end. It does not wait for
// clients that do not read.
func (r *runner) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	for _, in := range r.left {
		r.leaveInput(ctx, in)
	}
	for _, o := range r.lives.leave() {
		if o, ok := o.(ToClients); ok {
			r.answerAll(ctx, o.Peer, o.Message)
		}
	}
	for _, w := range []*eventloop.Workers[Input]{r.workers, r.fetches.workers} {
		for in := range w.Rest(ctx) {
			r.leaveInput(ctx, in)
		}
	}
}

// leaveInput responds to the requests of an input that arrives too late for the machine.
func (r *runner) leaveInput(ctx context.Context, in Input) {
	refuse := func(client uuid.UUID, req zeekapi.Message) {
		if request := zeekapi.RequestOf(req); request != nil {
			id := req.RequestID()
			r.answerAll(ctx, client, request.Respond(id, zeekapi.Failure(id, errEnding)))
		}
	}
	switch in := in.(type) {
	case FromClient:
		if !r.lives.underWay(in.Peer, in.Message) {
			refuse(in.Peer.ID, in.Message)
		}
	case SiteStored:
		r.answerAll(ctx, in.Peer, in.Response)
	case AlertsTested:
		r.answerAll(ctx, in.Peer, in.Response)
	case Forwarded:
		if r.lives.passed.answered(in.Peer, in.Response) {
			r.answerAll(ctx, in.Peer, in.Response)
		}
	case fetched:
		for _, o := range in.outputs {
			if o, ok := o.(ReadSite); ok {
				refuse(o.Peer, o.Request)
			}
		}
	}
}
