package controller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// slowDialer blocks in RemovePeer until hung is closed.
type slowDialer struct {
	steps chan string
	hung  chan struct{}
}

func (d slowDialer) AddPeer(address string) error { d.steps <- "dial " + address; return nil }
func (d slowDialer) RemovePeer(address string) error {
	d.steps <- "undial " + address
	<-d.hung
	return nil
}

// The controller continues while a connection is being closed. A new connection to
// the same address waits until the earlier one is closed.
func TestRunDialsAfterHangupCompletes(t *testing.T) {
	const x, y = "10.0.0.1:2151", "10.0.0.2:2151"
	d := slowDialer{make(chan string, 10), make(chan struct{})}
	settings := controller.DefaultSettings()
	settings.RequestTimeout = 10 * time.Millisecond
	n := run(t, controller.Config{Dialer: d, Settings: settings})
	client := n.client(old)
	at := func(id, address string) {
		t.Helper()
		client.ask(set("r"+id, listening(config(id, "a"), "a", address)),
			"answer SetConfigurationResponse r"+id+" [F request timed out] [F waited for a] [F no agent is connected for a; drain such an instance to deploy without it]")
	}
	take := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			got = append(got, <-d.steps)
		}
		slices.Sort(got) // the order of different addresses is random
		slices.Sort(want)
		if !slices.Equal(want, got) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	at("c1", x)
	take("dial " + x)
	at("c2", y)
	take("undial "+x, "dial "+y)
	at("c3", x)
	take("undial " + y)
	for range 3 { // for x, only the last call remains to be done
		at("c4", y)
		at("c5", x)
	}
	client.ask(getInstances("r6"), "answer GetInstancesResponse r6 [T = []]")
	select {
	case step := <-d.steps:
		t.Errorf("unexpected %s before the connection is closed", step)
	default:
	}
	close(d.hung)
	take("dial " + x)
	select {
	case step := <-d.steps:
		t.Errorf("unexpected %s at the end", step)
	case <-time.After(10 * time.Millisecond):
	}
}
