package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// A client asks, a server in Zeek's place answers.
func Example() {
	ctx := context.Background()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := websocket.NewServer(websocket.ServerConfig{Endpoint: "example", Version: "8.0.10"})
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
	client.Publish(ctx, "/questions", broker.NewEvent("ping", broker.Count(42)).Value())

	for answered := false; !answered; {
		notification, err := server.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if r, ok := notification.(broker.Received); ok {
			question, err := broker.ParseEvent(r.Message.Value)
			if err != nil {
				log.Fatal(err)
			}
			server.Publish(ctx, "/answers", broker.NewEvent("pong", question.Args...).Value())
			answered = true
		}
	}
	for {
		notification, err := client.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if r, ok := notification.(broker.Received); ok {
			answer, err := broker.ParseEvent(r.Message.Value)
			fmt.Println(r.Message.Topic, answer, err)
			return
		}
	}
	// Output: /answers pong(42) <nil>
}
