package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker/internal/backoff"
)

func TestNextGrowsWithinItsLimits(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: 5 * time.Second}
	for range 2 {
		for _, most := range []time.Duration{1, 2, 4, 5, 5} {
			most *= time.Second
			if got := b.Next(); got > most || got < most/2-1 {
				t.Errorf("wait %s, want %s to %s", got, most/2, most)
			}
		}
		b.Reset()
	}
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Min: time.Hour, Max: time.Hour}
		if !b.Wait(t.Context(), nil) {
			t.Error("Wait was interrupted")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		quit := make(chan struct{})
		close(quit)
		if b.Wait(ctx, nil) || b.Wait(t.Context(), quit) {
			t.Error("Wait was not interrupted")
		}
	})
}
