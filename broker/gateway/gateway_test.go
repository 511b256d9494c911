package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/gateway"
	"github.com/zeekwire/zeekwire/broker/record"
)

// zeek is a bus that a test controls.
type zeek struct {
	messages  chan broker.Notification
	published chan broker.Message
}

func newZeek() *zeek {
	return &zeek{make(chan broker.Notification), make(chan broker.Message, 100)}
}

func (z *zeek) Publish(_ context.Context, topic string, v broker.Value) error {
	z.published <- broker.Message{Topic: topic, Value: v}
	return nil
}

func (z *zeek) Next(ctx context.Context) (broker.Notification, error) {
	select {
	case n := <-z.messages:
		return n, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (z *zeek) Close() error { return nil }

func (z *zeek) send(topic string, v broker.Value) {
	z.messages <- broker.Received{Message: broker.Message{Topic: topic, Value: v}}
}

func (z *zeek) event(topic, name string, args ...broker.Value) {
	z.send(topic, broker.NewEvent(name, args...).Value())
}

// bench is a gateway with a Zeek that readers can reach.
type bench struct {
	*gateway.Gateway
	t    testing.TB
	zeek *zeek
	at   string
}

func newBench(t testing.TB, cfg gateway.Config) *bench {
	t.Helper()
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{g, t, newZeek(), l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.Serve(ctx, l, nil); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		if err := g.Attach(ctx, "z1", b.zeek); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
	})
	return b
}

// stream is a reader of Server-Sent Events.
type stream struct {
	t    testing.TB
	body io.ReadCloser
	scan *bufio.Scanner
	last string // ID of the last message
}

func (b *bench) get(query string, headers ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+b.at+gateway.EventsPath+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// read begins a stream. It has begun when read returns.
func (b *bench) read(query string, headers ...string) *stream {
	b.t.Helper()
	resp := b.get(query, headers...)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("got %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	return &stream{t: b.t, body: resp.Body, scan: bufio.NewScanner(resp.Body)}
}

// next returns the next event of a stream: its data, after its type if it has one. It returns
// "" at the end.
func (s *stream) next() string {
	s.t.Helper()
	kind, data := "", ""
	for s.scan.Scan() {
		key, value, _ := strings.Cut(s.scan.Text(), ": ")
		switch key {
		case "id":
			s.last = value
		case "event":
			kind = value + " "
		case "data":
			data = value
		case "":
			if data != "" {
				return kind + data
			}
		}
	}
	return ""
}

func (s *stream) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		if diff := cmp.Diff(w, s.next()); diff != "" {
			s.t.Fatalf("event (-want +got)\n%s", diff)
		}
	}
}

// web connects a WebSocket client.
func (b *bench) web(query string, header http.Header, subscriptions string) *websocket.Conn {
	b.t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+b.at+"/v1/messages/json"+query, header)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	if err := c.WriteMessage(websocket.TextMessage, []byte(subscriptions)); err != nil {
		b.t.Fatal(err)
	}
	if _, text, err := c.ReadMessage(); err != nil || !strings.Contains(string(text), `"ack"`) {
		b.t.Fatalf("got %s, %v, want the ack", text, err)
	}
	return c
}

func (b *bench) await(what string, done func(gateway.Stats) bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(b.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: %+v", what, b.Stats())
		}
	}
}

