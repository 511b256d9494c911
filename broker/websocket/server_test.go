package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

func zeekAck(n string) string {
	return `{"type":"ack","endpoint":"e2c419af-2666-59f3-95bd-30b9c45dd75c-websocket-` + n + `","version":"8.0.10"}`
}

func complaint(context string) string {
	return frame(jsonv1.Error{Code: "deserialization_failed", Context: context})
}

func TestServerRepliesLikeZeek(t *testing.T) {
	n := newNetwork(t)
	s := serve(t, n, websocket.ServerConfig{})
	c := rawDial(t, n, jsonv1.Path, http.Header{"X-Application-Name": {"zeek/client-1.0"}})
	var pings []string // payloads of received pings
	pong := c.ws.PingHandler()
	c.ws.SetPingHandler(func(payload string) error {
		pings = append(pings, payload)
		return pong(payload)
	})

	c.send(`["/a", "/b/"]`)
	// A message that is sent before the ack is delivered after it.
	c.send(message("/x", broker.Count(1)))
	c.want(zeekAck("0"))
	added := next[broker.PeerAdded](t, s)
	if added.Peer.Name != "zeek/client-1.0" || added.Peer.Dialed || added.Peer.ID == [16]byte{} {
		t.Errorf("peer is %+v", added.Peer)
	}
	got := next[broker.Received](t, s)
	if got.Message.Topic != "/x" || !broker.Equal(got.Message.Value, broker.Count(1)) || got.Peer != added.Peer {
		t.Errorf("received %+v", got)
	}
	if diff := cmp.Diff([]broker.Peer{added.Peer}, s.Clients(), cmp.Comparer(func(a, b broker.Peer) bool { return a == b })); diff != "" {
		t.Error(diff)
	}

	for _, tt := range []struct{ text, want string }{
		{`invalid`, complaint("failed to decode JSON object")},
		{`["/c"]`, complaint("failed to decode JSON object")},
		{`{"type":"data-message","@data-type":"count","data":1}`, complaint("no topic in top-level JSON object")},
		{message("<$>", broker.None()), complaint("no topic in top-level JSON object")},
	} {
		c.send(tt.text)
		c.want(tt.want)
	}
	s.Reject(uuid.New()) // an unknown peer
	s.Reject(added.Peer.ID)
	c.want(complaint("failed to create Zeek event"))

	publish(t, s, "/c", broker.Count(2)) // not subscribed
	publish(t, s, "/b/b", broker.String("\xff\v"))
	c.want("{\"type\":\"data-message\",\"topic\":\"/b/b\",\"@data-type\":\"string\",\"data\":\"\xff\\v\"}")
	c.write(gorilla.BinaryMessage, message("/y", broker.None()))
	if got := next[broker.Received](t, s); got.Message.Topic != "/y" {
		t.Errorf("received %+v", got)
	}

	go s.Close()
	c.wantClose(1001, "Terminating")
	if len(pings) == 0 || pings[0] != "ixwebsocket::heartbeat::5s::0" {
		t.Errorf("pings are %q", pings)
	}
	lost := next[broker.PeerLost](t, s)
	if lost.Peer != added.Peer || !errors.Is(lost.Err, broker.ErrClosed) {
		t.Errorf("lost %+v", lost)
	}
	if _, err := s.Next(context.Background()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
	if err := s.Publish(context.Background(), "/a", broker.None()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
}

// The number of log messages about invalid messages of a client is limited.
func TestServerLimitsLoggedErrors(t *testing.T) {
	n := newNetwork(t)
	var log bytes.Buffer
	logger := zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.InfoLevel)
	s := serve(t, n, websocket.ServerConfig{Log: logger})
	c := rawDial(t, n, jsonv1.Path, nil)
	c.send(`["/a"]`)
	c.want(zeekAck("0"))
	for range 100 {
		c.send("invalid")
		c.want(complaint("failed to decode JSON object"))
	}
	s.Close()
	if lines := strings.Count(log.String(), "sent an invalid message"); lines != 32 {
		t.Errorf("%d lines in the log, want 32", lines)
	}
}

func TestServerRejectsInvalidClients(t *testing.T) {
	n := newNetwork(t)
	s := serve(t, n, websocket.ServerConfig{})

	c := rawDial(t, n, "/v1/messages/xml", nil)
	c.want(`{"type":"error","code":"invalid_uri","context":"Invalid URI - use /v1/messages/json"}`)
	c.wantClose(1008, "Invalid URI - use /v1/messages/json")

	c = rawDial(t, n, jsonv1.Path, http.Header{"X-Application-Name": {"no spaces"}})
	c.want(`{"type":"error","code":"invalid_application_name","context":"Invalid X-Application-Name"}`)
	c.wantClose(1008, "Invalid X-Application-Name")

	for _, tt := range []struct{ text, want string }{
		{`{"a":1}`, "subscriptions not an array"},
		{`null`, "subscriptions not an array"},
		{`["/a"`, "subscriptions not an array"},
		{message("/a", broker.None()), "subscriptions not an array"},
		{`["/a",1]`, "individual subscription not a string"},
	} {
		c = rawDial(t, n, jsonv1.Path, nil)
		c.send(tt.text)
		c.want(complaint(tt.want))
		c.send(`["/a"]`) // the connection stays open, without effect
		c.ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""))
		c.wantClose(1000, "")
	}

	c = rawDial(t, n, jsonv1.Path, nil)
	c.send("[\"\xff\"]")
	c.wantClose(1007, "Invalid frame payload data")

	// None of these clients became a peer.
	s.Close()
	if notification, err := s.Next(context.Background()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next = %v, %v, want ErrClosed", notification, err)
	}
}

