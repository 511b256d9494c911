package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Term is the greatest term of a leader that an agent has heard of. The zero Term means
// that it has heard of none.
type Term struct {
	Number uint64
	Leader uuid.UUID // the endpoint of the controller that led first in this term
}

// leadership decides which of several controllers the agent obeys: the one that leads in
// the greatest term of which the agent has heard. That term is stored, so it never goes
// back. Zeek's controllers name no term, and neither do controllers of zeekwire without etcd.
//
// A claim outlives the peering, because the endpoint with that ID is the same process.
// An order that it sends through a new peering, before a new claim, therefore belongs to
// its last term.
type leadership struct {
	*outbox
	highest Term
	address string // of the leader, "" if it has not been heard since the start
	claims  map[uuid.UUID]*claim
	heard   uint64 // number of claims so far
	peers   map[uuid.UUID]bool

	obeyed Term  // of the last order, zero if that had no term
	retry  timer // of storing the term, set if the last attempt failed
}

// claim is the last introduction of a controller, see zeekapi.AgentLeaderRequest.
type claim struct {
	term   uint64
	leads  bool
	number uint64 // its place in the order of claims
	logged bool   // an order of the controller was refused and logged since
	silent bool   // there is no claim, but an order of the controller was refused
}

// maxClaims limits the claims that the agent remembers. It first forgets the oldest claims of
// lost peers, and then the oldest ones.
const maxClaims = 256

func newLeadership(out *outbox, t Term) leadership {
	return leadership{outbox: out, highest: t, claims: make(map[uuid.UUID]*claim), peers: make(map[uuid.UUID]bool)}
}

func (l *leadership) peerAdded(p broker.Peer) { l.peers[p.ID] = true }
func (l *leadership) peerLost(p broker.Peer)  { delete(l.peers, p.ID) }

// isOrder reports whether an agent serves a request only for the controller that it
// obeys.
func isOrder(r *zeekapi.Request) bool {
	return r.Effect == zeekapi.Changes && r != zeekapi.AgentLeaderCall.Request
}

// claim records the claim of a controller, and responds to it.
func (l *leadership) claim(req request, msg zeekapi.AgentLeaderRequest) {
	before := l.claims[req.peer]
	now := &claim{term: msg.Term, leads: msg.Leads}
	now.logged = before != nil && before.logged && before.term == now.term && before.leads == now.leads
	l.remember(req.peer, now)
	if msg.Leads && msg.Term > l.highest.Number {
		l.highest, l.address = Term{msg.Term, req.peer}, req.address.String()
		l.store()
	}
	if msg.Leads && msg.Term == l.highest.Number && req.peer == l.highest.Leader {
		l.address = req.address.String()
	}
	r := l.success(req.id)
	if why := l.disobeys(req.peer); msg.Leads && why != "" {
		r = l.failure(req.id, "%s", why)
		l.complainAbout(req, why)
	}
	r.Data = mustMarshal(zeekapi.AgentTerm{Term: l.highest.Number, Leader: l.highest.Leader.String()})
	l.respond(req, r)
}

// obeys reports whether the agent obeys an order of a controller. If not, it refuses the
// order.
func (l *leadership) obeys(req request) bool {
	why := l.disobeys(req.peer)
	if why == "" {
		l.obeyed = Term{}
		if c := l.claims[req.peer]; c != nil && !c.silent {
			l.obeyed = Term{c.term, req.peer}
		}
		return true
	}
	l.refuse(req, "%s", why)
	l.complainAbout(req, why)
	return false
}

// disobeys returns why the agent does not obey a controller, "" if it does.
func (l *leadership) disobeys(peer uuid.UUID) string {
	c := l.claims[peer]
	switch silent := c == nil || c.silent; {
	case silent && l.connected():
		return fmt.Sprintf("the controller names no term; the agent obeys %s, which is connected", l.leader())
	case silent:
		return ""
	case !c.leads:
		return fmt.Sprintf("the controller stands by; the agent obeys %s", l.leader())
	case c.term < l.highest.Number:
		return fmt.Sprintf("the controller led in term %d, which is over; the agent obeys %s", c.term, l.leader())
	case peer != l.highest.Leader:
		return fmt.Sprintf("another controller leads in term %d; the agent obeys %s", c.term, l.leader())
	}
	return ""
}

