package peering_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// One endpoint listens, another connects to it and publishes an event. Either
// endpoint may be replaced by Zeek.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	listener, err := peering.New(peering.Config{Subscriptions: []string{"example/"}})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	addr, err := listener.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	dialer, err := peering.New(peering.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := dialer.Connect(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	event := broker.NewEvent("hello", broker.String("world"))
	if err := broker.PublishEvent(ctx, dialer, "example/greetings", event); err != nil {
		log.Fatal(err)
	}
	if err := dialer.Close(); err != nil {
		log.Fatal(err)
	}

	for {
		notification, err := listener.Next(ctx)
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
	// peer lost: peering: the peer said bye
}
