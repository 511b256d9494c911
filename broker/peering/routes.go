package peering

import "sync"

// routes are the peers and a cache of the subscribers of each topic. They are
// replaced when a peer is added, lost or changes its subscriptions.
type routes struct {
	peers []*link

	mu      sync.RWMutex
	byTopic map[string][]*link // the cache
}

const (
	// For at most fewPeers, trying each is faster than the cache.
	fewPeers = 8

	// maxRoutes limits the cache, as the number of topics is not limited.
	maxRoutes = 1000
)

// candidates returns a superset of the subscribers of topic: those in the cache
// or, if there are few peers, all peers.
func (r *routes) candidates(topic string) []*link {
	if len(r.peers) <= fewPeers {
		return r.peers
	}
	r.mu.RLock()
	found, known := r.byTopic[topic]
	r.mu.RUnlock()
	if known {
		return found
	}
	for _, l := range r.peers {
		if l.subscribes(topic) {
			found = append(found, l)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byTopic == nil {
		r.byTopic = make(map[string][]*link)
	}
	if len(r.byTopic) < maxRoutes {
		r.byTopic[topic] = found
	}
	return found
}
