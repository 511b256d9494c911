package peering

import "sync"

// routes are the peers, and who of them subscribes to what. When a peer comes,
// goes or subscribes to something else they are replaced.
type routes struct {
	peers []*link

	mu      sync.RWMutex
	byTopic map[string][]*link // as far as it has been asked for
}

const (
	// fewPeers are faster to try one by one than to look up.
	fewPeers = 8

	// maxRoutes bounds what is remembered, topics may be without end. Those
	// that come later are looked for each time.
	maxRoutes = 1000
)

// candidates returns the peers among whom are all that subscribe to topic: those
// that did when they were looked for or, if there are few, all peers.
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
