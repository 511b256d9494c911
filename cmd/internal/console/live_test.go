package console

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// events is a stream of a page.
type events struct {
	*lab
	lines *bufio.Scanner
}

// follow opens the stream of a page.
func (l *lab) follow(path string) *events {
	l.Helper()
	resp := l.send(http.MethodGet, path, nil, "Accept", "text/event-stream")
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		l.Fatalf("the stream of %s is %s, %q", path, resp.Status, kind)
	}
	e := &events{l, bufio.NewScanner(resp.Body)}
	e.lines.Buffer(nil, 1<<20)
	return e
}

// next returns the next event that is no sign of life.
func (e *events) next() (kind, data string) {
	e.Helper()
	var lines []string
	for e.lines.Scan() {
		line := e.lines.Text()
		if value, ok := strings.CutPrefix(line, "event: "); ok {
			kind = value
		} else if value, ok := strings.CutPrefix(line, "data: "); ok {
			lines = append(lines, value)
		} else if line == "" && kind != "beat" {
			return kind, strings.Join(lines, "\n")
		} else if line == "" {
			lines = nil
		}
	}
	e.Fatalf("the stream has ended: %v", e.lines.Err())
	return "", ""
}

// TestStream sends a page, and then only the parts that change.
func TestStream(t *testing.T) {
	l := sample(t, access.Full)
	s := l.follow("/")
	kind, data := s.next()
	if kind != "page" || !strings.HasPrefix(data, "Overview\n") || !strings.Contains(data, "All is well") {
		t.Fatalf("the first event is %s: %s", kind, data)
	}
	if err := l.controller.Agent("beta").Change(t.Context(), "worker-2", zeekapi.StateCrashed); err != nil {
		t.Fatal(err)
	}
	for {
		kind, data = s.next()
		if kind != "parts" {
			t.Fatalf("%s: %s", kind, data)
		}
		if strings.Contains(data, "is crashed") {
			break
		}
	}
	if strings.Contains(data, `id="m-alpha"`) {
		t.Errorf("a machine that did not change is sent: %s", data)
	}
}

// TestStreamIsDenied ends the stream of a client that is no longer accepted, and limits the streams
// of each.
func TestStreamIsDenied(t *testing.T) {
	l := sample(t, access.ReadOnly)
	l.console.beat = 50 * time.Millisecond
	l.console.streams.limit = 8
	s := l.follow("/")
	s.next()
	l.follow("/events")
	if resp, _ := l.request(http.MethodGet, "/", nil, "Accept", "text/event-stream"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third stream of four: %s", resp.Status)
	}
	l.setClients("carol full token:0123456789-0123456789\n")
	for {
		if kind, _ := s.next(); kind == "end" {
			return
		}
	}
}

// hasty is a response with a read deadline that is always short.
type hasty struct{ http.ResponseWriter }

func (h hasty) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hasty) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		at = time.Now().Add(50 * time.Millisecond)
	}
	return http.NewResponseController(h.ResponseWriter).SetReadDeadline(at)
}

// TestStreamOutlivesReadDeadline checks that a stream does not end with the time that the
// server allows for sending a request.
func TestStreamOutlivesReadDeadline(t *testing.T) {
	l := sample(t, access.Full)
	t.Cleanup(l.server.Close)
	l.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.api.ServeHTTP(hasty{w}, r) }))
	s := l.follow("/")
	s.next()
	time.Sleep(100 * time.Millisecond)
	if err := l.controller.Agent("beta").Change(t.Context(), "worker-2", zeekapi.StateCrashed); err != nil {
		t.Fatal(err)
	}
	for {
		if _, data := s.next(); strings.Contains(data, "is crashed") {
			return
		}
	}
}

// TestParts compares renderings.
func TestParts(t *testing.T) {
	a := &page{Main: "<p>x</p><i id=a>1</i>-<i id=b>2</i>.", parts: []part{{"a", "<i id=a>1</i>"}, {"b", "<i id=b>2</i>"}}}
	b := &page{Main: "<p>x</p><i id=a>1</i>-<i id=b>3</i>.", parts: []part{{"a", "<i id=a>1</i>"}, {"b", "<i id=b>3</i>"}}}
	c := &page{Main: "<p>y</p><i id=a>1</i>-<i id=b>3</i>.", parts: b.parts}
	d := &page{Main: "<p>y</p><i id=a>1</i>-.", parts: b.parts[:1]}
	for _, test := range []struct {
		before, now *page
		parts       string
		all         bool
	}{{nil, a, "", true}, {a, a, "", false}, {a, b, "<i id=b>3</i>", false}, {b, c, "", true}, {c, d, "", true}, {d, c, "", true}} {
		if parts, all := changedParts(test.before, test.now); parts != test.parts || all != test.all {
			t.Errorf("%v to %v: %q, %t", test.before, test.now, parts, all)
		}
	}
}
