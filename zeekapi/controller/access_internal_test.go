package controller

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
)

// Refused peers that come and go leave nothing behind.
func TestGuardForgetsPeers(t *testing.T) {
	g := newGuard(&Access{}, zerolog.Nop())
	for i := range 100 {
		p := broker.Peer{ID: uuid.New()}
		if why, news := g.agent(p, fmt.Sprint(i)); why == nil || !news {
			t.Errorf("a peer may speak for an instance: %v, news %t", why, news)
		}
		g.lost(p)
	}
	if len(g.refused) > 0 || len(g.complaints.count) > 0 {
		t.Errorf("%d refusals and %d complaints are kept of peers that are gone", len(g.refused), len(g.complaints.count))
	}
}
