package agent

import (
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// authority watches who commands the agent: whether a controller refuses it, and
// whether a second controller changes what runs here.
type authority struct {
	*outbox
	refusal   string      // reason of the controller that refuses the agent, "" if none does
	refuser   uuid.UUID   // that controller
	commander broker.Peer // that last changed what runs here; its ID is uuid.Nil if there is none
}

// refused takes note of a controller that refuses the agent because another agent
// has its name. The controller repeats itself.
func (a *authority) refused(by broker.Peer, msg zeekapi.AgentRefusal) {
	reason := clip(msg.Reason)
	if msg.Instance != a.instance || reason == a.refusal {
		return
	}
	a.refusal, a.refuser = reason, by.ID
	a.emit(Complain{"the controller refuses this agent, and sends it no nodes: " + a.refusal +
		`. Give each agent its own name with --name. With "--tls mutual", only a machine with a certificate for a name can use it`})
}

// accepted takes note of a request, which a controller sends only to an agent that
// it does not refuse.
func (a *authority) accepted(by broker.Peer) {
	if by.ID == a.refuser {
		a.refusal = ""
	}
}

// commanded takes note of a controller that changes what runs here. If another
// controller did so before and is still connected, both are told: the agent obeys
// each of them, and their configurations replace one another. An elected controller
// is the successor of the one before, so nothing is reported.
func (a *authority) commanded(by broker.Peer, elected bool) {
	before := a.commander
	a.commander = by
	if elected || before.ID == uuid.Nil || before.ID == by.ID || by.ID == uuid.Nil {
		return
	}
	text := "the controller at " + by.Addr.String() + " changes what runs here, and so did the one at " + before.Addr.String() +
		", which is still connected; only one controller should command an agent, see --obey"
	a.emit(Complain{text})
	a.complain("", "%s", text)
}

// lost takes note of the end of a peering.
func (a *authority) lost(p broker.Peer) {
	a.accepted(p)
	if p.ID == a.commander.ID {
		a.commander = broker.Peer{}
	}
}

// maxRefusal limits the text of a controller that the agent keeps, in bytes.
const maxRefusal = 1000

func clip(text string) string { return text[:min(len(text), maxRefusal)] }

// Refusal returns the reason of the controller that refuses the agent because
// another one has its name, or "" if none does.
func (m *Machine) Refusal() string { return m.authority.refusal }
