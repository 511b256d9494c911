// Package backoff computes the time between attempts to connect.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a sequence of growing waits. It begins with Min and doubles up to
// Max. Each wait is shortened at random, by up to half, so that peers that lost
// their connections together do not reconnect together. It is not safe for
// concurrent use.
type Backoff struct {
	Min, Max time.Duration
	last     time.Duration
}

// Reset makes the next wait begin at Min again.
func (b *Backoff) Reset() { b.last = 0 }

// Next returns the next time to wait.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, b.Min), b.Max)
	return b.last - rand.N(b.last/2+1)
}

// Wait waits for the time that Next returns. It returns false if ctx ends or
// quit is closed first. A nil quit is never closed.
func (b *Backoff) Wait(ctx context.Context, quit <-chan struct{}) bool {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-quit:
	case <-ctx.Done():
	}
	return false
}
