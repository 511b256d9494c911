package broker_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// A program builds an event from values and converts it to the value that is
// sent. The receiver parses that value. To send an event over a network, see
// PublishEvent and the packages peering and websocket.
func Example() {
	event := broker.NewEvent("Example::block",
		broker.Address(netip.MustParseAddr("192.0.2.1")),
		broker.PortValue(broker.TCP(443)),
		broker.Timespan(90*time.Second),
		broker.Set(broker.String("scan"), broker.String("brute force")),
	)
	message := broker.Message{Topic: "/example/blocks", Value: event.Value()}

	received, err := broker.ParseEvent(message.Value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(received)
	address, ok := received.Args[0].Address()
	fmt.Println(address, ok)
	for reason := range received.Args[3].Elements() {
		text, _ := reason.Text()
		fmt.Println("reason:", text)
	}
	// Output:
	// Example::block(192.0.2.1, 443/tcp, 1m30s, {"brute force", "scan"})
	// 192.0.2.1 true
	// reason: brute force
	// reason: scan
}

// A filter matches all topics that begin with one of its prefixes.
func ExampleFilter() {
	f := broker.NewFilter("zeek/cluster/", "zeek/cluster/node/", "example")
	fmt.Println([]string(f))
	fmt.Println(f.Matches("zeek/cluster/manager"), f.Matches("examples"), f.Matches("zeek/logs"))
	// Output:
	// [example zeek/cluster/]
	// true true false
}
