package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// A client sends an event to a server, and prints the server's answer. Either
// side may be replaced by Zeek.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{Endpoint: "example", Version: "8.0.10"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go server.Serve(ctx, listener)

	client, err := websocket.Dial(ctx, websocket.ClientConfig{
		Address:       listener.Addr().String(),
		Subscriptions: []string{"/answers"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	question := broker.NewEvent("ping", broker.Count(42))
	if err := broker.PublishEvent(ctx, client, "/questions", question); err != nil {
		log.Fatal(err)
	}

	// The server answers with the same arguments.
	received := nextMessage(ctx, server)
	answer := broker.NewEvent("pong", received.Args...)
	if err := broker.PublishEvent(ctx, server, "/answers", answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(nextMessage(ctx, client))
	// Output: pong(42)
}

// nextMessage waits for the next event. It ignores peers that come and go.
func nextMessage(ctx context.Context, bus broker.Bus) broker.Event {
	for {
		notification, err := bus.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if received, ok := notification.(broker.Received); ok {
			event, err := broker.ParseEvent(received.Message.Value)
			if err != nil {
				log.Fatal(err)
			}
			return event
		}
	}
}
