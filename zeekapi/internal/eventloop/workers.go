package eventloop

import (
	"context"
	"iter"
	"sync"
)

// Workers perform slow work outside the loop. The result of each piece of work is an input.
// Next is a Source of these inputs.
type Workers[In any] struct {
	slots   chan struct{} // one for each result that has not been taken
	results chan In
	group   sync.WaitGroup
}

// NewWorkers returns Workers that perform at most so many pieces of work at the same time.
func NewWorkers[In any](most int) *Workers[In] {
	return &Workers[In]{slots: make(chan struct{}, most), results: make(chan In, most)}
}

// Do begins a piece of work and returns true, or returns false if too many are under way.
// It may be called concurrently, but not after Wait.
func (w *Workers[In]) Do(work func() In) bool {
	select {
	case w.slots <- struct{}{}:
	default:
		return false
	}
	w.group.Go(func() { w.results <- work() }) // there is room for the result
	return true
}

// Next waits for the next result.
func (w *Workers[In]) Next(ctx context.Context) (in In, ok bool, err error) {
	select {
	case in = <-w.results:
		<-w.slots
		return in, true, nil
	case <-ctx.Done():
		return in, false, context.Cause(ctx)
	}
}

// Rest returns the results that Next has not taken, as they come, until ctx ends. Neither Do nor
// Next may be called then.
func (w *Workers[In]) Rest(ctx context.Context) iter.Seq[In] {
	return func(yield func(In) bool) {
		for len(w.slots) > 0 {
			if in, ok, _ := w.Next(ctx); !ok || !yield(in) {
				return
			}
		}
	}
}

// Wait waits until all work has ended. Results that were not taken are lost.
func (w *Workers[In]) Wait() { w.group.Wait() }
