package peering_test

import (
	"context"
	"fmt"
	"log"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// Two endpoints; in place of either there might be a Zeek.
func Example() {
	ctx := context.Background()
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
	if err := dialer.Dial(addr.String()); err != nil {
		log.Fatal(err)
	}
	if _, err := dialer.AwaitPeer(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	event := broker.NewEvent("hello", broker.String("world"))
	if err := dialer.Publish(ctx, "example/greetings", event.Value()); err != nil {
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
			fmt.Println("a peer")
		case broker.Received:
			event, err := broker.ParseEvent(n.Message.Value)
			fmt.Println(n.Message.Topic, event, err)
		case broker.PeerLost:
			fmt.Println(n.Err)
			return
		}
	}
	// Output:
	// a peer
	// example/greetings hello("world") <nil>
	// peering: the peer said bye
}
