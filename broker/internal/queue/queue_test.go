package queue_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
)

func push(ctx context.Context, q *queue.Queue[int], item int) error {
	_, err := q.Push(ctx, queue.Entry[int]{Item: item})
	return err
}

func drain(q *queue.Queue[int]) (items []int) {
	for {
		item, ok := q.TryNext()
		if !ok {
			return items
		}
		items = append(items, item)
	}
}

// noWait is a canceled context.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func TestPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy  broker.Overflow
		want    []int
		dropped uint64
		err     error
	}{
		{broker.OverflowDropOldest, []int{3, 4}, 2, nil},
		{broker.OverflowDropNewest, []int{1, 2}, 2, nil},
		{broker.OverflowDisconnect, []int{1, 2}, 0, broker.ErrOverflow},
		{broker.OverflowBlock, []int{1, 2}, 0, context.Canceled},
	} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			q := queue.New[int](queue.Limits{Policy: tt.policy, Loose: 2, Bytes: 1})
			var err error
			for i := 1; i <= 4; i++ {
				err = errors.Join(err, push(noWait, q, i))
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("Push: %v", err)
			}
			got := drain(q)
			waiting, dropped := q.Stats()
			if !slices.Equal(got, tt.want) || dropped != tt.dropped || waiting != 0 {
				t.Errorf("got %v, dropped %d, queued %d", got, dropped, waiting)
			}
		})
	}
}

// modelled is an item of the model.
type modelled struct {
	item, size int
	kept       bool
}

// TestModel compares the queue with a slice from which the policy drops by
// brute force.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]broker.Overflow{
			broker.OverflowDropOldest, broker.OverflowDropNewest, broker.OverflowDisconnect, broker.OverflowBlock,
		}).Draw(t, "policy")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		budget := rapid.IntRange(1, 30).Draw(t, "budget")
		q := queue.New[int](queue.Limits{Policy: policy, Loose: limit, Bytes: budget, Kept: 1000})
		var model, taken []modelled
		dropped := uint64(0)
		full := func(size int) bool {
			loose, bytes := 0, 0
			for _, e := range model {
				if !e.kept {
					loose++
					bytes += e.size
				}
			}
			return loose >= limit || loose > 0 && bytes+size > budget
		}
		for i := range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2:
				if len(taken) == 0 {
					taken, model = model, nil
				}
				got, ok := q.TryNext()
				if want := len(taken) > 0; ok != want || ok && got != taken[0].item {
					t.Fatalf("took %d, %v; the model has %v", got, ok, taken)
				}
				if ok {
					taken = taken[1:]
				}
			case 3, 4:
				if err := q.Keep(noWait, i); err != nil {
					t.Fatal(err)
				}
				model = append(model, modelled{item: i, kept: true})
			default:
				var entries []queue.Entry[int]
				var want error
				before := dropped
				for j, size := range rapid.SliceOfN(rapid.IntRange(0, 12), 1, 4).Draw(t, "sizes") {
					item := 10*i + j
					entries = append(entries, queue.Entry[int]{Item: item, Size: size})
					refused := want != nil
					for !refused && full(size) {
						switch policy {
						case broker.OverflowDropOldest:
							first := slices.IndexFunc(model, func(e modelled) bool { return !e.kept })
							model = slices.Delete(model, first, first+1)
							dropped++
						case broker.OverflowDropNewest:
							dropped++
							refused = true
						case broker.OverflowDisconnect:
							want, refused = broker.ErrOverflow, true
						case broker.OverflowBlock:
							want, refused = context.Canceled, true
						}
					}
					if !refused {
						model = append(model, modelled{item: item, size: size})
					}
				}
				lost, err := q.Push(noWait, entries...)
				if !errors.Is(err, want) || lost.Items != int(dropped-before) {
					t.Fatalf("pushed: %v, lost %d; want %v, %d", err, lost.Items, want, dropped-before)
				}
			}
			if waiting, got := q.Stats(); waiting != len(model) || got != dropped {
				t.Fatalf("%d queued, %d dropped; want %d, %d", waiting, got, len(model), dropped)
			}
		}
		q.Close()
		for _, want := range append(taken, model...) {
			if got, err := q.Next(noWait); got != want.item || err != nil {
				t.Fatalf("took %d, %v; want %d", got, err, want.item)
			}
		}
	})
}

func TestProducersWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New[int](queue.Limits{Policy: broker.OverflowBlock, Loose: 1, Bytes: 100, Kept: 1})
		pushed := make(chan error, 4)
		for i := range 2 {
			go func() { pushed <- push(t.Context(), q, i) }()
			go func() { pushed <- q.Keep(t.Context(), 10+i) }()
		}
		synctest.Wait()
		if len(pushed) != 2 {
			t.Fatalf("%d of 4 were accepted", len(pushed))
		}
		<-q.Ready()
		q.TryNext() // takes two items
		synctest.Wait()
		if waiting, _ := q.Stats(); len(pushed) != 4 || waiting != 2 {
			t.Fatalf("%d of 4 were accepted, %d are queued", len(pushed), waiting)
		}
		go func() { pushed <- push(t.Context(), q, 0) }()
		synctest.Wait()
		q.Close()
		q.Close()
		synctest.Wait()
		for range 4 {
			if err := <-pushed; err != nil {
				t.Error(err)
			}
		}
		if err := <-pushed; err != broker.ErrClosed {
			t.Errorf("Push that waited until Close: %v", err)
		}
		if got := drain(q); len(got) != 3 {
			t.Errorf("took %v", got)
		}
		q.Force(1)
		q.Wake()
		if err := q.Keep(t.Context(), 1); err != broker.ErrClosed {
			t.Errorf("Keep: %v", err)
		}
		if err := push(t.Context(), q, 1); err != broker.ErrClosed {
			t.Errorf("Push: %v", err)
		}
		for range 2 { // the first value may be an earlier one
			<-q.Ready()
		}
		if got, err := q.Next(t.Context()); err != broker.ErrClosed {
			t.Errorf("took %v, %v", got, err)
		}
	})
}

func TestPushBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		q := queue.New[int](queue.Limits{Policy: broker.OverflowBlock, Loose: 1})
		if err := push(ctx, q, 1); err != nil {
			t.Fatal(err)
		}
		pushed := make(chan error, 2)
		go func() { pushed <- push(ctx, q, 2) }()
		synctest.Wait()
		if len(pushed) != 0 {
			t.Fatal("Push did not wait for room")
		}
		if v, err := q.Next(ctx); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		if err := <-pushed; err != nil {
			t.Fatal(err)
		}
		go func() { pushed <- push(ctx, q, 3) }()
		synctest.Wait()
		cancel()
		if err := <-pushed; !errors.Is(err, context.Canceled) {
			t.Fatalf("Push after cancel: %v", err)
		}
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New[int](queue.Limits{Loose: 2})
		type result struct {
			item int
			err  error
		}
		done := make(chan result)
		next := func(ctx context.Context) {
			item, err := q.Next(ctx)
			done <- result{item, err}
		}
		go next(t.Context())
		synctest.Wait()
		q.Wake() // does not affect Next
		synctest.Wait()
		push(t.Context(), q, 7)
		if got := <-done; got.item != 7 || got.err != nil {
			t.Errorf("Next: %+v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go next(ctx)
		synctest.Wait()
		cancel()
		if got := <-done; !errors.Is(got.err, context.Canceled) {
			t.Errorf("Next after cancel: %+v", got)
		}
		go next(t.Context())
		synctest.Wait()
		q.Close()
		if got := <-done; got.err != broker.ErrClosed {
			t.Errorf("Next after Close: %+v", got)
		}
	})
}

func TestCloseKeepsQueuedItems(t *testing.T) {
	q := queue.New[int](queue.Limits{Loose: 2})
	if err := push(t.Context(), q, 1); err != nil {
		t.Fatal(err)
	}
	q.Close()
	if v, err := q.Next(t.Context()); v != 1 || err != nil {
		t.Fatal(v, err)
	}
	if _, err := q.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Fatal(err)
	}
}

func TestFirstLossOfEachOverflowIsMarked(t *testing.T) {
	q := queue.New[int](queue.Limits{Policy: broker.OverflowDropOldest, Loose: 2, Bytes: 100, Kept: 1})
	var begun []int
	pushMany := func(n int) {
		for i := range n {
			if lost, _ := q.Push(t.Context(), queue.Entry[int]{}); lost.First {
				begun = append(begun, i)
			}
		}
		q.TryNext() // removes the remaining items, at most two
		q.TryNext()
	}
	pushMany(5) // loses items from the third on
	pushMany(5) // the loss continues
	pushMany(1)
	pushMany(4) // a new loss begins
	if !slices.Equal(begun, []int{2, 2}) {
		t.Errorf("losses began at items %v", begun)
	}
}

// A queue that was full releases its memory.
func TestMemoryIsReleased(t *testing.T) {
	const many = 20_000
	q := queue.New[[100]int](queue.Limits{Loose: many})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range many {
		q.Push(t.Context(), queue.Entry[[100]int]{})
	}
	for range many {
		q.TryNext()
	}
	for range 3000 {
		q.Push(t.Context(), queue.Entry[[100]int]{})
		q.TryNext()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > many*100 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	runtime.KeepAlive(q)
}

// Items are returned in order for any sequence of Push and Next.
func TestOrder(t *testing.T) {
	ctx := context.Background()
	q := queue.New[int](queue.Limits{Policy: broker.OverflowBlock, Loose: 8})
	pushed, popped := 0, 0
	for round := range 1000 {
		for range round % 9 {
			if err := push(ctx, q, pushed); err != nil {
				t.Fatal(err)
			}
			pushed++
		}
		for popped < pushed && round%3 > 0 {
			v, err := q.Next(ctx)
			if err != nil || v != popped {
				t.Fatalf("got %d, %v; want %d", v, err, popped)
			}
			popped++
		}
		for _, v := range drain(q) {
			if v != popped {
				t.Fatalf("got %d, want %d", v, popped)
			}
			popped++
		}
	}
}

func TestBudget(t *testing.T) {
	for largest, want := range map[int]int{0: 64 << 20, 1 << 20: 64 << 20, 64 << 20: 256 << 20, 1 << 62: 1 << 30} {
		if got := queue.Budget(largest); got != want {
			t.Errorf("Budget(%d) = %d, want %d", largest, got, want)
		}
	}
}
