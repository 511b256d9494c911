package request_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/request"
)

// A server and a client over a native peering. Either side may be a Zeek.
func Example() {
	type Query struct {
		N uint64 `zeek:"n"`
	}
	type Answer struct {
		Square uint64 `zeek:"square"`
	}
	pair := request.Pair[Query, Answer]{
		Request: "Square::request", Response: "Square::response", Topic: "/square",
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// The server.
	endpoint, err := peering.New(peering.Config{Subscriptions: []string{pair.Topic}})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()
	addr, err := endpoint.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server, err := request.NewServer(endpoint, request.Config{})
	if err != nil {
		log.Fatal(err)
	}
	request.Handle(server, pair, func(_ context.Context, q Query) (Answer, error) {
		return Answer{Square: q.N * q.N}, nil
	})
	serving, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		if err := server.Serve(serving); err != nil {
			log.Print(err)
		}
	})

	// The client.
	client, err := peering.New(peering.Config{Subscriptions: []string{pair.Topic}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Connect(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	requester := request.NewRequester(client)
	answer, err := request.Call(ctx, requester, pair, Query{N: 12})
	fmt.Println(answer.Square, err)

	requester.Close()
	stop()
	done.Wait()
	// Output: 144 <nil>
}
