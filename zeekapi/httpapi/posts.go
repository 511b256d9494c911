package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// This file is about a controller that stands by, while another one leads. It answers what it
// can from the stored state, and sends the rest to the leader.

// Leader is the leader of several controllers.
type Leader struct {
	Name    string `json:"name"`
	Clients string `json:"clients,omitempty"` // address for WebSockets, HOST:PORT
	Agents  string `json:"agents,omitempty"`  // address for the native protocol, HOST:PORT
	HTTP    string `json:"http,omitempty"`    // such as https://controller-1:9990
	Term    uint64 `json:"term"`
}

// awayError means that another controller must serve the request.
type awayError struct {
	zeekapi.NotLeader
	text string
}

func (e *awayError) Error() string { return e.text }

// write redirects a request to the leader. Without the leader's address for HTTP, the response
// names the leader, if there is one.
func (e *awayError) write(w http.ResponseWriter, r *http.Request) {
	p := Problem{Status: http.StatusServiceUnavailable, Detail: e.text}
	switch m := e.Leader; {
	case m.Name == "": // until there is a leader
		w.Header().Set("Retry-After", "2")
	case m.HTTP == "":
		p.Status = http.StatusMisdirectedRequest
	default:
		p.Status = http.StatusTemporaryRedirect
		w.Header().Set("Location", m.HTTP+r.URL.RequestURI())
	}
	if m := e.Leader; m.Name != "" {
		p.Leader = &Leader{Name: m.Name, Clients: m.Clients, Agents: m.Agents, HTTP: m.HTTP, Term: e.Term}
	}
	p.Title = http.StatusText(p.Status)
	writeProblem(w, r, p)
}

// postAge is the largest age of the known position of a controller that leads. One that stands
// by is asked each time, because it may lead now, and the former leader would send clients
// back here.
const postAge = time.Second

// postTimeout limits the wait for the position. Then it is unknown, and the request is served
// as that of a leader.
const postTimeout = 2 * time.Second

// posts knows whether the controller leads. It may be used concurrently.
type posts struct {
	reader *client.Client
	asking sync.Mutex // held by the request that asks a leader, while others use the last answer

	mu   sync.Mutex
	last zeekapi.Controllers
	at   time.Time // of last
}

func newPosts(reader *client.Client) *posts { return &posts{reader: reader} }

// get returns the controllers. It uses the last answer of a leader for postAge. The controller
// answers at once.
func (p *posts) get(ctx context.Context) (zeekapi.Controllers, error) {
	p.mu.Lock()
	last, at := p.last, p.at
	p.mu.Unlock()
	alone := last.Leads && len(last.Members) == 0 // and stays so, because its state is in a file
	if alone || last.Leads && time.Since(at) < postAge {
		return last, nil
	}
	if last.Leads {
		if !p.asking.TryLock() {
			return last, nil
		}
		defer p.asking.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	now, err := p.reader.Controllers(ctx)
	if err != nil {
		return now, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.at = now, time.Now()
	return now, nil
}

// standsBy reports whether a controller stands by. A leader without connection to the store
// does not know whether it leads; it serves requests as far as it can.
func standsBy(c zeekapi.Controllers) bool { return !c.Leads && !c.AsOf.IsZero() }

// leads returns an *awayError if the controller stands by.
func (p *posts) leads(ctx context.Context) error {
	all, err := p.get(ctx)
	if err != nil || !standsBy(all) {
		return nil //nolint:nilerr // the request itself will show it
	}
	leader, ok := all.Leader()
	text := "this controller stands by; no controller leads at present, try again in some seconds"
	if ok {
		text = "this controller stands by; controller " + strconv.Quote(leader.Name) + " leads: send the request there"
	}
	return &awayError{zeekapi.NotLeader{Leader: leader, Term: all.Term}, text}
}

// dated marks a response that comes from stored state with the age of that state. It is called
// before the request: at a take-over, a response of the new leader may have an age, but none
// from stored state lacks it.
func (s *Server) dated(w http.ResponseWriter, r *http.Request) {
	all, err := s.posts.get(r.Context())
	if err != nil || !standsBy(all) {
		return
	}
	w.Header().Set(zeekapi.AsOfHeader, all.AsOf.UTC().Format(time.RFC3339))
	w.Header().Set("Age", strconv.Itoa(max(0, int(time.Since(all.AsOf).Seconds()))))
	if leader, ok := all.Leader(); ok && leader.HTTP != "" {
		w.Header().Add("Link", "<"+leader.HTTP+r.URL.EscapedPath()+`>; rel="canonical"`)
	}
}

// watchPost ends the streams when the controller no longer leads, so that their clients
// resume them at the leader.
func (h *hub) watchPost() {
	tick := time.NewTicker(postAge)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		if h.count() == 0 {
			continue
		}
		err := h.posts.leads(h.ctx)
		h.mu.Lock()
		ended := err != nil && !h.standsBy
		h.standsBy = err != nil
		h.mu.Unlock()
		if ended {
			h.recheck()
		}
	}
}
