package websocket

import (
	"errors"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// A few large messages fill a queue, because its size in bytes is limited.
func TestQueuesCountBytes(t *testing.T) {
	large := make([]byte, 20<<20)
	out := newOut(100, broker.OverflowDisconnect, queue.Budget(1000))
	inbox := newInbox(100, broker.OverflowDisconnect, queue.Budget(1000))
	for i := range 4 {
		_, sent := pushText(t.Context(), out, large, 1)
		_, received := pushReceived(t.Context(), inbox, broker.Peer{}, jsonv1.Data{}, len(large))
		if full := i == 3; errors.Is(sent, broker.ErrOverflow) != full || errors.Is(received, broker.ErrOverflow) != full {
			t.Errorf("message %d of 20 MiB: sent %v, received %v", i, sent, received)
		}
	}
}
