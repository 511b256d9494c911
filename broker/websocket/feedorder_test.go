package websocket

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
)

// The writing goroutine does not take messages of the feed before the ack, whenever the reading
// goroutine queues that.
func TestFeedFollowsAck(t *testing.T) {
	for range 50_000 {
		acked := false
		c := &conn{out: newOut(1, broker.OverflowBlock, 1), ctx: t.Context()}
		c.fed = func([][]byte) ([][]byte, <-chan struct{}) {
			if !acked {
				t.Error("the feed was asked for messages before the ack was sent")
			}
			return nil, nil
		}
		go func() { // as subscribe does
			_ = c.out.Keep(c.ctx, []byte("ack"))
			c.feeding.Store(true)
			c.out.Wake()
		}()
		text, err := c.nextQueued()
		if acked = true; err != nil || string(text) != "ack" {
			t.Fatalf("got %q, %v, want the ack", text, err)
		}
		if t.Failed() {
			return
		}
	}
}
