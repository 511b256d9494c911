package controller

import (
	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// handlers has a handler for each request that clients make of controllers.
type handlers map[*zeekapi.Request]func(by broker.Peer, msg zeekapi.Message)

// handle adds the handler of a request.
func handle[Q, A zeekapi.Message](h handlers, c zeekapi.Call[Q, A], do func(by broker.Peer, req Q)) {
	h[c.Request] = func(by broker.Peer, msg zeekapi.Message) { do(by, msg.(Q)) }
}

// storing returns a handler that refuses requests while changes cannot be stored.
func storing[Q zeekapi.Message](s *storage, r *requests, do func(broker.Peer, Q)) func(broker.Peer, Q) {
	return func(by broker.Peer, req Q) {
		if !s.available() {
			r.answer(by, req, zeekapi.Failure(req.RequestID(), "%s", s.refusal()))
			return
		}
		do(by, req)
	}
}
