package websocket_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

func TestClientAckAndClose(t *testing.T) {
	n := scripted(t, func(ws *gorilla.Conn) {
		ws.ReadMessage()
		ws.WriteMessage(gorilla.TextMessage, []byte(message("/early", broker.Count(0))))
		ws.WriteMessage(gorilla.TextMessage, []byte(ack))
		ws.WriteMessage(gorilla.TextMessage, []byte(message("/late", broker.Count(1))))
		ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1001, "Terminating"))
		readAll(ws)
	})
	c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
	if a := c.Ack(); a.Endpoint != "n-websocket-0" || a.Version != "8.0.10" {
		t.Errorf("ack is %+v", a)
	}
	for i, topic := range []string{"/early", "/late"} {
		got := next[broker.Received](t, c)
		if got.Message.Topic != topic || !broker.Equal(got.Message.Value, broker.Count(uint64(i))) {
			t.Errorf("received %+v", got)
		}
		if p := got.Peer; !p.Dialed || p.Address != "pipe" || p.Name != "n-websocket-0" {
			t.Errorf("peer is %+v", p)
		}
	}
	lost := next[broker.PeerLost](t, c)
	var closed *websocket.CloseError
	if !errors.As(lost.Err, &closed) || closed.Code != 1001 || closed.Reason != "Terminating" ||
		!strings.Contains(lost.Err.Error(), "peer is terminating") {
		t.Errorf("lost with error %v", lost.Err)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
	if err := c.Publish(t.Context(), "/x", broker.None()); !errors.As(err, &closed) {
		t.Errorf("Publish = %v, want the CloseError", err)
	}
}

// Close sends all published messages.
func TestClientCloseFlushes(t *testing.T) {
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{})
	c := dial(t, websocket.ClientConfig{Address: l.Addr().String()})
	next[broker.PeerAdded](t, s)
	const messages = 100
	for i := range uint64(messages) {
		publish(t, c, "/", broker.Count(i))
	}
	c.Close()
	for i := range uint64(messages) {
		if got := next[broker.Received](t, s); !broker.Equal(got.Message.Value, broker.Count(i)) {
			t.Fatalf("received %+v, want %d", got, i)
		}
	}
	lost := next[broker.PeerLost](t, s)
	var closed *websocket.CloseError
	if !errors.As(lost.Err, &closed) || closed.Code != 1000 {
		t.Errorf("server lost the client with error %v, want a normal end", lost.Err)
	}
	if lost := next[broker.PeerLost](t, c); !errors.Is(lost.Err, broker.ErrClosed) {
		t.Errorf("client lost the server with error %v, want ErrClosed", lost.Err)
	}
	if err := c.Publish(t.Context(), "/", broker.None()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
}

func TestClientServerError(t *testing.T) {
	serverError := jsonv1.Error{Code: "deserialization_failed", Context: "subscriptions not an array"}
	n := scripted(t, func(ws *gorilla.Conn) {
		ws.ReadMessage()
		ws.WriteMessage(gorilla.TextMessage, []byte(frame(serverError)))
		readAll(ws)
	})
	_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
	var got jsonv1.Error
	if !errors.As(err, &got) || got != serverError {
		t.Errorf("Dial = %v, want %v", err, serverError)
	}
}

func TestClientOnError(t *testing.T) {
	n := newNetwork(t)
	serve(t, n, websocket.ServerConfig{})
	reported := make(chan jsonv1.Error, 1)
	c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, OnError: func(e jsonv1.Error) { reported <- e }})
	publish(t, c, "<$>", broker.None())
	select {
	case e := <-reported:
		if e.Context != "no topic in top-level JSON object" {
			t.Errorf("reported %v", e)
		}
	case <-time.After(patience):
		t.Error("error not reported")
	}
}

// Pings are answered even if the application does not call Next.
func TestClientAnswersPingsWithoutNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{})
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/"}, ReceiveQueue: 10})
		next[broker.PeerAdded](t, s)
		for i := range uint64(60) {
			publish(t, s, "/", broker.Count(i))
			time.Sleep(time.Second)
		}
		for i := range uint64(10) {
			if got := next[broker.Received](t, c); !broker.Equal(got.Message.Value, broker.Count(50+i)) {
				t.Errorf("received %v, want %d", got.Message.Value, 50+i)
			}
		}
		if peers := s.Clients(); len(peers) != 1 {
			t.Errorf("server has clients %v", peers)
		}
	})
}

func TestClientPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := stalledServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		notification, err := c.Next(ctx)
		lost, ok := notification.(broker.PeerLost)
		if !ok || !errors.Is(lost.Err, websocket.ErrPingTimeout) {
			t.Errorf("Next = %v, %v, want a ping timeout", notification, err)
		}
	})
}

func TestClientReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := 0
		n := scripted(t, func(ws *gorilla.Conn) {
			sessions++
			_, text, _ := ws.ReadMessage()
			if string(text) != `["/a"]` {
				t.Errorf("session %d subscribes to %s", sessions, text)
			}
			if sessions == 2 || sessions == 3 {
				return // fails before the ack
			}
			ws.WriteMessage(gorilla.TextMessage, []byte(ack))
			if sessions == 4 {
				if _, text, err := ws.ReadMessage(); string(text) != message("/b", broker.Count(1)) {
					t.Errorf("received %s, %v", text, err)
				}
				ws.WriteMessage(gorilla.TextMessage, []byte(message("/a", broker.Count(2))))
				readAll(ws)
			}
		})
		c := dial(t, websocket.ClientConfig{
			Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/a"},
			Reconnect: true, RetryMin: time.Second, RetryMax: 2 * time.Second,
		})
		start := time.Now()
		next[broker.PeerLost](t, c)
		publish(t, c, "/b", broker.Count(1))
		next[broker.PeerAdded](t, c)
		if got := next[broker.Received](t, c); !broker.Equal(got.Message.Value, broker.Count(2)) {
			t.Errorf("received %+v", got)
		}
		// Three pauses of at most 1, 2 and 2 seconds, and at least half of
		// that.
		if d := time.Since(start); d < 2500*time.Millisecond || d > 5*time.Second {
			t.Errorf("reconnected after %v", d)
		}
		c.Close()
		next[broker.PeerLost](t, c)
	})
}

// A client does not repeat what the server has refused: the refusal ends it, with the
// words of the server.
func TestClientReconnectRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		refuse func(http.ResponseWriter, *http.Request)
		want   string
	}{
		"status 401": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "unknown token", http.StatusUnauthorized)
		}, "unknown token"},
		"status 403": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not for you", http.StatusForbidden)
		}, "not for you"},
		"error instead of an ack": {func(w http.ResponseWriter, r *http.Request) {
			ws, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.Close()
			ws.ReadMessage()
			ws.WriteMessage(gorilla.TextMessage, []byte(`{"type":"error","code":"unauthorized","context":"no such user"}`))
			readAll(ws)
		}, "unauthorized: no such user"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				attempts := 0
				web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if attempts++; attempts > 1 {
						tt.refuse(w, r)
						return
					}
					ws, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
					if err != nil {
						t.Error(err)
						return
					}
					accept(ws)
					ws.Close()
				})}
				go web.Serve(n)
				defer web.Close()
				c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Subscriptions: []string{"/a"}, Reconnect: true})
				next[broker.PeerLost](t, c)
				_, err := c.Next(t.Context())
				if !errors.Is(err, broker.ErrClosed) || !strings.Contains(err.Error(), tt.want) || !websocket.IsRefusal(err) {
					t.Errorf("Next = %v, want ErrClosed and %q", err, tt.want)
				}
				if err := c.Publish(t.Context(), "/a", broker.None()); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Publish = %v, want %q", err, tt.want)
				}
				if attempts != 2 {
					t.Errorf("%d attempts, want 2", attempts)
				}
			})
		})
	}
}

// A server that disconnects repeatedly cannot fill the memory with
// notifications: the client reconnects only if there is room for them.
func TestClientReconnectWaitsForNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions atomic.Int64
		n := scripted(t, func(ws *gorilla.Conn) {
			sessions.Add(1)
			accept(ws)
		})
		c, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, ReceiveQueue: 2, Reconnect: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := sessions.Load(); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("Close took %v", d)
		}
		next[broker.PeerAdded](t, c)
		next[broker.PeerLost](t, c)
		if _, err := c.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Next = %v, want ErrClosed", err)
		}
	})
}

// Large messages before the ack do not keep the client from connecting.
func TestClientFloodBeforeAck(t *testing.T) {
	n := scripted(t, func(ws *gorilla.Conn) {
		ws.ReadMessage()
		for i := range uint64(3) {
			large := message("/", broker.Vector(broker.Count(i), broker.String(strings.Repeat("x", 600_000))))
			ws.WriteMessage(gorilla.TextMessage, []byte(large))
		}
		ws.WriteMessage(gorilla.TextMessage, []byte(ack))
		readAll(ws)
	})
	c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
	next[broker.Received](t, c)
	c.Close()
	next[broker.PeerLost](t, c)
}

