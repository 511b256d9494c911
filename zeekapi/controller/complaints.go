package controller

import (
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
)

// complaints counts the lines of the log that peers have made us write.
type complaints map[uuid.UUID]int

// maxComplaints is how many a peer can make us write. More are for those who
// look for trouble.
const maxComplaints = 32

// level is that of the next complaint about a peer.
func (c complaints) level(peer uuid.UUID) zerolog.Level {
	if c[peer] == maxComplaints {
		return zerolog.DebugLevel
	}
	c[peer]++
	return zerolog.WarnLevel
}

// complain begins an entry of the log about what a peer should not have sent.
func (m *Machine) complain(p broker.Peer) *zerolog.Event {
	return m.log.WithLevel(m.complaints.level(p.ID)).Str("peer", p.ID.String())
}
