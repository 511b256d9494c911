package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// beatInterval is the interval of signs of life. The visitor's permission is checked as often.
const beatInterval = 10 * time.Second

// stream sends a view, and then the parts that change, until the visitor leaves or may
// not read any more. Messages are:
//
//   - page: the content of the main element, and its title before the first line break
//   - parts: elements that replace those with the same ID
//   - beat: a sign of life
//   - end: the visitor must load the page again
func (c *Console) stream(w http.ResponseWriter, r *http.Request, v Visitor, show viewFunc) {
	leave, err := c.streams.enter(v)
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	}
	defer leave()
	c.server.Leave(r)
	s := &liveStream{out: httpapi.NewEventWriter(w)}
	beat := time.NewTicker(c.beat)
	defer beat.Stop()
	for {
		c.watch.look()
		_, changed := c.watch.get()
		poll, err := s.update(c, r, v, show)
		if err != nil {
			return
		}
		var again <-chan time.Time
		if poll > 0 {
			again = time.After(poll)
		}
	wait:
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-again:
		case <-beat.C:
			visitor, err := c.visitor(r)
			if err != nil || visitor.Role != v.Role {
				_ = s.send("end", "") // the stream ends anyway
				return
			}
			if s.send("beat", "") != nil {
				return
			}
			c.watch.look()
			goto wait
		}
	}
}

// maxStreams limits the streams of all visitors, and a quarter of it those of one.
const maxStreams = 512

// streams counts streams by visitor.
type streams struct {
	limit int

	mu  sync.Mutex
	all int
	by  map[string]int
}

// enter adds a stream of a visitor until leave is called.
func (s *streams) enter(v Visitor) (leave func(), err error) {
	key := v.key()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.limit || s.by[key] >= max(1, s.limit/4) {
		return nil, errors.New("too many pages are open")
	}
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.all++
	s.by[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.by[key]--; s.by[key] == 0 {
			delete(s.by, key)
		}
	}, nil
}

// liveStream is a stream of a page, and what the visitor has.
type liveStream struct {
	out  *httpapi.EventWriter
	sent *page
}

// update sends what has changed. It returns the interval for the next update, 0 for none.
func (s *liveStream) update(c *Console, r *http.Request, v Visitor, show viewFunc) (time.Duration, error) {
	x, err := show(r, v)
	if err != nil {
		x = view{Name: "failure", Title: "Error", Data: err.Error()}
	}
	p, err := c.render(r, v, x)
	if err != nil {
		return 0, err
	}
	before := s.sent
	s.sent = p
	changed, all := changedParts(before, p)
	switch {
	case all:
		err = s.send("page", strings.ReplaceAll(p.Title, "\n", " ")+"\n"+string(p.Main))
	case changed != "":
		err = s.send("parts", changed)
	}
	return x.Poll, err
}

// changedParts returns the parts of a page that differ from an earlier rendering, or
// all = true if something else differs.
func changedParts(before, now *page) (parts string, all bool) {
	if before == nil || before.Title != now.Title || before.rest() != now.rest() {
		return "", true
	}
	var b strings.Builder
	for i, p := range now.parts {
		if p != before.parts[i] {
			b.WriteString(p.html)
		}
	}
	return b.String(), false
}

// rest returns the main element with the IDs of the parts in place of the parts.
func (p *page) rest() string {
	var b strings.Builder
	main := string(p.Main)
	for _, x := range p.parts {
		before, after, _ := strings.Cut(main, x.html)
		b.WriteString(before + "\x00" + x.id + "\x00")
		main = after
	}
	return b.String() + main
}

// send sends a message.
func (s *liveStream) send(event, data string) error { return s.out.Write("", event, []byte(data)) }

// within limits a request of a visitor to the controller.
func within(r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), limit)
}
