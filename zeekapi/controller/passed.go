package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Limits of the requests that wait for the leader at the same time, of all clients and of
// one.
const (
	maxForwards          = 64
	maxForwardsPerClient = maxForwards / 4
)

// passed has the requests that were passed to the leader and have no response yet. The next
// machine continues with them.
type passed struct {
	sequence uint64
	requests map[passedKey]passedRequest
}

// passedKey identifies a request.
type passedKey struct {
	client uuid.UUID
	id     string
}

type passedRequest struct {
	sequence uint64
	message  zeekapi.Message
}

func newPassed() *passed { return &passed{requests: make(map[passedKey]passedRequest)} }

// has reports whether the client has a request with the same ID that has no response yet.
func (p *passed) has(by broker.Peer, msg zeekapi.Message) bool {
	_, known := p.requests[passedKey{by.ID, msg.RequestID()}]
	return known
}

// add records a request that is passed to the leader.
func (p *passed) add(by broker.Peer, msg zeekapi.Message) {
	p.sequence++
	p.requests[passedKey{by.ID, msg.RequestID()}] = passedRequest{p.sequence, msg}
}

// of returns the number of requests of a client.
func (p *passed) of(client uuid.UUID) (n int) {
	for key := range p.requests {
		if key.client == client {
			n++
		}
	}
	return n
}

// answered records the response to a request. It returns false if the client has no such
// request, for example because it got a response before.
func (p *passed) answered(client uuid.UUID, response zeekapi.Message) bool {
	key := passedKey{client, response.RequestID()}
	_, known := p.requests[key]
	delete(p.requests, key)
	return known
}

// lost forgets the requests of a client.
func (p *passed) lost(client uuid.UUID) {
	maps.DeleteFunc(p.requests, func(key passedKey, _ passedRequest) bool { return key.client == client })
}

// abandon returns the responses to the requests when the controller ends without responses of
// the leader.
func (p *passed) abandon() (out []Output) {
	bySequence := func(a, b passedKey) int { return cmp.Compare(p.requests[a].sequence, p.requests[b].sequence) }
	for _, key := range slices.SortedFunc(maps.Keys(p.requests), bySequence) {
		why := zeekapi.Failure(key.id, "interrupted, because this controller ends; it had passed the request to the leader: see the status for the outcome")
		out = append(out, ToClients{key.client, zeekapi.RequestOf(p.requests[key].message).Respond(key.id, why)})
	}
	clear(p.requests)
	return out
}
