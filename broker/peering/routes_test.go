package peering

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
)

// TestRoutes adds and removes peers, and changes their filters. The candidates
// for a topic contain all its subscribers and, if there are many peers, no
// other peers.
func TestRoutes(t *testing.T) {
	filters := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "ab", "abc", "b", "c/", ""}), 0, 2)
	rapid.Check(t, func(t *rapid.T) {
		r := newRegistry()
		var peers []*link
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch i := rapid.IntRange(-10, len(peers)).Draw(t, "peer") - 1; {
			case i < 0: // often, so that there are many
				l := newTestLink(filters.Draw(t, "filter"))
				r.claims[l.claimed] = &claim{owner: l}
				r.add(l)
				peers = append(peers, l)
			case rapid.Bool().Draw(t, "leaves"):
				r.remove(peers[i])
				peers = slices.Delete(peers, i, i+1)
			default:
				peers[i].setFilter(filters.Draw(t, "filter"))
				r.reroute()
			}
			topic := rapid.SampledFrom([]string{"a", "abcd", "b/x", "c", "c/d"}).Draw(t, "topic")
			var want []*link
			for _, l := range peers {
				if l.subscribes(topic) {
					want = append(want, l)
				}
			}
			got := r.routes.Load().candidates(topic)
			if len(peers) <= fewPeers {
				got = slices.DeleteFunc(slices.Clone(got), func(l *link) bool { return !l.subscribes(topic) })
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d subscribe to %s, want %d", len(got), topic, len(want))
			}
		}
	})
}

// The number of cached topics is limited.
func TestRoutesAreBounded(t *testing.T) {
	r := &routes{}
	for range fewPeers + 1 {
		r.peers = append(r.peers, newTestLink([]string{"a"}))
	}
	for i := range 2 * maxRoutes {
		if got := r.candidates(fmt.Sprint("a", i)); len(got) != len(r.peers) {
			t.Fatalf("%d subscribe, want %d", len(got), len(r.peers))
		}
	}
	if len(r.byTopic) != maxRoutes {
		t.Errorf("%d topics are cached, want %d", len(r.byTopic), maxRoutes)
	}
}

func newTestLink(filter broker.Filter) *link {
	l := &link{claimed: uuid.New()}
	l.setFilter(filter)
	return l
}