// As in Zeek, clients receive the messages of other clients, but not their own.
func TestServerRelaysMessages(t *testing.T) {
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{})
	address := l.Addr().String()
	a := dial(t, websocket.ClientConfig{Address: address, Subscriptions: []string{"/"}, ApplicationName: "a"})
	b := dial(t, websocket.ClientConfig{Address: address, Subscriptions: []string{"/b", "/both"}, ApplicationName: "b"})
	next[broker.PeerAdded](t, s)
	next[broker.PeerAdded](t, s)

	publish(t, a, "/a", broker.Count(1))
	publish(t, a, "/both", broker.Count(2))
	publish(t, b, "/both", broker.Count(3))
	if got := next[broker.Received](t, b); !broker.Equal(got.Message.Value, broker.Count(2)) || got.Message.Topic != "/both" {
		t.Errorf("b received %+v", got)
	}
	if got := next[broker.Received](t, a); !broker.Equal(got.Message.Value, broker.Count(3)) {
		t.Errorf("a received %+v", got)
	}
	names := map[uint64]string{}
	for range 3 {
		got := next[broker.Received](t, s)
		count, _ := got.Message.Value.Count()
		names[count] = got.Peer.Name
		if !got.Peer.Addr.IsValid() {
			t.Errorf("peer without address: %+v", got.Peer)
		}
	}
	if diff := cmp.Diff(map[uint64]string{1: "a", 2: "a", 3: "b"}, names); diff != "" {
		t.Error(diff)
	}
}

// A client that floods the server with messages disconnects no other client, even if
// that reads too slowly.
func TestServerFloodDisconnectsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{
			SendQueue: 10, SendOverflow: broker.OverflowDisconnect, ReceiveOverflow: broker.OverflowDropOldest,
		})
		slow := rawDial(t, n, jsonv1.Path, nil)
		slow.send(`["/"]`)
		flood := rawDial(t, n, jsonv1.Path, nil)
		flood.send("[]")
		for range 100 {
			flood.send(string(jsonv1.Append(nil, jsonv1.Data{Topic: "/x", Value: broker.Count(1)})))
		}
		synctest.Wait()
		if err := s.Publish(t.Context(), "/y", broker.Count(2)); err != nil {
			t.Fatal(err)
		}
		for received := 0; ; received++ {
			_, text, err := slow.ws.ReadMessage()
			if err != nil {
				t.Fatalf("after %d messages: %v", received, err)
			}
			if strings.Contains(string(text), "/y") {
				return
			}
		}
	})
}

func TestServerPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{})
		c := rawDial(t, n, jsonv1.Path, nil)
		answered := 0
		pong := c.ws.PingHandler()
		c.ws.SetPingHandler(func(payload string) error {
			if answered == 3 {
				return nil
			}
			answered++
			return pong(payload)
		})
		c.send(`[]`)
		c.want(zeekAck("0"))
		start := time.Now()
		c.ws.SetReadDeadline(time.Time{})
		_, _, err := c.ws.ReadMessage()
		var closed *gorilla.CloseError
		if !errors.As(err, &closed) || closed.Code != 1011 || closed.Text != "Ping timeout" {
			t.Errorf("closed with %v, want 1011 Ping timeout", err)
		}
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("closed after %v, want four intervals", d)
		}
		next[broker.PeerAdded](t, s)
		if lost := next[broker.PeerLost](t, s); !errors.Is(lost.Err, websocket.ErrPingTimeout) {
			t.Errorf("lost with error %v, want ErrPingTimeout", lost.Err)
		}
	})
}

// Connections that never become WebSockets are closed after 3 seconds.
func TestServerHandshakeTimeout(t *testing.T) {
	for name, opening := range map[string]string{
		"silent": "",
		"half":   "GET /v1/messages/json HTTP/1.1\r\nHost: x\r\nUpgr",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				serve(t, n, websocket.ServerConfig{})
				nc, err := n.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				start := time.Now()
				io.WriteString(nc, opening)
				if _, err := io.ReadAll(nc); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d > 4*time.Second {
					t.Errorf("closed after %v", d)
				}
			})
		})
	}
}

// Slow input does not extend the time limit of the handshake.
func TestServerSlowloris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		serve(t, n, websocket.ServerConfig{})
		nc, err := n.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		go io.Copy(io.Discard, nc)
		start := time.Now()
		for _, err = io.WriteString(nc, "GET / HTTP/1.1\r\n"); err == nil; _, err = io.WriteString(nc, "X: y\r\n") {
			time.Sleep(time.Second / 2)
		}
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestServerRejectsLargeMessage(t *testing.T) {
	n := newNetwork(t)
	s := serve(t, n, websocket.ServerConfig{MaxMessage: 1000, PingInterval: -1})
	c := rawDial(t, n, jsonv1.Path, nil)
	c.send(`[]`)
	c.want(zeekAck("0"))
	next[broker.PeerAdded](t, s)
	c.ws.SetWriteDeadline(time.Now().Add(patience))
	go c.ws.WriteMessage(gorilla.TextMessage, make([]byte, 1001))
	c.wantClose(1009, "")
	if lost := next[broker.PeerLost](t, s); !errors.Is(lost.Err, gorilla.ErrReadLimit) {
		t.Errorf("lost with error %v, want ErrReadLimit", lost.Err)
	}
}

func TestServerAuthorize(t *testing.T) {
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{Authorize: func(r *http.Request) (*broker.Identity, error) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			return nil, errors.New("wrong token")
		}
		return &broker.Identity{Names: []string{"operator"}}, nil
	}})
	cfg := websocket.ClientConfig{Address: l.Addr().String()}
	_, err := websocket.Dial(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "wrong token") || !strings.Contains(err.Error(), "set the Header") {
		t.Errorf("Dial = %v, want wrong token", err)
	}
	cfg.Header = http.Header{"Authorization": {"Bearer secret"}}
	cfg.ApplicationName = "another-name"
	dial(t, cfg)
	if added := next[broker.PeerAdded](t, s); added.Peer.Name != "operator" || added.Peer.Identity.Name() != "operator" {
		t.Errorf("peer is %+v", added.Peer)
	}
}

