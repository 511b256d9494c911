package agent_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// An agent introduces itself to every peer. Here the peer is an endpoint that
// takes the place of a controller.
func ExampleRun() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	hub := membus.New()
	dialect := management.Dialect(management.DefaultTopics)

	bus := hub.Endpoint(agent.Topics("sensor", dialect)...)
	defer bus.Close()
	launcher := simulated.New(simulated.Config{})
	defer launcher.Close(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Config{
			Settings: agent.Settings{Name: "sensor", EndpointID: bus.ID().String(), Connecting: true},
			Bus:      bus, Dialects: []*zeekapi.Dialect{dialect}, Launcher: launcher,
		})
	}()

	controller := hub.Endpoint(dialect.Topics.AgentPrefix)
	defer controller.Close()
	for said := false; !said; {
		notification, err := controller.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		received, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		event, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			log.Fatal(err)
		}
		message, err := dialect.Decode(event)
		if err != nil {
			log.Fatal(err)
		}
		if hello, ok := message.(zeekapi.AgentHello); ok {
			fmt.Println(hello.Instance, "connects to its controller:", hello.Connecting)
			said = true
		}
	}
	cancel()
	fmt.Println("ended with", <-ended)
	// Output:
	// sensor connects to its controller: true
	// ended with <nil>
}
