package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// member is a queue with a total, and whether the total ended it.
type member struct {
	*Queue[int]
	ended bool
}

func (m *member) push(t *testing.T, size, shared int) {
	t.Helper()
	if _, err := m.Push(t.Context(), Entry[int]{Size: size, Shared: shared}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func join(total *Total, policy broker.Overflow, loose int) *member {
	m := new(member)
	m.Queue = New[int](Limits{Policy: policy, Loose: loose, Bytes: 1 << 30, Kept: 10, Total: total, Full: func() {
		m.ended = true
		m.Discard()
	}})
	return m
}

func TestTotalEndsTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := NewTotal(1000)
		small, slow, fast := join(total, broker.OverflowBlock, 100), join(total, broker.OverflowBlock, 100), join(total, broker.OverflowBlock, 100)
		small.push(t, 100, 0)
		for range 2 {
			slow.push(t, 200, 0)
			fast.push(t, 200, 0)
		}
		time.Sleep(2 * patience)
		fast.TryNext() // in use until the next call, but progress
		if fast.TryNext(); total.Used() != 700 {
			t.Errorf("%d bytes are used", total.Used())
		}
		fast.push(t, 400, 0)
		if small.ended || !slow.ended || fast.ended || total.Used() != 700 {
			t.Errorf("ended: small %v, slow %v, fast %v; %d bytes are used", small.ended, slow.ended, fast.ended, total.Used())
		}
		small.Discard()
		fast.Discard()
		if total.Used() != 0 || len(total.shares) != 0 {
			t.Errorf("%d bytes of %d queues are used", total.Used(), len(total.shares))
		}
	})
}

func TestTotalAllowsABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := NewTotal(1000)
		var members []*member
		for range 30 {
			m := join(total, broker.OverflowBlock, 100)
			m.push(t, 100, 0)
			members = append(members, m)
		}
		for i, m := range members {
			if m.ended {
				t.Errorf("queue %d has ended", i)
			}
			m.Discard()
		}
		// There is a limit for bursts, too.
		large, other := join(total, broker.OverflowBlock, 100), join(total, broker.OverflowBlock, 100)
		other.push(t, 1000, 0)
		large.push(t, 3500, 0)
		if !large.ended || other.ended || total.Used() != 1000 {
			t.Errorf("ended: large %v, other %v; %d bytes are used", large.ended, other.ended, total.Used())
		}
	})
}

func TestTotalCountsSharedAndDroppedItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := NewTotal(1000)
		a, b := join(total, broker.OverflowDropOldest, 2), join(total, broker.OverflowDropNewest, 2)
		for range 5 {
			a.push(t, 100, 2)
			b.push(t, 100, 2)
		}
		if err := a.Keep(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if total.Used() != 200 {
			t.Errorf("%d bytes are used", total.Used())
		}
		a.Discard()
		b.Discard()
		if total.Used() != 0 {
			t.Errorf("%d bytes are used at the end", total.Used())
		}
	})
}