// A message to one client is not sent to other clients with the same
// subscription.
func TestServerPublishTo(t *testing.T) {
	n := newNetwork(t)
	s := serve(t, n, websocket.ServerConfig{})
	a := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}})
	peer := next[broker.PeerAdded](t, s).Peer.ID
	b := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}})
	next[broker.PeerAdded](t, s)
	for i, tt := range []struct {
		peer  uuid.UUID
		topic string
		known bool
	}{{peer, "/x", true}, {peer, "other", true}, {uuid.New(), "/x", false}} {
		known, err := s.PublishTo(t.Context(), tt.peer, tt.topic, broker.Count(uint64(i)))
		if err != nil || known != tt.known {
			t.Errorf("%d: known is %t, %v", i, known, err)
		}
	}
	publish(t, s, "/", broker.Count(9))
	for c, want := range map[*websocket.Client][]uint64{a: {0, 9}, b: {9}} {
		for _, v := range want {
			if got := next[broker.Received](t, c).Message.Value; !broker.Equal(got, broker.Count(v)) {
				t.Errorf("received %v, want %d", got, v)
			}
		}
	}
	s.Close()
	if _, err := s.PublishTo(t.Context(), peer, "/", broker.Count(1)); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestServerDisconnectsDismissedClient(t *testing.T) {
	n := newNetwork(t)
	var unwanted atomic.Value
	unwanted.Store("none")
	s := serve(t, n, websocket.ServerConfig{Admits: func(p broker.Peer) bool { return p.Name != unwanted.Load() }})
	clients := make(map[string]*websocket.Client)
	for _, name := range []string{"a", "b"} {
		clients[name] = dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}, ApplicationName: name})
		next[broker.PeerAdded](t, s)
	}
	publish(t, s, "/", broker.Count(1))
	unwanted.Store("b")
	publish(t, s, "/", broker.Count(2))
	for name, want := range map[string][]uint64{"a": {1, 2}, "b": {1}} {
		for _, v := range want {
			if got := next[broker.Received](t, clients[name]).Message.Value; !broker.Equal(got, broker.Count(v)) {
				t.Errorf("%s received %v, want %d", name, got, v)
			}
		}
	}
	if lost := next[broker.PeerLost](t, s); lost.Peer.Name != "b" || !errors.Is(lost.Err, websocket.ErrDismissed) {
		t.Errorf("lost %+v", lost)
	}
	if lost := next[broker.PeerLost](t, clients["b"]); !strings.Contains(lost.Err.Error(), "No longer admitted") {
		t.Errorf("the client lost the server with error %v", lost.Err)
	}
}

// A private server does not relay messages between clients.
func TestServerPrivate(t *testing.T) {
	n := newNetwork(t)
	s := serve(t, n, websocket.ServerConfig{Private: true})
	listener := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}})
	speaker := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
	next[broker.PeerAdded](t, s)
	next[broker.PeerAdded](t, s)
	publish(t, speaker, "/", broker.Count(1))
	if got := next[broker.Received](t, s); !broker.Equal(got.Message.Value, broker.Count(1)) {
		t.Errorf("received %+v", got)
	}
	publish(t, s, "/", broker.Count(2))
	if got := next[broker.Received](t, listener); !broker.Equal(got.Message.Value, broker.Count(2)) {
		t.Errorf("a client received %+v", got)
	}
}

// A client that does not read does not affect other clients.
func TestServerSlowClient(t *testing.T) {
	for _, policy := range []broker.Overflow{broker.OverflowDropOldest, broker.OverflowDropNewest, broker.OverflowDisconnect} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				s := serve(t, n, websocket.ServerConfig{SendQueue: 4, SendOverflow: policy})
				slow := rawDial(t, n, jsonv1.Path, nil)
				slow.send(`["/"]`)
				slow.want(zeekAck("0"))
				slowPeer := next[broker.PeerAdded](t, s).Peer
				good := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}})
				next[broker.PeerAdded](t, s)
				for i := range uint64(100) {
					publish(t, s, "/", broker.Count(i))
					if got := next[broker.Received](t, good); !broker.Equal(got.Message.Value, broker.Count(i)) {
						t.Fatalf("received %+v, want %d", got, i)
					}
				}
				if policy != broker.OverflowDisconnect {
					return
				}
				if lost := next[broker.PeerLost](t, s); lost.Peer != slowPeer || !errors.Is(lost.Err, broker.ErrOverflow) {
					t.Errorf("lost %+v, want ErrOverflow", lost)
				}
			})
		})
	}
}

// Publish stops waiting for a slow client when the client disconnects.
func TestServerPublishEndsWhenClientIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{SendQueue: 1, SendOverflow: broker.OverflowBlock, PingInterval: -1})
		c := rawDial(t, n, jsonv1.Path, nil)
		c.send(`["/"]`)
		c.want(zeekAck("0"))
		published := make(chan error, 1)
		go func() {
			big := broker.String(strings.Repeat("x", 1<<20)) // small messages are sent together
			for range 5 {
				if err := s.Publish(context.Background(), "/", big); err != nil {
					published <- err
					return
				}
			}
			published <- nil
		}()
		synctest.Wait()
		if len(published) > 0 {
			t.Fatalf("Publish does not wait: %v", <-published)
		}
		c.ws.Close()
		synctest.Wait()
		select {
		case err := <-published:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("Publish still waits")
		}
	})
}

