package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
)

func TestPolicies(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		policy  broker.Overflow
		want    []int
		dropped uint64
		err     error
	}{
		{broker.OverflowDropOldest, []int{3, 4}, 2, nil},
		{broker.OverflowDropNewest, []int{1, 2}, 2, nil},
		{broker.OverflowDisconnect, []int{1, 2}, 0, broker.ErrOverflow},
	} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			q := queue.New[int](2, tt.policy)
			var err error
			for i := 1; i <= 4; i++ {
				err = errors.Join(err, q.Push(ctx, i))
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("Push: %v", err)
			}
			got, err := q.PopAll(ctx, nil)
			if err != nil || !slices.Equal(got, tt.want) || q.Dropped() != tt.dropped || q.Len() != 0 {
				t.Errorf("got %v, dropped %d, error %v", got, q.Dropped(), err)
			}
		})
	}
}

func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		q := queue.New[int](1, broker.OverflowBlock)
		if err := q.Push(ctx, 1); err != nil {
			t.Fatal(err)
		}
		pushed := make(chan error, 2)
		go func() { pushed <- q.Push(ctx, 2) }()
		synctest.Wait()
		if len(pushed) != 0 {
			t.Fatal("Push did not wait for room")
		}
		if v, err := q.Pop(ctx); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		if err := <-pushed; err != nil {
			t.Fatal(err)
		}
		go func() { pushed <- q.Push(ctx, 3) }()
		synctest.Wait()
		cancel()
		if err := <-pushed; !errors.Is(err, context.Canceled) {
			t.Fatalf("Push after cancel: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		q := queue.New[int](2, broker.OverflowBlock)
		done := make(chan error)
		go func() {
			_, err := q.Pop(ctx)
			done <- err
		}()
		synctest.Wait()
		q.Close()
		q.Close()
		if err := <-done; !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Pop: %v", err)
		}
		if err := q.Push(ctx, 1); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Push: %v", err)
		}
	})
}

func TestCloseKeepsWhatIsLeft(t *testing.T) {
	ctx := context.Background()
	q := queue.New[int](2, broker.OverflowBlock)
	if err := q.Push(ctx, 1); err != nil {
		t.Fatal(err)
	}
	q.Close()
	if v, err := q.Pop(ctx); v != 1 || err != nil {
		t.Fatal(v, err)
	}
	if _, err := q.Pop(ctx); !errors.Is(err, broker.ErrClosed) {
		t.Fatal(err)
	}
}

// Items leave in order however pushes and pops interleave, and a long-lived
// queue does not grow with what has passed through it.
func TestOrder(t *testing.T) {
	ctx := context.Background()
	q := queue.New[int](8, broker.OverflowBlock)
	pushed, popped := 0, 0
	for round := range 1000 {
		for range round % 9 {
			if err := q.Push(ctx, pushed); err != nil {
				t.Fatal(err)
			}
			pushed++
		}
		for q.Len() > round%3 && popped < pushed {
			v, err := q.Pop(ctx)
			if err != nil || v != popped {
				t.Fatalf("got %d, %v; want %d", v, err, popped)
			}
			popped++
		}
		if q.Len() > 0 {
			rest, err := q.PopAll(ctx, nil)
			if err != nil || rest[0] != popped {
				t.Fatal(rest, err)
			}
			popped += len(rest)
		}
	}
}
