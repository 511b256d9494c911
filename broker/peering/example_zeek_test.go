package peering_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// zeek is a stand-in for a Zeek without TLS (Broker::disable_ssl=T). It
// listens, subscribes to /requests and publishes an event to each peer. It
// returns the address, a function that waits for an event and prints it, and a
// function that closes the endpoint.
func zeek(ctx context.Context) (addr string, printNext func(), close func() error) {
	e, err := peering.New(peering.Config{Subscriptions: []string{"/requests"}})
	if err != nil {
		log.Fatal(err)
	}
	listening, err := e.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	next := func() broker.Notification {
		n, err := e.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	return listening.String(), func() {
		for {
			switch n := next().(type) {
			case broker.PeerAdded:
				ev := broker.NewEvent("Notice::begin", broker.String("C7x"), broker.Count(1))
				if err := broker.PublishEvent(ctx, e, "/notices", ev); err != nil {
					log.Fatal(err)
				}
			case broker.Received:
				ev, _ := broker.ParseEvent(n.Message.Value)
				fmt.Println("zeek received", ev)
				return
			case broker.PeerLost:
				return
			}
		}
	}, e.Close
}

// To receive events, subscribe to prefixes of their topics, add Zeek as a peer,
// and call Next repeatedly. The endpoint reconnects when it has lost the
// connection.
func ExampleEndpoint_Next() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	addr, serve, stop := zeek(ctx)
	defer stop()
	go serve()

	e, err := peering.New(peering.Config{Subscriptions: []string{"/notices"}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if err := e.AddPeer(addr); err != nil {
		log.Fatal(err)
	}
	for {
		notification, err := e.Next(ctx)
		if errors.Is(err, broker.ErrClosed) {
			return // the endpoint was closed
		}
		if err != nil {
			log.Fatal(err)
		}
		switch n := notification.(type) {
		case broker.PeerAdded:
			fmt.Println("peered")
		case broker.PeerLost:
			log.Print(n.Peer.Address, n.Err)
		case broker.Received:
			ev, err := broker.ParseEvent(n.Message.Value)
			if err != nil {
				log.Print(err) // not an event, such as a log record
				continue
			}
			uid, _ := ev.Args[0].Text()
			fmt.Println(n.Message.Topic, ev.Name, uid)
			return // end of the example
		}
	}
	// Output:
	// peered
	// /notices Notice::begin C7x
}

// Publish does not wait for the delivery. AwaitPeer waits for the connection to
// Zeek, and Flush waits until Zeek has received the published messages.
func ExampleEndpoint_Publish() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	addr, serve, stop := zeek(ctx)
	defer stop()

	e, err := peering.New(peering.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if err := e.AddPeer(addr); err != nil {
		log.Fatal(err)
	}
	if _, err := e.AwaitPeer(ctx, addr); err != nil {
		log.Fatal(err)
	}
	// In Zeek: event Request::block(hosts: set[string], time: interval)
	ev := broker.NewEvent("Request::block",
		broker.Set(broker.String("a"), broker.String("b")), broker.Timespan(90*time.Second))
	if err := broker.PublishEvent(ctx, e, "/requests/block", ev); err != nil {
		log.Fatal(err)
	}
	if err := e.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	serve()
	// Output:
	// zeek received Request::block({"a", "b"}, 1m30s)
}
