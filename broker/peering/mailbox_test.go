package peering

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
)

func items(entries []entry[int]) (items []int) {
	for _, e := range entries {
		items = append(items, e.item)
	}
	clear(entries)
	return items
}

// TestMailboxModel compares the mailbox with a slice from which the policy
// drops by brute force.
func TestMailboxModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]broker.Overflow{
			broker.OverflowDropOldest, broker.OverflowDropNewest, broker.OverflowDisconnect, broker.OverflowBlock,
		}).Draw(t, "policy")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		budget := rapid.IntRange(1, 30).Draw(t, "budget")
		m := newMailbox[int](policy, limit, budget, 1000)
		var model []entry[int]
		var last []entry[int]
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
			e := entry[int]{item: i, size: rapid.IntRange(0, 12).Draw(t, "size")}
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				last, _ = m.take(last)
				if got, want := items(last), items(model); !slices.Equal(got, want) {
					t.Fatalf("took %d, want %d", got, want)
				}
				model = nil
			case 1, 2:
				e.kept, e.size = true, 0
				if err := m.keep(noWait, i); err != nil {
					t.Fatal(err)
				}
				model = append(model, e)
			default:
				_, err := m.push(noWait, e)
				refused := false
				for full(e.size) && !refused {
					switch policy {
					case broker.OverflowDropOldest:
						first := slices.IndexFunc(model, func(e entry[int]) bool { return !e.kept })
						model = slices.Delete(model, first, first+1)
						dropped++
					case broker.OverflowDropNewest:
						dropped++
						refused = true
					case broker.OverflowDisconnect:
						if !errors.Is(err, broker.ErrOverflow) {
							t.Fatal(err)
						}
						refused = true
					case broker.OverflowBlock:
						if !errors.Is(err, context.Canceled) {
							t.Fatal(err)
						}
						refused = true
					}
				}
				if !refused {
					model = append(model, e)
				}
			}
			if waiting, got := m.stats(); waiting != len(model) || got != dropped {
				t.Fatalf("%d wait, %d dropped; want %d, %d", waiting, got, len(model), dropped)
			}
		}
	})
}

func TestMailboxWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox[int](broker.OverflowBlock, 1, 100, 1)
		pushed := make(chan error, 4)
		for i := range 2 {
			go func() {
				_, err := m.push(t.Context(), entry[int]{item: i})
				pushed <- err
			}()
			go func() { pushed <- m.keep(t.Context(), 10+i) }()
		}
		synctest.Wait()
		if len(pushed) != 2 {
			t.Fatalf("%d of 4 went in", len(pushed))
		}
		<-m.ready
		if got, _ := m.take(nil); len(got) != 2 {
			t.Fatalf("took %v", got)
		}
		synctest.Wait()
		if len(pushed) != 4 {
			t.Fatalf("%d of 4 went in", len(pushed))
		}
		go func() {
			_, err := m.push(t.Context(), entry[int]{})
			pushed <- err
		}()
		synctest.Wait()
		m.close()
		m.close()
		synctest.Wait()
		for range 4 {
			if err := <-pushed; err != nil {
				t.Error(err)
			}
		}
		if err := <-pushed; err != broker.ErrClosed {
			t.Errorf("who waited until close got %v", err)
		}
		if got, closed := m.take(nil); len(got) != 2 || !closed {
			t.Errorf("took %v, closed %v", got, closed)
		}
		m.force(1)
		m.wake()
		if err := m.keep(t.Context(), 1); err != broker.ErrClosed {
			t.Errorf("keep: %v", err)
		}
		<-m.ready
		if got, closed := m.take(nil); len(got) != 0 || !closed {
			t.Errorf("took %v, closed %v", got, closed)
		}
	})
}

func TestMailboxEpisodes(t *testing.T) {
	m := newMailbox[int](broker.OverflowDropOldest, 2, 100, 1)
	var begun []int
	push := func(n int) {
		for i := range n {
			if over, _ := m.push(t.Context(), entry[int]{}); over.first {
				begun = append(begun, i)
			}
		}
		m.take(nil)
	}
	push(5) // begins with the third
	push(5) // goes on
	push(1)
	push(4) // begins again
	if !slices.Equal(begun, []int{2, 2}) {
		t.Errorf("episodes began at %v", begun)
	}
}
