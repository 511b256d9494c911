package eventloop

import (
	"context"
	"sync"
)

// budget limits the memory of the inputs that wait.
type budget struct {
	limit int // bytes

	mu   sync.Mutex
	used int
	room chan struct{} // closed when memory is freed; nil without waiters
}

func newBudget(limit int) *budget { return &budget{limit: limit} }

// take takes n bytes, and waits for them if necessary. It returns false if ctx ends
// first. An input larger than the limit waits until all others are gone.
func (b *budget) take(ctx context.Context, n int) bool {
	for {
		b.mu.Lock()
		if n == 0 || b.used == 0 || b.used+n <= b.limit {
			b.used += n
			b.mu.Unlock()
			return true
		}
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// free returns n bytes.
func (b *budget) free(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.room != nil && n > 0 {
		close(b.room)
		b.room = nil
	}
}
