package intake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// conn is a connection with an account, and the error with which it ended.
type conn struct {
	*Account
	done chan struct{}
	err  error
}

func open(p *Pool) *conn {
	c := &conn{done: make(chan struct{})}
	c.Account = p.Account(c.done, func(err error) {
		if c.err != nil {
			panic("a connection ended twice")
		}
		c.err = err
		close(c.done)
		c.Done() // as its reader does
	})
	return c
}

// receive begins a message and takes n bytes for it.
func (c *conn) receive(t *testing.T, n int) {
	t.Helper()
	c.Begin(1)
	if err := c.Take(n); err != nil {
		t.Fatal(err)
	}
}

func TestSlowestOfTheLargestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Bytes: 1000})
		small, slow, quick := open(p), open(p), open(p)
		small.receive(t, 100)
		time.Sleep(time.Second)
		slow.receive(t, 400)
		time.Sleep(2 * time.Second)
		quick.receive(t, 450)
		quick.receive(t, 400) // 1000 bytes are taken without slow
		if !errors.Is(slow.err, ErrMemory) || small.err != nil || quick.err != nil {
			t.Errorf("ended: slow %v, small %v, quick %v", slow.err, small.err, quick.err)
		}
		if err := slow.Take(1); !errors.Is(err, ErrMemory) {
			t.Errorf("taking after the end: %v", err)
		}
		slow.Done()
		if p.Used() != 950 {
			t.Errorf("%d bytes are used", p.Used())
		}
		small.Done()
		quick.Done()
		if p.Used() != 0 || len(p.accounts) != 0 {
			t.Errorf("%d bytes of %d accounts are used", p.Used(), len(p.accounts))
		}
	})
}

func TestLargestOfTheFastEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Bytes: 1000})
		large, medium, last := open(p), open(p), open(p)
		medium.receive(t, 400)
		time.Sleep(time.Millisecond)
		large.receive(t, 500)
		last.receive(t, 350)
		if !errors.Is(large.err, ErrMemory) || medium.err != nil || last.err != nil {
			t.Errorf("ended: large %v, medium %v, last %v", large.err, medium.err, last.err)
		}
	})
}

func TestProgressSavesAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Bytes: 1000})
		first, second, third := open(p), open(p), open(p)
		first.receive(t, 450)
		time.Sleep(time.Second)
		second.receive(t, 450)
		time.Sleep(2 * time.Second)
		first.Arrived(Step)
		third.receive(t, 400)
		if first.err != nil || !errors.Is(second.err, ErrMemory) {
			t.Errorf("ended: first %v, second %v", first.err, second.err)
		}
	})
}

func TestTooLargeForThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Bytes: 1000})
		c, other := open(p), open(p)
		other.receive(t, 10)
		c.receive(t, 900)
		if err := c.Take(200); !errors.Is(err, ErrMemory) || !errors.Is(c.err, ErrMemory) || other.err != nil {
			t.Errorf("got %v, ended with %v, other with %v", err, c.err, other.err)
		}
	})
}

func TestStalledMessageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{})
		slow, fast, idle := open(p), open(p), open(p)
		for _, c := range []*conn{slow, fast, idle} {
			c.receive(t, 10)
		}
		idle.Complete() // waits for delivery
		for range 600 {
			time.Sleep(DefaultTimeout / 4)
			slow.Arrived(100)
			fast.Arrived(Step/3 + 1)
		}
		if !errors.Is(slow.err, ErrStalled) || fast.err != nil || idle.err != nil {
			t.Errorf("ended: slow %v, fast %v, idle %v", slow.err, fast.err, idle.err)
		}
		if p.Used() != 20 {
			t.Errorf("%d bytes are used", p.Used())
		}
		idle.Done()
		fast.Done()
	})
}

// TestSlowLink receives a message of 60 MB, and one of 512 KiB, at 20 kbit/s.
func TestSlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{})
		for _, size := range []int{512 << 10, 60_000_000} {
			c := open(p)
			c.Begin(4)
			began := time.Now()
			for left := size; left > 0; left -= 1400 {
				time.Sleep(1400 * time.Second / 2500)
				c.Arrived(1400)
			}
			c.Complete()
			if c.err != nil {
				t.Errorf("a message of %d bytes ended after %s: %v", size, time.Since(began), c.err)
			}
		}
	})
}

func TestWaitForDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Limits{Bytes: 1000})
		complete, next, third := open(p), open(p), open(p)
		complete.receive(t, 900)
		complete.Complete()
		taken := make(chan error, 1)
		go func() {
			next.Begin(1)
			taken <- next.Take(200)
		}()
		go func() {
			third.Begin(1)
			if err := third.Take(200); !errors.Is(err, context.Canceled) {
				t.Errorf("a connection that ended while waiting got %v", err)
			}
		}()
		time.Sleep(time.Hour) // without progress, which is not the peer's fault
		close(third.done)
		synctest.Wait()
		if len(taken) > 0 || next.err != nil || complete.err != nil {
			t.Errorf("next ended with %v, complete with %v", next.err, complete.err)
		}
		complete.Done()
		if err := <-taken; err != nil {
			t.Error(err)
		}
		third.Done()
		next.Done()
		if p.Used() != 0 {
			t.Errorf("%d bytes are used", p.Used())
		}
	})
}

func TestTurns(t *testing.T) {
	p := NewPool(Limits{})
	var ends []func()
	for range maxTurns {
		end, err := p.Turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended")
	cancel(ended)
	if _, err := p.Turn(ctx); err != ended {
		t.Errorf("got %v", err)
	}
	ends[0]()
	if _, err := p.Turn(t.Context()); err != nil {
		t.Error(err)
	}
}