// Readers get the messages that they ask for, in the form that they ask for.
func TestReadersSelectMessages(t *testing.T) {
	b := newBench(t, gateway.Config{Describe: func(event string) []record.Field {
		if event == "Known::event" {
			return []record.Field{{Name: "who", Type: record.Type{Kind: "string"}}, {Name: "detail", Type: record.Type{Kind: "record", Fields: []record.Field{{Name: "n", Type: record.Type{Kind: "count"}}}}}}
		}
		return nil
	}})
	all, some, named := b.read(""), b.read("?topic=/a&topic=/b"), b.read("?event=Known::*")
	web := b.web("?event=Known::event", nil, `["/"]`)
	b.zeek.event("/a/1", "Known::event", broker.String("x"), broker.Vector(broker.Count(7)))
	b.zeek.event("/c", "Other::event", broker.Count(1), broker.PortValue(broker.TCP(80)))
	b.zeek.send("/b", broker.String("no event"))
	known := `{"zeek":"z1","topic":"/a/1","event":"Known::event","args":{"who":"x","detail":{"n":7}}}`
	other := `{"zeek":"z1","topic":"/c","event":"Other::event","args":[1,"80/tcp"]}`
	value := `{"zeek":"z1","topic":"/b","value":"no event"}`
	all.expect(known, other, value)
	some.expect(known, value)
	b.zeek.event("/a/2", "Known::event")
	named.expect(known, `{"zeek":"z1","topic":"/a/2","event":"Known::event","args":{}}`)
	for _, want := range []string{"/a/1", "/a/2"} {
		if _, text, err := web.ReadMessage(); err != nil || !strings.Contains(string(text), `"topic":"`+want+`"`) {
			t.Errorf("the WebSocket client got %s, %v, want a message on %s", text, err, want)
		}
	}
}

// A reader that connects again continues after the last message that it knows. If messages
// are missing, it is told how many.
func TestReadersResume(t *testing.T) {
	b := newBench(t, gateway.Config{Messages: 10, ReaderQueue: 5})
	send := func(from, to uint64) (want []string) {
		for n := from; n < to; n++ {
			b.zeek.event("/t", "e", broker.Count(n))
			want = append(want, fmt.Sprintf(`{"zeek":"z1","topic":"/t","event":"e","args":[%d]}`, n))
		}
		b.await("passing on", func(s gateway.Stats) bool { return s.Messages == to })
		return want
	}
	first := b.read("")
	first.expect(send(0, 3)...)
	first.body.Close()
	missed := send(3, 12)
	b.read("", "Last-Event-ID", first.last).expect(missed...)
	b.read("?last_id=" + first.last).expect(missed...)
	send(12, 15)
	b.read("", "Last-Event-ID", first.last).expect(`lost {"messages":2}`, missed[2])

	for _, id := range []string{"other-1", strings.Split(first.last, "-")[0] + "-99", "nonsense"} {
		s := b.read("", "Last-Event-ID", id)
		s.expect(`lost {"messages":null}`)
	}
}

// A reader that does not read misses messages, or is disconnected, and disturbs no others.
func TestSlowReaders(t *testing.T) {
	for _, slow := range []broker.Overflow{broker.OverflowDropOldest, broker.OverflowDisconnect} {
		t.Run(slow.String(), func(t *testing.T) {
			cfg := gateway.Config{Messages: 100, ReaderQueue: 50, Slow: slow, Stall: time.Hour}
			if slow == broker.OverflowDisconnect {
				cfg.Stall = time.Second
			}
			b := newBench(t, cfg)
			silent, fast := b.read(""), b.read("?event=last")
			large := broker.String(strings.Repeat("x", 100_000))
			for range 300 { // more than the buffers of the system have
				b.zeek.event("/t", "large", large)
			}
			b.zeek.event("/t", "last")
			fast.expect(`{"zeek":"z1","topic":"/t","event":"last","args":[]}`)
			if slow == broker.OverflowDisconnect {
				b.await("disconnecting", func(s gateway.Stats) bool { return s.Readers == 1 })
			}
			lost := false
			silent.scan.Buffer(nil, 1<<20)
			for {
				e := silent.next()
				lost = lost || strings.HasPrefix(e, "lost ")
				if e == "" || strings.Contains(e, `"last"`) {
					if (e == "") != (slow == broker.OverflowDisconnect) {
						t.Errorf("the stream ends with %.100q", e)
					}
					break
				}
			}
			if lost != (slow == broker.OverflowDropOldest) {
				t.Errorf("the reader was told of lost messages: %t", lost)
			}
		})
	}
}

