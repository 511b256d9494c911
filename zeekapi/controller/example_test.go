package controller_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Run a controller, an agent with simulated nodes, and a client in one process.
// With endpoints of package peering instead of the in-memory bus, each can be a
// separate program.
func ExampleRun() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	hub := membus.New()
	dialects := []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)}
	var services sync.WaitGroup
	defer services.Wait()
	defer cancel()

	bus := hub.Endpoint(controller.Topics(dialects)...)
	services.Go(func() {
		defer bus.Close()
		err := controller.Run(ctx, controller.Config{
			Settings: controller.DefaultSettings(), Buses: []broker.Bus{bus}, Dialects: dialects,
		})
		if err != nil {
			log.Print(err)
		}
	})
	agentBus := hub.Endpoint(agent.Topics("sensor", dialects...)...)
	services.Go(func() {
		defer agentBus.Close()
		launcher := simulated.New(simulated.Config{})
		defer launcher.Close(context.Background())
		err := agent.Run(ctx, agent.Config{
			Settings: agent.Settings{Name: "sensor", EndpointID: agentBus.ID().String(), Connecting: true},
			Bus:      agentBus, Dialects: dialects, Launcher: launcher,
		})
		if err != nil {
			log.Print(err)
		}
	})

	c := client.New(hub.Endpoint(dialects[0].Topics.Controller), dialects...)
	defer c.Close()
	for {
		if instances, err := c.GetInstances(ctx); err != nil {
			log.Fatal(err)
		} else if len(instances) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := c.Stage(ctx, zeekapi.Configuration{
		ID:        "example",
		Instances: []zeekapi.Instance{{Name: "sensor"}},
		Nodes: []zeekapi.Node{
			{Name: "manager", Instance: "sensor", Role: zeekapi.RoleManager},
			{Name: "worker", Instance: "sensor", Role: zeekapi.RoleWorker, Interface: "eth0"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := c.Deploy(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range result.Nodes {
		fmt.Println(n.Node, "on", n.Instance, n.Success)
	}
	// Output:
	// manager on sensor true
	// worker on sensor true
}
