package recording_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// inMemory holds a recording in memory instead of a file.
type inMemory struct{ bytes.Buffer }

func (*inMemory) Close() error { return nil }

// A Tracer records all frames between an endpoint and a peer. The recording is
// complete once the endpoint is closed.
func ExampleTracer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// The peer could also be Zeek.
	listener, err := peering.New(peering.Config{Subscriptions: []string{"/tests"}})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	addr, err := listener.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	var out inMemory
	e, err := peering.New(peering.Config{Trace: func(c peering.ConnInfo) peering.FrameTracer {
		return recording.NewTracer(&out, recording.Connection{Name: "example", ServerPort: c.Remote.Port()},
			recording.Client, func(err error) { log.Print(err) })
	}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := e.Connect(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	ev := broker.NewEvent("hello", broker.String("world"))
	if err := broker.PublishEvent(ctx, e, "/tests", ev); err != nil {
		log.Fatal(err)
	}
	if err := e.Close(); err != nil {
		log.Fatal(err)
	}

	// Read the recording, and print the messages in it.
	r, err := recording.NewReader(&out, "example.jsonl")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Connection().Name, r.Connection().Protocol)
	for {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		envelope, err := wire.DecodeEnvelope(entry.Data)
		if err != nil || envelope.Type != wire.TypeData {
			continue
		}
		v, err := bin.Decode(envelope.Payload)
		if err != nil {
			log.Fatal(err)
		}
		recorded, err := broker.ParseEvent(v)
		fmt.Println(entry.From, envelope.Topic, recorded, err)
	}
	// Output:
	// example native
	// client /tests hello("world") <nil>
}
