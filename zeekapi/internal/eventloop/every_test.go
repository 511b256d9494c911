package eventloop_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// A source reads at once and then at intervals, also if reading takes time.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		next := eventloop.Every(time.Minute, func(now time.Time) time.Duration {
			time.Sleep(time.Second)
			return now.Sub(began)
		})
		var got []time.Duration
		for range 3 {
			at, ok, err := next(t.Context())
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			got = append(got, at)
		}
		if want := []time.Duration{0, time.Minute, 2 * time.Minute}; !slices.Equal(got, want) {
			t.Errorf("read after %v, want %v", got, want)
		}
	})
}

// A source ends with its context, while it waits and while it reads.
func TestEveryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		next := eventloop.Every(time.Minute, func(time.Time) int {
			<-release
			return 7
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if in, ok, err := next(ctx); in != 0 || ok || !errors.Is(err, context.Canceled) {
			t.Errorf("while it reads: %d, %t, %v", in, ok, err)
		}
		close(release)
	})
	next := eventloop.Every(time.Hour, func(time.Time) int { return 7 })
	if in, ok, err := next(t.Context()); in != 7 || !ok || err != nil {
		t.Errorf("first input is %d, %t, %v", in, ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if in, ok, err := next(ctx); in != 0 || ok || !errors.Is(err, context.Canceled) {
		t.Errorf("while it waits: %d, %t, %v", in, ok, err)
	}
}
