package controller

import (
	"github.com/google/uuid"
)

// Limits for the pending requests of all clients together. A quarter is for clients with
// few, so that clients with many leave room for others. Requests up to largeRequest do not
// count for maxMemory, so that there is always room for them.
const (
	maxRequests  = 4096
	maxMemory    = 64 << 20 // bytes; a single request may exceed it
	largeRequest = 64 << 10 // bytes
)

// Limits for the requests of one client.
const (
	maxRequestsPerClient = 256
	maxMemoryPerClient   = 16 << 20 // bytes; a single request may exceed it

	// Requests above this rate are ignored.
	requestBurst      = 5000
	requestsPerSecond = 1000

	// A client gets only so many refusals because of too many requests: they
	// would delay the responses to other clients.
	refusalBurst      = 200
	refusalsPerSecond = 5
)

// client is a peer that sent a request. It is kept while it is connected or
// waits for a response.
type client struct {
	open     int // requests
	memory   int // of these, in bytes; only large ones count
	gone     bool
	requests allowance
	refusals allowance
}

// clients keeps the budgets of clients.
type clients struct {
	byPeer map[uuid.UUID]*client
	active int // clients with open requests
}

// fewRequests is the largest number of open requests of a client that count as few. A
// command has two if it no longer waits for the first one.
const fewRequests = 4

// few returns the number of open requests from which on a client has many. The part of the
// limit that is for clients with few must suffice for all clients.
func (c *clients) few() int {
	return min(fewRequests, max(1, reserved(maxRequests)/max(1, c.active)))
}

func newClients() *clients { return &clients{byPeer: make(map[uuid.UUID]*client)} }

// of returns the client that a peer is.
func (c *clients) of(peer uuid.UUID) *client {
	known := c.byPeer[peer]
	if known == nil {
		known = &client{requests: newAllowance(requestBurst, requestsPerSecond), refusals: newAllowance(refusalBurst, refusalsPerSecond)}
		c.byPeer[peer] = known
	}
	return known
}

// opened counts a request of a client, and its memory.
func (c *clients) opened(peer uuid.UUID, memory int) {
	known := c.of(peer)
	if known.open++; known.open == 1 {
		c.active++
	}
	known.memory += memory
}

// closed counts a request no longer.
func (c *clients) closed(peer uuid.UUID, memory int) {
	known := c.byPeer[peer]
	if known.open--; known.open == 0 {
		c.active--
	}
	known.memory -= memory
	c.release(peer)
}

// lost says that a peer is no longer connected.
func (c *clients) lost(peer uuid.UUID) {
	if known := c.byPeer[peer]; known != nil {
		known.gone = true
		c.release(peer)
	}
}

func (c *clients) release(peer uuid.UUID) {
	if known := c.byPeer[peer]; known.gone && known.open == 0 {
		delete(c.byPeer, peer)
	}
}

// room returns the part of a limit that is for a client that uses much of it already, or
// for another one.
func room(limit int, much bool) int {
	if much {
		return limit - reserved(limit)
	}
	return limit
}

// reserved returns the part of a limit that is for clients that use little of it.
func reserved(limit int) int { return limit / 4 }
