package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// The pending requests that MaxRequests limits are divided among the peers that have
// some: with k such peers, each may have MaxRequests/k, but at least one request. So no
// peer can use up the share of another. A peer keeps more if it began them before the
// others came.

// gone is the peer of the requests of all peers that were lost.
var gone = uuid.Max

// limited returns the pending requests that MaxRequests limits.
func (m *Machine) limited() (all []*request) {
	for _, w := range m.waits.restarts {
		all = append(all, &w.request)
	}
	for _, r := range m.restarts.pending {
		all = append(all, &r.request)
	}
	for _, t := range m.trials.pending {
		all = append(all, &t.request)
	}
	for _, d := range m.dispatches.pending {
		all = append(all, &d.request)
	}
	for i := range m.figures.waiting {
		all = append(all, &m.figures.waiting[i])
	}
	for _, l := range m.listings.pending {
		all = append(all, &l.request)
	}
	return all
}

// shares returns the number of pending requests of each peer that has some.
func (m *Machine) shares() map[uuid.UUID]int {
	shares := make(map[uuid.UUID]int)
	for _, r := range m.limited() {
		shares[r.peer]++
	}
	return shares
}

// busy reports whether a peer has used up its share.
func (m *Machine) busy(peer uuid.UUID) bool {
	shares := m.shares()
	own := shares[peer]
	shares[peer] = own + 1
	delete(shares, gone)
	return own >= max(1, MaxRequests/len(shares))
}

// forsake keeps the requests of a lost peer, because Zeek's controllers accept responses
// after they have connected again. If there are more than MaxRequests from lost peers, it
// gives up those of this one: a peer that connects again and again gets no more.
func (m *Machine) forsake(peer uuid.UUID) {
	shares := m.shares()
	if shares[peer]+shares[gone] > MaxRequests {
		m.abandon(peer)
		return
	}
	for _, r := range m.limited() {
		if r.peer == peer {
			r.peer = gone
		}
	}
}

// abandon responds to the limited requests of a peer, and waits for them no longer.
func (m *Machine) abandon(peer uuid.UUID) {
	given := func(r request) bool {
		if r.peer == peer {
			m.out.refuse(r, errorBusy)
		}
		return r.peer == peer
	}
	m.waits.restarts = slices.DeleteFunc(m.waits.restarts, func(w *wait) bool { return given(w.request) })
	m.restarts.pending = slices.DeleteFunc(m.restarts.pending, func(r *restart) bool { return given(r.request) })
	m.trials.pending = slices.DeleteFunc(m.trials.pending, func(t *trial) bool { return given(t.request) })
	for _, id := range slices.Sorted(maps.Keys(m.dispatches.pending)) {
		if given(m.dispatches.pending[id].request) {
			delete(m.dispatches.pending, id)
		}
	}
	m.figures.waiting = slices.DeleteFunc(m.figures.waiting, given)
	for _, id := range slices.Sorted(maps.Keys(m.listings.pending)) {
		if given(m.listings.pending[id].request) {
			delete(m.listings.pending, id)
		}
	}
}

// checkShares returns an error if peers have more pending requests than they may have. Of
// the peers with the most, the k-th one has at most MaxRequests/k, or one.
func (m *Machine) checkShares() error {
	shares := m.shares()
	var errs []error
	if n := shares[gone]; n > MaxRequests {
		errs = append(errs, fmt.Errorf("%d requests of lost peers wait, limit is %d", n, MaxRequests))
	}
	delete(shares, gone)
	for i, n := range slices.Backward(slices.Sorted(maps.Values(shares))) {
		if k := len(shares) - i; n > max(1, MaxRequests/k) {
			errs = append(errs, fmt.Errorf("%d requests of a peer wait, which is number %d, limit is %d", n, k, max(1, MaxRequests/k)))
		}
	}
	return errors.Join(errs...)
}
