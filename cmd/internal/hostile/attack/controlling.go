package attack

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// controlling attacks agents, by requests of a controller.
var controlling = []Attack{
	{"requests of a controller", "a controller that asks an agent as fast as it can and reads nothing", func(a *attacker) {
		a.controllers(func(c *controller) {
			c.tell(zeekapi.AgentGetNodesRequest{ReqID: newID()})
			c.tell(zeekapi.AgentDispatchRequest{ReqID: newID(), Action: []string{"get_id_value", "x"}})
			c.tell(zeekapi.AgentFiguresRequest{ReqID: newID()})
			c.tell(zeekapi.AgentScriptsRequest{ReqID: newID(), All: true})
		})
	}},
	{"large checks of a controller", "a controller that has an agent check configurations of thousands of nodes", func(a *attacker) {
		var nodes []zeekapi.Node
		for i := range 5000 {
			nodes = append(nodes, zeekapi.Node{Name: fmt.Sprint("node-", i), Instance: a.target.Instance, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning})
		}
		a.controllers(func(c *controller) {
			c.tell(zeekapi.AgentCheckRequest{ReqID: newID(), Config: uuid.NewString(), Nodes: nodes})
		})
	}},
	{"strange requests of a controller", "a controller that sends names with control characters, and of megabytes", func(a *attacker) {
		a.controllers(func(c *controller) {
			for _, text := range []string{Forgery, strings.Repeat("x", 4<<20), "../../../../tmp/x", ""} {
				c.tell(zeekapi.AgentDispatchRequest{ReqID: zeekapi.ReqID{ID: text}, Action: []string{text}, Nodes: []string{text}})
				c.tell(zeekapi.AgentDispatchRequest{ReqID: newID(), Action: []string{"get_id_value", text}, Nodes: []string{text}})
				c.tell(zeekapi.AgentRestartRequest{ReqID: newID(), Nodes: []string{text}})
			}
		})
	}},
	{"sites of a controller", "a controller that sends an agent sites that are bombs, and parts that are strange", func(a *attacker) {
		bomb := zstdBomb()
		a.controllers(func(c *controller) {
			part := zeekapi.SitePart{Site: siteID(), Size: uint64(len(bomb)), Data: string(bomb)}
			c.tell(zeekapi.AgentSiteRequest{ReqID: newID(), SitePart: part})
			c.tell(zeekapi.AgentSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{Site: "../../x", Size: 1 << 63, Offset: 1 << 62, Data: "x"}})
			for range 20 {
				c.tell(zeekapi.AgentSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{Site: siteID(), Size: 200 << 20, Data: strings.Repeat("x", zeekapi.MaxSitePart)}})
			}
		})
	}},
}

// controller is a hostile controller to which an agent connects.
type controller struct {
	*peer
	attacker *attacker
	err      error
}

// controllers keeps controllers connected to agents, and calls act for each again
// and again.
func (a *attacker) controllers(act func(*controller)) {
	a.peers(4, broker.Filter{stock.Topics.AgentPrefix, own.Topics.AgentPrefix}, func(p *peer) {
		for c := (&controller{peer: p, attacker: a}); c.err == nil && a.ctx.Err() == nil; {
			act(c)
		}
	})
}

// tell sends a request to the agent.
func (c *controller) tell(m zeekapi.Message) {
	if c.err != nil {
		return
	}
	d := stock
	if !d.Has(m) {
		d = own
	}
	ev, err := d.Encode(m)
	if err != nil {
		panic(err) // a mistake in the attack
	}
	if c.err = c.publish(d.Topics.Agent(c.attacker.target.Instance), bin.Append(nil, ev.Value())); c.err == nil {
		c.attacker.did()
	}
}
