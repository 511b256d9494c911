package zeekapi

import (
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
)

// ControllerMember is one of several controllers that share their state, of which one
// leads.
type ControllerMember struct {
	Name    string    `zeek:"name"`
	Version string    `zeek:"version"`
	Clients string    `zeek:"clients"` // address for clients, HOST:PORT; "": unknown
	Agents  string    `zeek:"agents"`  // address for agents, HOST:PORT; "": unknown
	Leads   bool      `zeek:"leads"`
	Since   time.Time `zeek:"since"` // when it began to lead or to stand by

	// Behind is the number of changes that a controller that stands by had not read when it
	// last reported that.
	Behind uint64 `zeek:"behind,extension"`

	// HTTP is the address of the HTTP API, such as https://controller-1:9990. It is empty if
	// there is none, or if the controller does not report it.
	HTTP string `zeek:"http,extension"`
}

// Controllers are the controllers that share their state.
type Controllers struct {
	Leads   bool               `zeek:"leads"`   // the controller that responds certainly leads, or is the only one
	Term    uint64             `zeek:"term"`    // of the leader; 0 if there is none, or only one controller
	Members []ControllerMember `zeek:"members"` // the leader first; none for the only controller

	// AsOf is the time at which the state of a controller that stands by was last known to
	// be the newest one. It is zero for a leader.
	AsOf time.Time `zeek:"as_of"`
}

// Leader returns the leader, and whether it is known.
func (c Controllers) Leader() (ControllerMember, bool) {
	if len(c.Members) > 0 && c.Members[0].Leads {
		return c.Members[0], true
	}
	return ControllerMember{}, false
}

// NotLeader is the data of the failed result with which a controller that stands by
// refuses a request.
type NotLeader struct {
	Leader ControllerMember `zeek:"leader"` // its Name is "" if no leader is known
	Term   uint64           `zeek:"term"`   // of the leader
}

// NotLeaderOf returns the NotLeader in the results of a response. It returns false if the
// request was not refused for this reason.
func NotLeaderOf(results []Result) (NotLeader, bool) {
	var n NotLeader
	if len(results) != 1 || results[0].Success || results[0].Instance != "" || results[0].Node != "" || results[0].Data.IsNone() {
		return n, false
	}
	err := record.Unmarshal(results[0].Data, &n)
	return n, err == nil
}
