package membus_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
)

// Two endpoints of one process exchange an event without a network.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hub := membus.New()
	receiver := hub.Endpoint("example/")
	defer receiver.Close()
	sender := hub.Endpoint()

	event := broker.NewEvent("hello", broker.String("world"))
	if err := broker.PublishEvent(ctx, sender, "example/greetings", event); err != nil {
		log.Fatal(err)
	}
	sender.Close()

	for {
		notification, err := receiver.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		switch n := notification.(type) {
		case broker.PeerAdded:
			fmt.Println("peer added")
		case broker.Received:
			event, err := broker.ParseEvent(n.Message.Value)
			fmt.Println(n.Message.Topic, event, err)
		case broker.PeerLost:
			fmt.Println("peer lost:", n.Err)
			return
		}
	}
	// Output:
	// peer added
	// example/greetings hello("world") <nil>
	// peer lost: broker: closed
}
