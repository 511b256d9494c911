package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	gorilla "github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// scriptedFeed returns the scripted batches, one for each call of Take.
type scriptedFeed struct {
	begun, ended chan broker.Filter
	more         chan struct{}

	mu      sync.Mutex
	batches [][]string
	lost    int
	err     error // after the batches
}

func newFeed(batches ...[]string) *scriptedFeed {
	return &scriptedFeed{
		begun: make(chan broker.Filter, 1), ended: make(chan broker.Filter, 1), more: make(chan struct{}), batches: batches,
	}
}

func (f *scriptedFeed) Begin(_ broker.Peer, topics broker.Filter) { f.begun <- topics }
func (f *scriptedFeed) End()                                      { f.ended <- nil }

func (f *scriptedFeed) Take(list [][]byte) ([][]byte, int, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := f.lost
	f.lost = 0
	if len(f.batches) == 0 {
		return list, lost, f.more, f.err
	}
	for _, text := range f.batches[0] {
		list = append(list, []byte(text))
	}
	f.batches = f.batches[1:]
	return list, lost, nil, nil
}

// add adds a batch after the first call of Take without one.
func (f *scriptedFeed) add(batch ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, batch)
	close(f.more)
	f.more = make(chan struct{})
}

// subscribeTo connects a client to a server with a feed, and reads the ack.
func subscribeTo(t *testing.T, f websocket.Feed, cfg websocket.ServerConfig) (*gorilla.Conn, *websocket.Server) {
	t.Helper()
	l := loopback(t)
	cfg.Feed = func(*http.Request) (websocket.Feed, error) { return f, nil }
	s := serve(t, l, cfg)
	c, _, err := gorilla.DefaultDialer.Dial("ws://"+l.Addr().String()+jsonv1.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.WriteMessage(gorilla.TextMessage, []byte(`["/a", "/b"]`)); err != nil {
		t.Fatal(err)
	}
	expectTexts(t, c, `"ack"`)
	return c, s
}

// expectTexts reads texts that begin with, or contain, those wanted.
func expectTexts(t *testing.T, c *gorilla.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		_, text, err := c.ReadMessage()
		if err != nil || !strings.Contains(string(text), w) {
			t.Fatalf("got %.100q, %v, want %.100q", text, err, w)
		}
	}
}

// expectClose reads the close frame.
func expectClose(t *testing.T, c *gorilla.Conn, code int, reason string) {
	t.Helper()
	var closed *gorilla.CloseError
	if _, text, err := c.ReadMessage(); !errors.As(err, &closed) || closed.Code != code || closed.Text != reason {
		t.Errorf("got %.100q, %v, want a close frame with %d %q", text, err, code, reason)
	}
}

// A client with a feed gets the ack, all texts of the feed in order, whatever their sizes,
// and what the server sends to it alone. It does not get what the server publishes.
func TestFeed(t *testing.T) {
	var first, all []string
	for n := range 100 {
		first = append(first, fmt.Sprint(n, strings.Repeat("x", n*300)))
	}
	all = append(all, first...)
	all = append(all, strings.Repeat("large", 100_000), "last")
	f := newFeed(first, all[len(first):])
	c, s := subscribeTo(t, f, websocket.ServerConfig{})
	if diff := cmp.Diff(broker.NewFilter("/a", "/b"), <-f.begun); diff != "" {
		t.Errorf("subscriptions (-want +got)\n%s", diff)
	}
	expectTexts(t, c, all...)
	if err := s.Publish(context.Background(), "/a", broker.Count(1)); err != nil {
		t.Fatal(err)
	}
	if known, err := s.PublishTo(context.Background(), s.Clients()[0].ID, "/a", broker.String("direct")); !known || err != nil {
		t.Fatal(known, err)
	}
	expectTexts(t, c, "direct")
	f.add("more")
	expectTexts(t, c, "more")
	c.Close()
	<-f.ended
}

// Close sends what the feed has.
func TestFeedAtClose(t *testing.T) {
	f := newFeed()
	c, s := subscribeTo(t, f, websocket.ServerConfig{})
	f.add("one")
	expectTexts(t, c, "one")
	f.mu.Lock()
	f.batches = [][]string{{"two"}, {"three"}}
	f.mu.Unlock()
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	expectTexts(t, c, "two", "three")
	expectClose(t, c, gorilla.CloseGoingAway, "Terminating")
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-f.ended
}

// A client whose feed fails is disconnected, and so is one that is no longer admitted.
func TestFeedEnds(t *testing.T) {
	t.Run("too slow", func(t *testing.T) {
		f := newFeed()
		c, _ := subscribeTo(t, f, websocket.ServerConfig{})
		f.mu.Lock()
		f.lost, f.err = 7, fmt.Errorf("behind: %w", broker.ErrOverflow)
		close(f.more)
		f.mu.Unlock()
		expectClose(t, c, gorilla.ClosePolicyViolation, "Too slow")
		<-f.ended
	})
	t.Run("failed", func(t *testing.T) {
		f := newFeed()
		f.err = errors.New("the disk is full")
		c, _ := subscribeTo(t, f, websocket.ServerConfig{})
		expectClose(t, c, gorilla.CloseInternalServerErr, "")
		<-f.ended
	})
	t.Run("not admitted", func(t *testing.T) {
		var refuses atomic.Bool
		f := newFeed()
		c, _ := subscribeTo(t, f, websocket.ServerConfig{Admits: func(broker.Peer) bool { return !refuses.Load() }})
		f.add("before")
		expectTexts(t, c, "before")
		refuses.Store(true)
		f.add("after")
		expectClose(t, c, gorilla.ClosePolicyViolation, "No longer admitted")
		<-f.ended
	})
}

// A request for which there is no feed is refused.
func TestFeedRefused(t *testing.T) {
	l := loopback(t)
	serve(t, l, websocket.ServerConfig{Feed: func(*http.Request) (websocket.Feed, error) { return nil, errors.New("no such event") }})
	_, resp, err := gorilla.DefaultDialer.Dial("ws://"+l.Addr().String()+jsonv1.Path, nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("got %v, %v, want the status 400", resp, err)
	}
}
