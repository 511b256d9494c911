package security_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
)

// A Zeek without other settings has anonymous TLS, which is what an empty Config
// means. For a WebSocket server of Broker's, see Layer.Dial.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	layer, err := security.New(security.Config{})
	if err != nil {
		log.Fatal(err)
	}

	// In the place of such a Zeek.
	zeek, err := peering.New(peering.Config{Secure: layer.Hook()})
	if err != nil {
		log.Fatal(err)
	}
	defer zeek.Close()
	address, err := zeek.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	endpoint, err := peering.New(peering.Config{Secure: layer.Hook()})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()
	if err := endpoint.Dial(address.String()); err != nil {
		log.Fatal(err)
	}
	peer, err := endpoint.AwaitPeer(ctx, address.String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("peered with Zeek:", peer.ID == zeek.ID())
	// Output: peered with Zeek: true
}