// A WebSocket client that does not read misses messages, or is disconnected, and disturbs no
// others. One that waits for a rare event misses nothing.
func TestSlowWebSocketClients(t *testing.T) {
	for _, slow := range []broker.Overflow{broker.OverflowDropOldest, broker.OverflowDisconnect} {
		t.Run(slow.String(), func(t *testing.T) {
			b := newBench(t, gateway.Config{ReaderQueue: 50, Slow: slow})
			silent, rare := b.web("", nil, `["/"]`), b.web("?event=last", nil, `["/"]`)
			heard := make(chan error, 1)
			go func() { // it responds to pings meanwhile
				_, text, err := rare.ReadMessage()
				if err == nil && !strings.Contains(string(text), `"last"`) {
					err = fmt.Errorf("got %.100q", text)
				}
				heard <- err
			}()
			large := broker.String(strings.Repeat("x", 100_000))
			for range 300 { // more than the buffers of the system have
				b.zeek.event("/t", "large", large)
			}
			b.zeek.event("/t", "last")
			if err := <-heard; err != nil {
				t.Errorf("%v, want the last event", err)
			}
			n := 0
			for ; ; n++ {
				_, text, err := silent.ReadMessage()
				if (err != nil || strings.Contains(string(text), `"last"`)) && websocket.IsCloseError(err, websocket.ClosePolicyViolation) != (slow == broker.OverflowDisconnect) {
					t.Errorf("the client that does not read got %.100q, %v", text, err)
				}
				if err != nil || strings.Contains(string(text), `"last"`) {
					break
				}
			}
			if n == 0 || n >= 300 {
				t.Errorf("the client that does not read got %d messages before", n)
			}
		})
	}
}

// Only readers that may publish can do so, by either protocol. Zeeks and all other readers get
// the message.
func TestPublishing(t *testing.T) {
	b := newBench(t, gateway.Config{
		Authorize: func(r *http.Request) (*broker.Identity, error) {
			name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return nil, errors.New("a token is required")
			}
			return &broker.Identity{Names: []string{name}}, nil
		},
		MayPublish: func(p broker.Peer) bool { return p.Identity.Name() == "boss" },
	})
	as := func(name string) http.Header { return http.Header{"Authorization": {"Bearer " + name}} }
	if resp := b.get(""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", resp.Status)
	}
	reader := b.read("", "Authorization", "Bearer reader")
	post := func(name, body string) int {
		req, err := http.NewRequest(http.MethodPost, "http://"+b.at+gateway.MessagesPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = as(name)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const message = `{"type":"data-message","topic":"/t","@data-type":"string","data":"hello"}`
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"reader", message, http.StatusForbidden}, {"boss", "nonsense", http.StatusBadRequest},
		{"boss", `["/t"]`, http.StatusBadRequest}, {"boss", message, http.StatusNoContent},
	} {
		if got := post(tt.name, tt.body); got != tt.want {
			t.Errorf("%s posts %.20s: %d, want %d", tt.name, tt.body, got, tt.want)
		}
	}
	reader.expect(`{"topic":"/t","value":"hello"}`)
	if m := <-b.zeek.published; m.Topic != "/t" || m.Value.String() != `"hello"` {
		t.Errorf("Zeek got %+v", m)
	}
	for _, name := range []string{"reader", "boss"} {
		web := b.web("", as(name), "[]")
		if err := web.WriteMessage(websocket.TextMessage, []byte(`{"type":"data-message","topic":"/w","@data-type":"string","data":"`+name+`"}`)); err != nil {
			t.Fatal(err)
		}
		if name == "reader" {
			if _, text, err := web.ReadMessage(); err != nil || !strings.Contains(string(text), "not_permitted") {
				t.Errorf("the client that may not publish got %s, %v", text, err)
			}
		}
	}
	reader.expect(`{"topic":"/w","value":"boss"}`)
	if m := <-b.zeek.published; m.Value.String() != `"boss"` {
		t.Errorf("Zeek got %+v", m)
	}
	if s := b.Stats(); s.Published != 2 || s.Refused != 2 {
		t.Errorf("%+v, want 2 published messages and 2 refusals", s)
	}
}

