package httpapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// Update is what a Stream returns. One of its pointers is set.
type Update struct {
	// ID is the number of the event, by which a stream can be resumed. It is 0 for
	// other updates.
	ID uint64

	Event   *zeekapi.ClusterEvent // of the cluster
	Job     *Job                  // that began, or ended
	Summary *Summary              // of the cluster, after a change, and at the begin of a stream
	Gap     *Gap                  // events are missing

	text func() ([]byte, error) // as Server-Sent Event; nil if no other stream has the update
}

// Gap means that events after a number are not kept by the controller. If the numbers of the
// events began again, because the controller has lost its state, Oldest is not larger than
// After.
type Gap struct {
	After  uint64 `zeek:"after"`  // number of the last event that was received
	Oldest uint64 `zeek:"oldest"` // number of the next one that there is
}

// keptUpdates is the number of updates that are kept for all streams together. A stream that
// is further behind ends.
const keptUpdates = 8192

// Errors of streams.
var (
	// ErrSlow ends a stream whose reader does not keep up.
	ErrSlow = errors.New("httpapi: the stream ended because its reader does not keep up; resume it with the last ID")

	// ErrStreams means that there are too many streams.
	ErrStreams = errors.New("too many streams")

	// ErrStandsBy ends the streams of a controller that no longer leads.
	ErrStandsBy = errors.New("httpapi: the controller stands by; connect again with the last ID, and follow the redirection to the leader")

	// ErrRevoked ends a stream of a client that is no longer accepted.
	ErrRevoked = errors.New("httpapi: the client is no longer accepted")

	errEnding = errors.New("httpapi: the server ends")
)

// Times of summaries.
const (
	summaryPause = time.Second      // between two summaries
	summaryEvery = 10 * time.Second // without events, while there are streams
)

// hub distributes updates to streams. Its methods may be called concurrently.
type hub struct {
	reader  *client.Client
	status  *statusCache
	posts   *posts
	limits  Limits
	running sync.WaitGroup
	ctx     context.Context // ends with the server
	stirred chan struct{}   // has room for one: the cluster may have changed

	mu       sync.Mutex
	ring     []Update // the last ones
	next     uint64   // number of the next update
	changed  chan struct{}
	streams  map[*Stream]bool
	byClient map[string]int
	summary  *Summary
	standsBy bool // all streams end
}

func newHub(ctx context.Context, reader *client.Client, status *statusCache, p *posts, limits Limits) *hub {
	h := &hub{
		reader: reader, status: status, posts: p, limits: limits, ctx: ctx, stirred: make(chan struct{}, 1),
		changed: make(chan struct{}), streams: make(map[*Stream]bool), byClient: make(map[string]int),
	}
	h.running.Go(h.summarize)
	h.running.Go(h.watchPost)
	return h
}

// event takes an event of the controller.
func (h *hub) event(e zeekapi.ClusterEvent) {
	h.publish(Update{ID: e.Number, Event: &e})
	h.stir()
}

func (h *hub) stir() {
	select {
	case h.stirred <- struct{}{}:
	default:
	}
}

func (h *hub) publish(u Update) {
	shared := u
	u.text = sync.OnceValues(func() ([]byte, error) { return eventOf(shared) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < keptUpdates {
		h.ring = append(h.ring, u)
	} else {
		h.ring[h.next%keptUpdates] = u
	}
	h.next++
	close(h.changed)
	h.changed = make(chan struct{})
}

// summarize publishes summaries while there are streams.
func (h *hub) summarize() {
	idle := time.NewTicker(summaryEvery)
	defer idle.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.stirred:
		case <-idle.C:
		}
		if h.count() == 0 {
			continue
		}
		h.renew()
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(summaryPause):
		}
	}
}

// renew publishes the summary if it has changed.
func (h *hub) renew() {
	status, err := h.status.get(h.ctx)
	if err != nil {
		return // the next attempt comes soon
	}
	fresh := summaryOf(status.Status)
	h.mu.Lock()
	same := h.summary != nil && *h.summary == fresh
	h.summary = &fresh
	h.mu.Unlock()
	if !same {
		h.publish(Update{Summary: &fresh})
	}
}