// disobeyed returns the connected controllers that the agent does not obey, in the order of
// their claims.
func (l *leadership) disobeyed() []uuid.UUID {
	peers := slices.DeleteFunc(slices.Collect(maps.Keys(l.claims)), func(peer uuid.UUID) bool {
		return !l.peers[peer] || l.claims[peer].silent || l.disobeys(peer) == ""
	})
	slices.SortFunc(peers, func(a, b uuid.UUID) int { return cmp.Compare(l.claims[a].number, l.claims[b].number) })
	return peers
}

// connected reports whether the leader is connected.
func (l *leadership) connected() bool { return l.highest.Number > 0 && l.peers[l.highest.Leader] }

// elected reports whether a controller claims to lead.
func (l *leadership) elected(peer uuid.UUID) bool {
	c := l.claims[peer]
	return c != nil && c.leads
}

// leader describes the controller that the agent obeys.
func (l *leadership) leader() string {
	switch {
	case l.highest.Number == 0:
		return "only a leader"
	case l.address == "":
		return fmt.Sprintf("the leader of term %d or a later one", l.highest.Number)
	}
	return fmt.Sprintf("the leader at %s, of term %d", l.address, l.highest.Number)
}

// complainAbout logs that the agent does not obey a controller, once for each of its
// claims.
func (l *leadership) complainAbout(req request, why string) {
	c := l.claims[req.peer]
	if c == nil {
		c = &claim{silent: true}
		l.remember(req.peer, c)
	}
	if !c.logged {
		c.logged = true
		l.emit(Complain{fmt.Sprintf("refusing the controller at %s: %s", req.address, why)})
	}
}

// remember replaces the claim of a controller.
func (l *leadership) remember(peer uuid.UUID, c *claim) {
	if l.claims[peer] == nil && len(l.claims) >= maxClaims {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(l.claims)), func(a, b uuid.UUID) int {
			if l.peers[a] != l.peers[b] {
				if l.peers[a] {
					return 1
				}
				return -1
			}
			return cmp.Compare(l.claims[a].number, l.claims[b].number)
		})
		delete(l.claims, oldest)
	}
	l.heard++
	c.number = l.heard
	l.claims[peer] = c
}

func (l *leadership) store() { l.emit(StoreTerm{l.highest, l.address}) }

// stored processes the result of a StoreTerm. A term that cannot be stored counts all
// the same.
func (l *leadership) stored(now time.Time, err error) {
	if err == nil {
		l.retry.stop()
		return
	}
	if !l.retry.set {
		l.complain("", "cannot save the term of the leader: %v", err)
	}
	l.retry.start(now.Add(SaveInterval))
}

func (l *leadership) expire(now time.Time) {
	if l.retry.due(now) {
		l.retry.start(now.Add(SaveInterval))
		l.store()
	}
}

// check returns an error if the agent has obeyed a controller that it must not obey.
func (l *leadership) check() error {
	var errs []error
	if o := l.obeyed; o.Number > l.highest.Number || o.Number == l.highest.Number && o != (Term{}) && o != l.highest {
		errs = append(errs, fmt.Errorf("the agent obeyed %+v, and knows %+v", o, l.highest))
	}
	if n := len(l.claims); n > maxClaims {
		errs = append(errs, fmt.Errorf("%d claims are remembered, the limit is %d", n, maxClaims))
	}
	return errors.Join(errs...)
}

// Leader returns the greatest term of a leader of which the agent has heard, and whether
// that leader is connected.
func (m *Machine) Leader() (t Term, connected bool) {
	return m.leadership.highest, m.leadership.connected()
}
