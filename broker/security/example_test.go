package security_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
)

// The zero Config means anonymous TLS, which is Zeek's default. For Broker's
// WebSocket server, use Layer.DialContext.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	layer, err := security.New(security.Config{})
	if err != nil {
		log.Fatal(err)
	}

	// An endpoint in place of Zeek.
	zeek, err := peering.New(peering.Config{TLS: layer.Hook()})
	if err != nil {
		log.Fatal(err)
	}
	defer zeek.Close()
	address, err := zeek.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	endpoint, err := peering.New(peering.Config{TLS: layer.Hook()})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()
	peer, err := endpoint.Connect(ctx, address.String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("peered with Zeek:", peer.ID == zeek.ID())
	// Output: peered with Zeek: true
}