// Close does not wait for the next attempt to reconnect.
func TestClientCloseWhileDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scripted(t, accept)
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, Reconnect: true, RetryMin: time.Hour, RetryMax: time.Hour})
		next[broker.PeerLost](t, c)
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// publishUntilError publishes until it fails. Before the send queue fills, the client may take
// many messages at once from it.
func publishUntilError(t *testing.T, c *websocket.Client) (err error) {
	t.Helper()
	for i := 0; err == nil && i < 10_000; i++ {
		err = c.Publish(t.Context(), "/", broker.None())
	}
	return err
}

func TestClientSendOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := stalledServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, SendQueue: 2, SendOverflow: broker.OverflowDisconnect})
		err := publishUntilError(t, c)
		if !errors.Is(err, broker.ErrOverflow) {
			t.Errorf("Publish = %v, want ErrOverflow", err)
		}
		if lost := next[broker.PeerLost](t, c); !errors.Is(lost.Err, broker.ErrOverflow) {
			t.Errorf("lost with error %v, want ErrOverflow", lost.Err)
		}
	})
}

// A Publish that waits for room in the queue returns the reason if the
// connection is lost.
func TestClientLostWhilePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := stalledServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, SendQueue: 1, SendOverflow: broker.OverflowBlock})
		err := publishUntilError(t, c)
		lost := next[broker.PeerLost](t, c)
		if lost.Err == nil || !errors.Is(err, lost.Err) {
			t.Errorf("Publish = %v, want %v", err, lost.Err)
		}
	})
}

// Zeek before 6.0 misreads a text in fragments.
func TestClientDoesNotFragment(t *testing.T) {
	heads := make(chan []byte, 1)
	n := scripted(t, func(ws *gorilla.Conn) {
		accept(ws)
		head := make([]byte, 10)
		io.ReadFull(ws.NetConn(), head)
		heads <- head
	})
	c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial, PingInterval: -1})
	text := broker.String(strings.Repeat("x", 100_000))
	publish(t, c, "/", text)
	want := append([]byte{0x81, 0xff, 0, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(message("/", text))))...)
	if head := <-heads; !bytes.Equal(head, want) {
		t.Errorf("a large text begins with %x, want %x", head, want)
	}
}

// Zeek's own server closes the connection if bytes are not UTF-8. Broker's
// embedded server accepts them. A value that the server could not read is not
// sent, and the error contains it.
func TestClientRejectsUnreadableValues(t *testing.T) {
	const uuid = "e2c419af-2666-59f3-95bd-30b9c45dd75c"
	node := func(script string) broker.Value {
		return broker.Vector(broker.Set(broker.String("good")), broker.Table(broker.Entry{Key: broker.Count(1), Value: broker.String(script)}))
	}
	for name, tt := range map[string]struct {
		endpoint, version string
		value             broker.Value
		err               error
		text              string
	}{
		"bytes to Zeek's own":     {uuid + "-websocket-0", "8.0.10", node("a\xff"), websocket.ErrNotUTF8, `"a\xff": bytes that are not UTF-8`},
		"bytes to Broker's":       {uuid, "2.3.8", node("a\xff"), nil, ""},
		"zero to Zeek's own":      {uuid + "-websocket-0", "8.0.10", node("a\x00"), nil, ""},
		"zero to Zeek 5.0":        {uuid, "2.3.8", node("a\x00"), websocket.ErrZeroByte, `"a\x00": a zero byte`},
		"zero to Zeek 6.2":        {uuid, "6.2.0", broker.Enum("\x00"), websocket.ErrZeroByte, `"\x00": a zero byte`},
		"zero to Zeek 7 or 8":     {uuid, "2.8.0-dev", node("a\x00"), nil, ""},
		"no zero to Zeek 5.0":     {uuid, "2.3.8", node(`\u0000`), nil, ""},
		"zero after a long value": {uuid, "2.3.8", node(strings.Repeat("x", 1000) + "\x00"), websocket.ErrZeroByte, "x\": a zero byte"},
	} {
		t.Run(name, func(t *testing.T) {
			n := scripted(t, func(ws *gorilla.Conn) {
				ws.ReadMessage()
				ws.WriteMessage(gorilla.TextMessage, []byte(frame(jsonv1.Ack{Endpoint: tt.endpoint, Version: tt.version})))
				readAll(ws)
			})
			c := dial(t, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
			err := c.Publish(t.Context(), "/", tt.value)
			if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Publish = %v, want %v", err, cmp.Or(tt.text, "no error"))
			}
		})
	}
}
