package controller

import (
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
)

// maxComplaints is the number of warnings that one peer can cause. Further ones
// are logged at the debug level.
const maxComplaints = 32

// complaints logs what peers should not have sent, with a limit for each peer.
type complaints struct {
	log   zerolog.Logger
	count map[uuid.UUID]int
}

func newComplaints(log zerolog.Logger) *complaints {
	return &complaints{log: log, count: make(map[uuid.UUID]int)}
}

// level returns the level of the next complaint about a peer.
func (c *complaints) level(peer uuid.UUID) zerolog.Level {
	if c.count[peer] == maxComplaints {
		return zerolog.DebugLevel
	}
	c.count[peer]++
	return zerolog.WarnLevel
}

// about begins an entry of the log about a peer.
func (c *complaints) about(p broker.Peer) *zerolog.Event {
	return c.log.WithLevel(c.level(p.ID)).Str("peer", p.ID.String())
}

// lost forgets a peer.
func (c *complaints) lost(peer uuid.UUID) { delete(c.count, peer) }
