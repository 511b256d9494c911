package failover

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// peers are the proxies in front of the members of etcd, which the other members use.
type peers struct {
	all []*peerProxy
	ids []string // of the members
}

// peerProxy is the proxy in front of a member. Each request of another member has the
// number of that one, so that the proxy can hold the bytes of some members only.
type peerProxy struct {
	*proxy

	mu   sync.Mutex
	from map[string]*gates // by ID of the other member
}

func newPeerProxy(t *testing.T, target string) *peerProxy {
	p := &peerProxy{from: make(map[string]*gates)}
	p.proxy = newProxyWith(t, target, p.route)
	return p
}

var fromMember = regexp.MustCompile(`(?i)\r\nX-Server-From: ([0-9a-f]+)\r\n`)

// route returns the gates of the member that sent a request, nil if it does not say that.
func (p *peerProxy) route(request []byte) *gates {
	m := fromMember.FindSubmatch(request)
	if m == nil {
		return nil
	}
	return p.gatesOf(string(m[1]))
}

func (p *peerProxy) gatesOf(id string) *gates {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.from[id]
	if g == nil {
		g = newGates()
		p.from[id] = g
	}
	return g
}

func (p *peerProxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.from {
		g.release()
	}
}

// identify finds the IDs of the members.
func (w *world) identify() {
	w.t.Helper()
	w.peers.ids = make([]string, members)
	for line := range strings.Lines(w.etcd.Control("member", "list")) {
		var n int
		fields := strings.Split(strings.TrimSpace(line), ", ")
		if len(fields) < 3 {
			w.t.Fatalf("member %q", line)
		}
		if _, err := fmt.Sscanf(fields[2], "m%d", &n); err != nil {
			w.t.Fatalf("member %q: %v", line, err)
		}
		w.peers.ids[n] = fields[0]
	}
}

// cut holds what one member of etcd sends to another. A member sends its messages in
// requests, and in the responses to requests of the other one.
func (p *peers) cut(from, to int) {
	p.all[to].gatesOf(p.ids[from]).hold(true, false)
	p.all[from].gatesOf(p.ids[to]).hold(false, true)
}

func (p *peers) release() {
	for _, one := range p.all {
		one.release()
	}
}
