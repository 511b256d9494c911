// Package twoprocs benchmarks a transport between two processes, as in real
// use. The sender is the benchmark, and the receiver is the test binary, run
// again.
package twoprocs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

const (
	variable = "ZEEKWIRE_RECEIVE" // the mode, in the receiver's environment

	// Events is the topic of the events that the receiver counts. A message on
	// the topic end requests their number.
	Events = "bench/event"
	end    = "bench/end"

	// Count is the topic of the receiver's response.
	Count = "bench/count"
)

// Receive turns this process into the receiver if Bench started it, and does
// not return in that case. TestMain must call it first. The function listen
// returns a bus that receives Events and all other topics of the sender, and
// the address of the bus. It gets the mode of the benchmark.
func Receive(listen func(mode string) (broker.Bus, string, error)) {
	mode, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	if err := receive(func() (broker.Bus, string, error) { return listen(mode) }); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// receive responds to each message on the topic end with the number of events
// since the last one. It returns when the sender disconnects.
func receive(listen func() (broker.Bus, string, error)) error {
	bus, address, err := listen()
	if err != nil {
		return err
	}
	defer bus.Close()
	fmt.Println(address)
	events := uint64(0)
	for ctx := context.Background(); ; {
		notification, err := bus.Next(ctx)
		if err != nil {
			return err
		}
		switch n := notification.(type) {
		case broker.PeerLost:
			return nil
		case broker.Received:
			if n.Message.Topic == Events {
				events++
				continue
			}
			if err := bus.Publish(ctx, Count, broker.Count(events)); err != nil {
				return err
			}
			events = 0
		}
	}
}

// Small returns a small event.
func Small() broker.Event {
	return broker.NewEvent("Bench::event",
		broker.Count(42), broker.String("hello world"), broker.Timestamp(time.Unix(0, 0)))
}

// Bench starts a receiver in the given mode, and measures the time in which b.N
// events reach it. The function dial returns a bus that is connected to the receiver
// and receives Count. Neither end may drop messages because of a full queue.
func Bench(b *testing.B, mode string, sent broker.Event, dial func(address string) broker.Bus) {
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	receiver := exec.Command(executable, "-test.run=^$")
	receiver.Env = append(os.Environ(), variable+"="+mode)
	receiver.Stderr = os.Stderr
	output, err := receiver.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := receiver.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := receiver.Wait(); err != nil {
			b.Error(err)
		}
	}()
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		_ = receiver.Process.Kill()
		b.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	bus := dial(strings.TrimSpace(address))
	defer bus.Close()

	event := sent.Value()
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := bus.Publish(ctx, Events, event); err != nil {
			b.Fatal(err)
		}
	}
	if err := bus.Publish(ctx, end, broker.None()); err != nil {
		b.Fatal(err)
	}
	for {
		notification, err := bus.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if n, ok := notification.(broker.Received); ok {
			if count, _ := n.Message.Value.Count(); count != uint64(b.N) {
				b.Fatalf("received %d events, want %d", count, b.N)
			}
			break
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
