package controller

import (
	"fmt"
	"path"
	"slices"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// Access is the access rules of a bus. The zero value accepts no agents and no
// requests of clients.
type Access struct {
	// Agents are the names of the permitted instances, as patterns of path.Match.
	// The pattern "*" permits all.
	Agents []string

	// Permits, if non-nil, decides in place of Agents whether a peer may be the agent
	// of an instance. It is called for each message of an agent, and its result may
	// change over time. It must not block.
	Permits func(peer broker.Peer, instance string) bool

	// Certified requires that an agent has a certificate for its instance: the
	// common name or an alternative name must equal the name of the instance.
	Certified bool

	// Clients maps clients to their roles. If nil, clients have no permissions.
	Clients access.Roles

	// Broadcast, if non-nil, is called for each response, and reports whether it is sent to
	// all clients, as Zeek's controller does, and as this one does on buses without Access.
	// If it returns false or is nil, only the client that sent the request gets the response. It
	// must not block.
	Broadcast func() bool
}

// Open permits everything, like Zeek's controller.
var Open = Access{Agents: []string{"*"}, Clients: access.Everybody(access.Full)}

func (a Access) validate() error {
	for _, pattern := range a.Agents {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("controller: pattern %q of agents that are allowed: %w", pattern, err)
		}
	}
	return nil
}

// broadcasts reports whether all clients get a response. It may be called on nil.
func (a *Access) broadcasts() bool { return a == nil || a.Broadcast != nil && a.Broadcast() }

// agent returns why a peer may not speak for an instance, and nil if it may.
func (a Access) agent(p broker.Peer, instance string) error {
	switch {
	case !a.permits(p, instance):
		return fmt.Errorf("no agent called %.80q is allowed here", instance)
	case !a.Certified:
		return nil
	case p.Identity == nil || !p.Identity.Certified:
		return fmt.Errorf("the peer has no certificate, and one for %.80q is needed", instance)
	case !slices.Contains(p.Identity.Names, instance):
		return fmt.Errorf("the peer's certificate is for %.200q, not for %.80q", p.Identity.Names, instance)
	}
	return nil
}

// permits reports whether the name of an instance is permitted.
func (a Access) permits(p broker.Peer, instance string) bool {
	if a.Permits != nil {
		return a.Permits(p, instance)
	}
	return slices.ContainsFunc(a.Agents, func(pattern string) bool {
		ok, _ := path.Match(pattern, instance)
		return ok
	})
}

// client returns why a peer may not send a request, and nil if it may.
func (a Access) client(p broker.Peer, effect zeekapi.Effect) error {
	role := access.None
	if a.Clients != nil {
		role = a.Clients.Role(p)
	}
	switch {
	case role.May(effect):
		return nil
	case role == access.ReadOnly:
		return fmt.Errorf("controller: client '%s' may only read", clientName(p))
	}
	return fmt.Errorf("controller: client '%s' may not ask anything", clientName(p))
}

func clientName(p broker.Peer) string {
	if name := p.Identity.Name(); name != "" {
		return name
	}
	return p.Addr.String()
}

// guard applies access rules to the messages of a bus. It must not be used
// concurrently.
type guard struct {
	access     Access
	complaints *complaints
	refused    map[uuid.UUID]string // why peers are no agents, as the log has it
}

func newGuard(a *Access, log zerolog.Logger) *guard {
	if a == nil {
		a = &Open
	}
	return &guard{access: *a, complaints: newComplaints(log), refused: make(map[uuid.UUID]string)}
}

// level returns the level of the next complaint about a peer.
func (g *guard) level(p broker.Peer) zerolog.Level { return g.complaints.level(p.ID) }

// agent returns why a peer may not speak for an instance, and whether that has
// not been reported yet: agents repeat themselves.
func (g *guard) agent(p broker.Peer, instance string) (why error, news bool) {
	if why = g.access.agent(p, instance); why == nil {
		return nil, false
	}
	if g.refused[p.ID] == why.Error() {
		return why, false
	}
	g.refused[p.ID] = why.Error()
	return why, g.level(p) == zerolog.WarnLevel
}

// client returns why a peer may not send a message to the controller. Every peer
// may send messages that are not requests, because they have no effect.
func (g *guard) client(p broker.Peer, m zeekapi.Message) error {
	request := zeekapi.ClientRequest(m)
	if request == nil {
		return nil
	}
	return g.access.client(p, request.Effect)
}

func (g *guard) lost(p broker.Peer) {
	g.complaints.lost(p.ID)
	delete(g.refused, p.ID)
}
