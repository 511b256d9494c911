package alerts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// channel is a channel whose behaviour a test determines.
type channel struct {
	mu   sync.Mutex
	fail func(attempt int) error // nil: every attempt succeeds
	hang bool                    // until the context ends
	got  []string                // IDs or "test", one for each attempt
	at   []time.Time
}

// sent returns what was sent, and when.
func (c *channel) sent() ([]string, []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), slices.Clone(c.at)
}

func (c *channel) Name() string { return "command" }
func (c *channel) To() string   { return "pager" }

func (c *channel) Send(ctx context.Context, m Message) error {
	c.mu.Lock()
	name := m.Subject()
	c.got, c.at = append(c.got, name), append(c.at, time.Now())
	n, fail, hang := len(c.got), c.fail, c.hang
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if fail != nil {
		return fail(n)
	}
	return nil
}

// started runs a service with a channel in a bubble.
func started(t *testing.T, c *channel, stored ...zeekapi.ClusterEvent) (s *Service, stop func()) {
	settings := standard()
	settings.Interval = time.Minute
	s = NewService(Config{Settings: settings, Channels: []Channel{c}, Cluster: "c", Stored: stored})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	return s, func() { cancel(); <-done }
}

func failedNode(name string) States {
	return States{"i", map[string]zeekapi.State{name: zeekapi.StateFailed}}
}

func TestServiceSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{}
		s, stop := started(t, c)
		defer stop()
		began := time.Now()
		s.Take(failedNode("w"))
		time.Sleep(time.Hour)
		got, at := c.sent()
		if len(got) != 1 || got[0] != "[zeekwire c] node w on i has failed" || at[0].Sub(began) != 30*time.Second {
			t.Errorf("sent %q at %v", got, at)
		}
		events, err := s.Next(t.Context())
		if err != nil || len(events) != 1 || events[0].Kind != zeekapi.EventAlert || events[0].Subject != NodeFailed || events[0].Node != "w" {
			t.Errorf("history: %+v, %v", events, err)
		}
		all := s.Present()
		if len(all.Present) != 1 || all.Channels[0].Sent != 1 || all.Channels[0].Error != "" || all.Channels[0].Last.IsZero() {
			t.Errorf("present: %+v", all)
		}
	})
}

// A failed attempt is repeated with growing pauses. In the meantime further notifications
// wait, and arrive in order.
func TestServiceRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{fail: func(n int) error {
			if n <= 4 {
				return errors.New("no route")
			}
			return nil
		}}
		s, stop := started(t, c)
		defer stop()
		s.Take(failedNode("w"))
		time.Sleep(31 * time.Second)
		if got := s.Present().Channels[0]; got.Error != "no route" || got.Queued != 1 {
			t.Errorf("after a failure: %+v", got)
		}
		s.Take(failedNode("x"))
		time.Sleep(time.Hour)
		got, at := c.sent()
		var pauses []time.Duration
		for i := 1; i < 5; i++ {
			pauses = append(pauses, at[i].Sub(at[i-1]))
		}
		if text := fmt.Sprint(pauses); text != "[5s 10s 20s 40s]" {
			t.Errorf("pauses are %s", text)
		}
		if len(got) != 6 || !strings.Contains(got[4], "node w") || !strings.Contains(got[5], "node x") {
			t.Errorf("sent %q", got)
		}
	})
}

// A message is given up after an hour, or at once if it is refused for good; the next ones
// are sent.
func TestServiceGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{fail: func(int) error { return errors.New("no route") }}
		s, stop := started(t, c)
		defer stop()
		s.Take(failedNode("w"))
		time.Sleep(2 * time.Hour)
		got, at := c.sent()
		attempts := len(got)
		if last := at[attempts-1].Sub(at[0]); last > giveUp || last < giveUp/2 {
			t.Errorf("%d attempts, the last after %s", attempts, last)
		}
		c.mu.Lock()
		c.fail = func(int) error { return fmt.Errorf("no such user: %w", ErrFinal) }
		c.mu.Unlock()
		s.Take(failedNode("x"))
		time.Sleep(time.Hour)
		if got, _ = c.sent(); len(got) != attempts+1 {
			t.Errorf("%d attempts for a message that was refused", len(got)-attempts)
		}
		if got := s.Present().Channels[0]; got.Failed != 2 || got.Queued != 0 || got.Sent != 0 {
			t.Errorf("the channel: %+v", got)
		}
	})
}

// A channel that hangs costs its own queue, which is bounded, and keeps nothing else waiting.
func TestServiceWithHangingChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{hang: true}
		s, stop := started(t, c)
		for i := range 3 * queueLimit {
			s.Take(failedNode(fmt.Sprint("w", i)))
			time.Sleep(time.Minute)
		}
		if got := s.Present().Channels[0]; got.Queued > queueLimit || got.Failed == 0 {
			t.Errorf("the channel: %+v", got)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > attemptTimeout+endPatience {
			t.Errorf("the end took %s", took)
		}
	})
}

// What waits at the end is sent, once.
func TestServiceFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{fail: func(n int) error {
			if n == 1 {
				return errors.New("no route")
			}
			return nil
		}}
		s, stop := started(t, c)
		s.Take(failedNode("w"))
		time.Sleep(31 * time.Second)
		stop()
		if got := s.Present().Channels[0]; got.Sent != 1 || got.Queued != 0 {
			t.Errorf("the channel: %+v", got)
		}
	})
}

func TestServiceTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &channel{}, &channel{hang: true}
		s := NewService(Config{Channels: []Channel{good, bad}, Cluster: "c"})
		results := s.Test(t.Context(), "r")
		if len(results) != 2 || !results[0].Success || results[1].Success || !strings.Contains(results[1].Error, "command to pager: context deadline exceeded") {
			t.Errorf("results: %+v", results)
		}
		if got, _ := good.sent(); len(got) != 1 || got[0] != "[zeekwire c] test notification" {
			t.Errorf("sent %q", got)
		}
		results = NewService(Config{}).Test(t.Context(), "r")
		if len(results) != 1 || results[0].Success {
			t.Errorf("without channels: %+v", results)
		}
	})
}

// Certificates are looked at when the service starts, and then every hour.
func TestServiceCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &channel{}
		settings := standard()
		left := 14*24*time.Hour + 90*time.Minute
		end := time.Now().Add(left)
		s := NewService(Config{Settings: settings, Channels: []Channel{c}, Certificates: func() []Cert { return []Cert{{"a.pem", end}} }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(100 * time.Minute)
		if got, _ := c.sent(); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(time.Hour)
		if got, _ := c.sent(); len(got) != 1 || !strings.Contains(got[0], "a.pem expires") {
			t.Errorf("sent %q", got)
		}
		cancel()
		<-done
	})
}