// restart ends all streams, because events are missing.
func (h *hub) restart() {
	h.mu.Lock()
	h.ring = make([]Update, keptUpdates)
	h.next += keptUpdates + 1
	h.mu.Unlock()
	h.recheck()
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// recheck wakes all streams, which then check that their clients are still accepted.
func (h *hub) recheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

// close waits for the goroutine of the hub, after the server's context has ended.
func (h *hub) close() { h.running.Wait() }

// Stream is a sequence of updates for one client. Its methods must not be called
// concurrently.
type Stream struct {
	hub     *hub
	client  string
	allowed func() bool
	pending []Update // before those of the hub
	at      uint64   // number of the next update of the hub
	last    uint64   // number of the last event
}

// Follow returns a stream of updates for a principal, which may outlive the request. The
// first updates are a summary of the cluster, and the events after the one with the given
// number, as far as the controller has kept them; if some are missing, a Gap comes first.
// With a nil number, the stream begins with the next event. The caller must Close it.
func (s *Server) Follow(ctx context.Context, p *Principal, after *uint64) (*Stream, error) {
	peer := p.peer
	st := &Stream{hub: s.hub, client: p.key(), allowed: func() bool { return s.Role(peer) != access.None }}
	if p.How == BySession {
		expires := p.Expires
		role := st.allowed
		st.allowed = func() bool { return role() && s.sessions.now().Before(expires) }
	}
	if err := s.hub.enter(st); err != nil {
		return nil, err
	}
	if err := st.begin(ctx, after); err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

// enter adds a stream.
func (h *hub) enter(s *Stream) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= h.limits.Streams || h.byClient[s.client] >= h.limits.StreamsPerClient {
		return ErrStreams
	}
	h.standsBy = false // the caller has checked that
	h.streams[s] = true
	h.byClient[s.client]++
	s.at = h.next
	return nil
}

// begin collects the updates before those of the hub.
func (s *Stream) begin(ctx context.Context, after *uint64) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	status, err := s.hub.status.get(ctx)
	if err != nil {
		return err
	}
	summary := summaryOf(status.Status)
	s.pending = append(s.pending, Update{Summary: &summary})
	if after == nil {
		return nil
	}
	from := *after
	events, err := s.hub.reader.Events(ctx, 0, 0)
	if err != nil {
		return err
	}
	again := len(events) > 0 && events[len(events)-1].Number < from
	if len(events) > 0 && from > 0 && (again || events[0].Number > from+1) {
		s.pending = append(s.pending, Update{Gap: &Gap{After: from, Oldest: events[0].Number}})
	}
	if again {
		from = 0 // the numbers began again, because the controller lost its state
	}
	s.last = from
	for _, e := range events {
		if e.Number > from {
			s.pending = append(s.pending, Update{ID: e.Number, Event: &e})
		}
	}
	return nil
}

// Next returns the next update. It waits until there is one, or ctx ends, whose cause it
// then returns. The other errors end the stream: ErrSlow, ErrRevoked, and one when the
// server ends.
func (s *Stream) Next(ctx context.Context) (Update, error) {
	for {
		updates, changed, err := s.take(1)
		switch {
		case len(updates) > 0:
			return updates[0], nil
		case err != nil:
			return Update{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Update{}, context.Cause(ctx)
		case <-s.hub.ctx.Done():
			return Update{}, errEnding
		}
	}
}

// take returns the updates that there are, but not more than most. It also returns a channel
// that is closed when there may be others. It may return both updates and an error.
func (s *Stream) take(most int) (updates []Update, changed <-chan struct{}, err error) {
	if !s.allowed() {
		return nil, nil, ErrRevoked
	}
	n := min(most, len(s.pending))
	updates, s.pending = s.pending[:n:n], s.pending[n:]
	if len(s.pending) == 0 {
		s.pending = nil
	}
	for _, u := range updates {
		s.last = max(s.last, u.ID)
	}
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.standsBy {
		return updates, nil, ErrStandsBy
	}
	for ; len(updates) < most && s.at < h.next; s.at++ {
		if h.next-s.at > keptUpdates {
			return updates, nil, ErrSlow
		}
		u := h.ring[s.at%keptUpdates]
		if u.ID == 0 || u.ID > s.last { // or else the controller's list had it
			s.last = max(s.last, u.ID)
			updates = append(updates, u)
		}
	}
	return updates, h.changed, nil
}

// Close ends the stream. Further calls do nothing.
func (s *Stream) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.streams[s] {
		return
	}
	delete(h.streams, s)
	if h.byClient[s.client]--; h.byClient[s.client] == 0 {
		delete(h.byClient, s.client)
	}
}
