package controller

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Post is the position of a controller among those that share its state.
type Post struct {
	// Leads reports whether the controller leads. The others stand by: they answer from
	// the stored state, and refuse changes.
	Leads bool

	// Term identifies the leader, because each leader has a greater term than those before
	// it. It is zero if there is no leader, and for a controller that was always the only one.
	Term uint64

	Members []zeekapi.ControllerMember // all controllers, the leader first if it is known

	// AsOf is the time at which the state of a controller that stands by was last known to
	// be the newest one. It is zero for a leader, and if no state was read yet.
	AsOf time.Time

	// Forwards reports whether a controller that stands by can pass requests to the leader.
	Forwards bool

	// Trouble is the reason why the controllers cannot elect a leader, or the state cannot be
	// read; "" if there is none.
	Trouble string
}

// shared reports whether there can be other controllers.
func (p *Post) shared() bool { return len(p.Members) > 0 }

// leader returns the leader, zero if none is known.
func (p *Post) leader() zeekapi.ControllerMember {
	leader, _ := zeekapi.Controllers{Members: p.Members}.Leader()
	return leader
}

// where describes how to reach the leader, for the error of a refused request.
func (p *Post) where() string {
	leader := p.leader()
	switch {
	case leader.Name == "" && p.Trouble != "":
		return "no controller leads at present: " + p.Trouble
	case leader.Name == "":
		return "no controller leads at present, try again in some seconds"
	case leader.Clients == "":
		return fmt.Sprintf("controller %q leads: send the request there", leader.Name)
	}
	return fmt.Sprintf("controller %q at %s leads: send the request there", leader.Name, leader.Clients)
}

// refusal returns the result with which a controller that stands by refuses a request.
func (p *Post) refusal(id string) zeekapi.Result {
	result := zeekapi.Failure(id, "this controller stands by; %s", p.where())
	result.Data = mustMarshal(zeekapi.NotLeader{Leader: p.leader(), Term: p.Term})
	return result
}

// served has the requests that a controller that stands by answers. The others change
// something, or need agents.
var served = map[*zeekapi.Request]bool{
	zeekapi.ControllersCall.Request:      true,
	zeekapi.StatusCall.Request:           true,
	zeekapi.HistoryCall.Request:          true,
	zeekapi.GetPastCall.Request:          true,
	zeekapi.EventsCall.Request:           true,
	zeekapi.GetConfigurationCall.Request: true,
	zeekapi.DryRunCall.Request:           true,
	zeekapi.DownloadSiteCall.Request:     true,
}

// announces reports whether a zeekapi.StoredAnswer precedes the response to a request. A
// leader sends none.
func (p *Post) announces(r *zeekapi.Request) bool { return !p.Leads && r.Announced() }

// ourPrograms is the beginning of the names of our applications. They connect to the leader
// when a request is refused.
const ourPrograms = "zeekwire"

// forwards reports whether a controller that stands by passes a request to the leader. Only Zeek's
// clients need that. Their requests have a form in one of Zeek's dialects.
func (p *Post) forwards(by broker.Peer, r *zeekapi.Request) bool {
	_, modern := r.Form(zeekapi.Management)
	_, early := r.Form(zeekapi.ClusterAgent)
	return p.Forwards && !p.Leads && p.leader().Name != "" && (modern || early) && !strings.HasPrefix(by.Application, ourPrograms)
}

// announcement returns the request with which the controller introduces itself to one of our
// agents, as the leader or as a controller that stands by.
func (p *Post) announcement(id, instance string, peer uuid.UUID) ToAgent {
	msg := zeekapi.AgentLeaderRequest{ReqID: zeekapi.ReqID{ID: id}, Term: p.Term, Leads: p.Leads}
	if !p.Leads {
		msg.Leader = p.leader().Agents
	}
	return ToAgent{Instance: instance, Peer: peer, Dialects: []string{zeekapi.Operations}, Message: msg}
}

// serves reports whether a controller in this position answers a request.
func (p *Post) serves(r *zeekapi.Request) bool { return p.Leads || served[r] && !p.AsOf.IsZero() }
