package live

import (
	"fmt"
	"testing"
)

// TestMixedAgents runs agents of Zeek and of zeekwire in one cluster of our
// controller. Some connect to the controller, others wait for it.
func TestMixedAgents(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := ourController(t, "off")
		const plain = "Broker::disable_ssl=T"
		z.agent(t, native, plain)
		listening := z.listeningAgent(t, "agent-two", plain)
		startOurAgent(t, z, "agent-three", freePort(t), at(native), "zeek", "off")
		ourListening := freePort(t)
		startOurAgent(t, z, "agent-four", ourListening, "none", "simulated", "off")

		config, nodes := clusterFile("agent-one", fmt.Sprintf("agent-two = 127.0.0.1:%d", listening),
			"agent-three", fmt.Sprintf("agent-four = 127.0.0.1:%d", ourListening))
		c := ours(t, websocket)
		c.instances(t, "agent-one", "agent-three")
		c.deploy(t, config)
		c.instances(t, "agent-one", "agent-two", "agent-three", "agent-four")
		for instance, node := range nodes {
			c.running(t, instance, node)
		}
	})
}

// TestZeekControllerDrivesBothAgents runs two agents of Zeek under Zeek's
// controller, with our client.
func TestZeekControllerDrivesBothAgents(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		const plain = "Broker::disable_ssl=T"
		native, websocket := z.controller(t, plain)
		z.agent(t, native, plain)
		port := freePort(t)
		startOurAgent(t, z, "agent-two", port, "none", "zeek", "off")
		config, nodes := clusterFile("agent-one", fmt.Sprintf("agent-two = 127.0.0.1:%d", port))
		c := z.clientOf(t, native, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, config)
		for instance, node := range nodes {
			c.running(t, instance, node)
		}
	})
}