// A reader whose permission is taken away is disconnected.
func TestPermissionsChange(t *testing.T) {
	var mu sync.Mutex
	may := true
	b := newBench(t, gateway.Config{MayRead: func(broker.Peer) bool {
		mu.Lock()
		defer mu.Unlock()
		return may
	}})
	s := b.read("")
	mu.Lock()
	may = false
	mu.Unlock()
	b.zeek.event("/t", "e")
	if e := s.next(); e != "" {
		t.Errorf("got %s", e)
	}
	if resp := b.get(""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a new reader: %s", resp.Status)
	}
}

// Requests that make no sense, and those of pages of other hosts, are refused.
func TestRefusals(t *testing.T) {
	b := newBench(t, gateway.Config{})
	for _, tt := range []struct {
		method, path string
		header       http.Header
		want         int
	}{
		{"GET", "/", nil, 404}, {"DELETE", "/v1/events", nil, 405}, {"GET", "/v1/messages", nil, 405},
		{"GET", "/v1/events?event=[", nil, 400}, {"GET", "/v1/events?" + strings.Repeat("topic=x&", 101), nil, 400},
		{"POST", "/v1/messages", http.Header{"Origin": {"http://evil.example"}}, 403},
	} {
		req, err := http.NewRequest(tt.method, "http://"+b.at+tt.path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if tt.header != nil {
			req.Header = tt.header
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %.30s: %s, want %d", tt.method, tt.path, resp.Status, tt.want)
		}
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, cfg := range []gateway.Config{{Messages: -1}, {Bytes: -1}, {MaxReaders: -1}, {ReaderQueue: -1}, {Stall: -1}, {Slow: broker.OverflowBlock}} {
		if _, err := gateway.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func TestAppendPlain(t *testing.T) {
	entry := func(k, v broker.Value) broker.Entry { return broker.Entry{Key: k, Value: v} }
	for _, tt := range []struct {
		value broker.Value
		want  string
	}{
		{broker.None(), `null`}, {broker.Boolean(true), `true`}, {broker.Integer(-7), `-7`}, {broker.Real(1.5), `1.5`},
		{broker.Timestamp(time.Unix(1, 500_000_000)), `1.5`}, {broker.Timespan(-1500 * time.Millisecond), `-1.5`}, {broker.Timespan(time.Second), `1.0`},
		{broker.String("a\"\\\n\xff\u2028é"), `"a\"\\\u000a\\xff\u2028é"`},
		{broker.Set(broker.Count(1), broker.Count(2)), `[1,2]`},
		{broker.Table(entry(broker.String("k"), broker.Count(1))), `{"k":1}`},
		{broker.Table(entry(broker.Vector(broker.Count(1)), broker.Count(2))), `[[[1],2]]`},
	} {
		got := string(gateway.AppendPlain(nil, tt.value, nil))
		if got != tt.want || !json.Valid([]byte(got)) {
			t.Errorf("%v is %s, want %s", tt.value, got, tt.want)
		}
	}
	fields := record.Type{Kind: "record", Fields: []record.Field{{Name: "a"}}}
	if got := string(gateway.AppendPlain(nil, broker.Vector(broker.Count(1), broker.Count(2)), &fields)); got != `{"a":1,"more":[2]}` {
		t.Errorf("a record with a further field is %s", got)
	}
	if !bytes.Equal(gateway.AppendPlain([]byte("x"), broker.None(), nil), []byte("xnull")) {
		t.Error("AppendPlain does not append")
	}
}
