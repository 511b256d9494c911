package bus

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forever is a timeout that only failing tests reach.
const forever = time.Minute

var silent = log.New(io.Discard, "", 0)

// lines is a writer that sends each written line to the channel.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- strings.TrimSuffix(string(b), "\n")
	return len(b), nil
}

// subscribe runs Subscribe until the test ends. It returns the lines of its
// status and output, and a channel for its error.
func subscribe(t *testing.T, ctx context.Context, o Options, count int, prefixes ...string) (status, out lines, ended chan error) {
	status, out, ended = make(lines, 16), make(lines, 16), make(chan error, 1)
	o.Timeout, o.Status = forever, log.New(status, "", 0)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- Subscribe(ctx, o, prefixes, NewPrinter(out), count)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return status, out, ended
}

// TestNative publishes three events to a subscriber that exits after the third.
func TestNative(t *testing.T) {
	status, out, ended := subscribe(t, t.Context(), Options{Transport: Native, Listen: "127.0.0.1:0"}, 3, "/tests")
	addr, ok := strings.CutPrefix(<-status, "listening at ")
	if !ok {
		t.Fatal("no address")
	}
	for i := range uint64(2) {
		o := Options{Transport: Native, Connect: addr, Timeout: forever, Status: silent}
		if err := Publish(t.Context(), o, "/tests/x", broker.NewEvent("e", broker.Count(i))); err != nil {
			t.Fatal(err)
		}
	}
	// The subscriber exits after the third event. Publish might see it disconnect
	// before the delivery is confirmed, so the third event is sent in another
	// way.
	e, _ := listen(t)
	if err := e.AddPeer(addr); err != nil {
		t.Fatal(err)
	}
	if _, err := e.AwaitPeer(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	if err := broker.PublishEvent(t.Context(), e, "/tests/x", broker.NewEvent("e", broker.Count(2))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/tests/x e(0)", "/tests/x e(1)", "/tests/x e(2)"} {
		if got := <-out; !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// listen returns an endpoint with these subscriptions and its address.
func listen(t *testing.T, prefixes ...string) (*peering.Endpoint, string) {
	e, err := peering.New(peering.Config{Subscriptions: prefixes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	addr, err := e.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return e, addr.String()
}

func TestPublishErrors(t *testing.T) {
	_, addr := listen(t, "/others")
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"connect", Options{Connect: addr, Timeout: forever}, `no peer subscribes to /tests: ` + addr + ` subscribes to ["/others"]`},
		{"listen", Options{Listen: "127.0.0.1:0", Timeout: time.Millisecond}, "no peer: gave up after 1ms"},
		{"both", Options{Connect: addr, Listen: "127.0.0.1:0", Timeout: 500 * time.Millisecond}, "gave up after 500ms"},
		{"transport", Options{Transport: "x"}, `transport "x": want native or websocket`},
		{"server", Options{Transport: WebSocket, Listen: "127.0.0.1:0"}, "--listen: requires --transport native"},
		{"no address", Options{}, "neither an address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.Transport == "" {
				tt.o.Transport = Native
			}
			tt.o.Status = silent
			err := Publish(t.Context(), tt.o, "/tests", broker.NewEvent("e"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	o := Options{Transport: Native, Connect: addr, Timeout: forever, Status: silent}
	if err := Publish(t.Context(), o, "", broker.NewEvent("e")); err == nil || !strings.Contains(err.Error(), "topic is empty") {
		t.Errorf("error %v", err)
	}
}

// TestPublishWaitsForSubscriber publishes from an endpoint that listens. Only
// the second peer that connects subscribes to the topic.
func TestPublishWaitsForSubscriber(t *testing.T) {
	status := make(lines, 16)
	o := Options{Transport: Native, Listen: "127.0.0.1:0", Timeout: forever, Status: log.New(status, "", 0)}
	published := make(chan error)
	go func() { published <- Publish(t.Context(), o, "/tests", broker.NewEvent("e")) }()
	addr, _ := strings.CutPrefix(<-status, "listening at ")
	for _, prefix := range []string{"/others", "/tests"} {
		e, _ := listen(t, prefix)
		if err := e.AddPeer(addr); err != nil {
			t.Fatal(err)
		}
		if prefix == "/tests" {
			break // the publisher exits after the delivery
		}
		if _, err := e.AwaitPeer(t.Context(), addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
}

func TestInterrupt(t *testing.T) {
	_, addr := listen(t)
	for name, o := range map[string]Options{
		"peered":     {Transport: Native, Connect: addr},
		"connecting": {Transport: Native, Connect: "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			status, _, ended := subscribe(t, ctx, o, 0, "/tests")
			if name == "peered" {
				<-status
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWebSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{Endpoint: "test", Version: "8.0.10"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(context.Background(), l) }()
	defer func() { server.Close(); <-served }()

	o := Options{Transport: WebSocket, Connect: l.Addr().String(), Timeout: forever, Status: silent}
	if err := Publish(t.Context(), o, "/tests", broker.NewEvent("e", broker.Count(1))); err != nil {
		t.Fatal(err)
	}
	for received := false; !received; {
		n, err := server.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := n.(broker.Received); ok {
			ev, err := broker.ParseEvent(r.Message.Value)
			if err != nil || ev.String() != "e(1)" {
				t.Errorf("got %v, error %v", ev, err)
			}
			received = true
		}
	}

	status, out, ended := subscribe(t, t.Context(), o, 1, "/tests")
	if got := <-status; got != "peered with "+o.Connect {
		t.Errorf("status %q", got)
	}
	if err := server.Publish(t.Context(), "/tests/x", broker.String("any value")); err != nil {
		t.Fatal(err)
	}
	if got := <-out; !strings.HasSuffix(got, ` /tests/x "any value"`) {
		t.Errorf("got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// rejecting is a WebSocket server that acknowledges the first message of a client and
// answers all others with an error. If early is true, an error follows the ack.
func rejecting(t *testing.T, early bool) *httptest.Server {
	const rejection = `{"type":"error","code":"deserialization_failed","context":"failed to create Zeek event"}`
	var upgrader gorilla.Upgrader
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		answers := []string{`{"type":"ack","endpoint":"test","version":"8.0.10"}`}
		if early {
			answers = append(answers, rejection)
		}
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
			for _, answer := range answers {
				if err := c.WriteMessage(gorilla.TextMessage, []byte(answer)); err != nil {
					return
				}
			}
			answers = []string{rejection}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestWebSocketError publishes to a server that rejects every message.
func TestWebSocketError(t *testing.T) {
	server := rejecting(t, false)
	defer func(usual time.Duration) { errorTime = usual }(errorTime)
	errorTime = forever
	o := Options{Transport: WebSocket, Connect: server.Listener.Addr().String(), Timeout: forever, Status: silent}
	err := Publish(t.Context(), o, "/tests", broker.NewEvent("e"))
	if err == nil || !strings.Contains(err.Error(), "failed to create Zeek event") {
		t.Errorf("error %v", err)
	}
}

// TestWebSocketErrorEndsSubscribe subscribes at a server that reports an error.
func TestWebSocketErrorEndsSubscribe(t *testing.T) {
	server := rejecting(t, true)
	_, _, ended := subscribe(t, t.Context(), Options{Transport: WebSocket, Connect: server.Listener.Addr().String()}, 0, "/tests")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "failed to create Zeek event") {
		t.Errorf("error %v", err)
	}
}

// TestRefusedReconnectEndsSubscribe subscribes at a server that closes the connection,
// and refuses the next one.
func TestRefusedReconnectEndsSubscribe(t *testing.T) {
	var upgrader gorilla.Upgrader
	known := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !known {
			http.Error(w, "the token has expired", http.StatusUnauthorized)
			return
		}
		known = false
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.ReadMessage()
		c.WriteMessage(gorilla.TextMessage, []byte(`{"type":"ack","endpoint":"test","version":"8.0.10"}`))
	}))
	defer server.Close()
	_, _, ended := subscribe(t, t.Context(), Options{Transport: WebSocket, Connect: server.Listener.Addr().String()}, 0, "/tests")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the token has expired") {
		t.Errorf("error %v", err)
	}
}
