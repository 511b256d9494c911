package controller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// slowDialer takes its time to hang up.
type slowDialer struct {
	steps chan string
	hung  chan struct{} // closed when it may go on
}

func (d slowDialer) AddPeer(address string) error { d.steps <- "dial " + address; return nil }
func (d slowDialer) RemovePeer(address string) error {
	d.steps <- "undial " + address
	<-d.hung
	return nil
}

// To hang up takes as long as it takes, while the controller goes on. To dial
// the same address again waits for it.
func TestRunHangsUpSlowly(t *testing.T) {
	const x, y = "10.0.0.1:2151", "10.0.0.2:2151"
	d := slowDialer{make(chan string, 10), make(chan struct{})}
	settings := controller.DefaultSettings()
	settings.RequestTimeout = 10 * time.Millisecond
	n := run(t, controller.Config{Dialer: d, Settings: settings})
	client := n.client(old)
	at := func(id, address string) {
		t.Helper()
		client.ask(set("r"+id, listening(config(id, "a"), "a", address)),
			"answer SetConfigurationResponse r"+id+" [F request timed out] [F waited for a]")
	}
	take := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			got = append(got, <-d.steps)
		}
		slices.Sort(got) // of different addresses
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
	for range 3 { // no more than the last of this is left to do for x
		at("c4", y)
		at("c5", x)
	}
	client.ask(getInstances("r6"), "answer GetInstancesResponse r6 [T = []]")
	select {
	case step := <-d.steps:
		t.Errorf("%s while hanging up", step)
	default:
	}
	close(d.hung)
	take("dial " + x)
	select {
	case step := <-d.steps:
		t.Errorf("%s after all", step)
	case <-time.After(10 * time.Millisecond):
	}
}
