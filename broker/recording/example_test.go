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

// inMemory holds a recording, in place of one on disk.
type inMemory struct{ bytes.Buffer }

func (*inMemory) Close() error { return nil }

// An endpoint records what it says to a peer, and what that says, by a Tracer.
// The recording is complete once the endpoint is closed.
func ExampleTracer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// A peer to talk to; it might be a Zeek.
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
	if err := e.Dial(addr.String()); err != nil {
		log.Fatal(err)
	}
	if _, err := e.AwaitPeer(ctx, addr.String()); err != nil {
		log.Fatal(err)
	}
	ev := broker.NewEvent("hello", broker.String("world"))
	if err := e.Publish(ctx, "/tests", ev.Value()); err != nil {
		log.Fatal(err)
	}
	if err := e.Close(); err != nil {
		log.Fatal(err)
	}

	// Read it back, all but the handshake and the goodbyes.
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