// If the application does not call Next, messages are dropped, but
// notifications about peers are not.
func TestServerKeepsPeerNotifications(t *testing.T) {
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{ReceiveQueue: 8, ReceiveOverflow: broker.OverflowDropOldest})
	c := dial(t, websocket.ClientConfig{Address: l.Addr().String()})
	for i := range uint64(100) {
		publish(t, c, "/", broker.Count(i))
	}
	c.Close()
	next[broker.PeerAdded](t, s)
	var last broker.Value
	for range 100 {
		notification, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, lost := notification.(broker.PeerLost); lost {
			break
		}
		last = notification.(broker.Received).Message.Value
	}
	if !broker.Equal(last, broker.Count(99)) {
		t.Errorf("last is %v", last)
	}
}

// Texts whose sizes are around the limits of the frame formats are sent in both
// directions.
func TestTextSizes(t *testing.T) {
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{})
	c := dial(t, websocket.ClientConfig{Address: l.Addr().String(), Subscriptions: []string{""}})
	next[broker.PeerAdded](t, s)
	empty := len(message("/", broker.String("")))
	for _, size := range []int{empty, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1, 2_000_000, 126} {
		text := broker.String(strings.Repeat("0123456", size/7+1)[:size-empty])
		for from, to := range map[broker.Bus]broker.Bus{s: c, c: s} {
			publish(t, from, "/", text)
			if got := next[broker.Received](t, to).Message.Value; !broker.Equal(got, text) {
				t.Errorf("%T received another value for a text of %d bytes", to, size)
			}
		}
	}
}

// Clients that connect and disconnect repeatedly cannot fill the memory with
// notifications: their ack is delayed.
func TestServerDelaysAckIfQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{ReceiveQueue: 3})
		acked := 0
		for range 5 {
			c := rawDial(t, n, jsonv1.Path, nil)
			c.send(`[]`)
			c.ws.SetReadDeadline(time.Now().Add(time.Second))
			if _, _, err := c.ws.ReadMessage(); err == nil {
				acked++
			}
			c.ws.Close()
			synctest.Wait() // until the server has noticed
		}
		// The first two clients cause four notifications.
		if acked != 2 {
			t.Errorf("%d clients are acknowledged, want 2", acked)
		}
		kinds := map[string]int{}
		for range 10 {
			notification, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			kinds[fmt.Sprintf("%T", notification)]++
		}
		if diff := cmp.Diff(map[string]int{"broker.PeerAdded": 5, "broker.PeerLost": 5}, kinds); diff != "" {
			t.Error(diff)
		}
	})
}

func TestServerListenerFails(t *testing.T) {
	l := loopback(t)
	l.Close()
	s, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
}

// TestRecordedSessions sends the recorded messages of clients to a server, and
// publishes the recorded responses of Zeek. All messages must be delivered.
func TestRecordedSessions(t *testing.T) {
	files, err := filepath.Glob("../../testdata/recordings/*/*websocket*.jsonl")
	more, err2 := filepath.Glob("../../testdata/recordings/*/client-controller-*.jsonl")
	if err != nil || err2 != nil || len(files) < 3 || len(more) == 0 {
		t.Fatal("no recordings")
	}
	for _, file := range append(files, more...) {
		fromClient, fromServer := recordedTexts(t, file, "client"), recordedTexts(t, file, "server")
		if len(fromClient) == 0 {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			n := newNetwork(t)
			s := serve(t, n, websocket.ServerConfig{})
			c := rawDial(t, n, jsonv1.Path, nil)
			c.send(string(fromClient[0]))
			c.want(zeekAck("0"))
			next[broker.PeerAdded](t, s)
			for _, text := range fromClient[1:] {
				c.send(string(text))
				want, err := jsonv1.Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				got := next[broker.Received](t, s).Message
				if d := want.(jsonv1.Data); got.Topic != d.Topic || !broker.Equal(got.Value, d.Value) {
					t.Fatalf("received %+v, want %+v", got, d)
				}
			}
			for _, text := range fromServer {
				f, err := jsonv1.Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				if d, ok := f.(jsonv1.Data); ok {
					publish(t, s, d.Topic, d.Value)
					c.want(frame(d))
				}
			}
		})
	}
}
