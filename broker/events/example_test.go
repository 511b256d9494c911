package events_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/events"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// An endpoint calls a function for each scan that another endpoint, or a Zeek, reports.
func Example() {
	type scan struct {
		Source netip.Addr `zeek:"source"`
		Ports  uint64     `zeek:"ports"`
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	done := make(chan struct{})
	var handlers events.Handlers
	events.On(&handlers, "Detector::scan", func(e events.Event[scan]) {
		fmt.Println(e.Args.Source, e.Args.Ports)
		close(done)
	})
	receiver, err := peering.New(peering.Config{Subscriptions: []string{"/scans"}, Payload: handlers.Payload})
	if err != nil {
		log.Fatal(err)
	}
	defer receiver.Close()
	addr, err := receiver.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	sender, err := peering.New(peering.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
	if _, err := sender.Connect(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	ev := broker.NewEvent("Detector::scan", broker.Address(netip.MustParseAddr("192.0.2.1")), broker.Count(25))
	if err := broker.PublishEvent(ctx, sender, "/scans", ev); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: 192.0.2.1 25
}
