package websocket_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// scripted is a network with a server that runs script for each WebSocket that
// clients open.
func scripted(t *testing.T, script func(ws *gorilla.Conn)) *network {
	t.Helper()
	n := newNetwork(t)
	var running sync.WaitGroup // the server does not know of WebSockets
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		ws, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		script(ws)
	})}
	done := make(chan struct{})
	go func() {
		web.Serve(n)
		close(done)
	}()
	t.Cleanup(func() {
		web.Close()
		<-done
		running.Wait()
	})
	return n
}

// accept does what a server does first.
func accept(ws *gorilla.Conn) {
	ws.ReadMessage()
	ws.WriteMessage(gorilla.TextMessage, []byte(ack))
}

// deafServer is a network with a server that accepts clients and reads no more.
func deafServer(t *testing.T) *network {
	t.Helper()
	hang := make(chan struct{})
	n := scripted(t, func(ws *gorilla.Conn) {
		accept(ws)
		<-hang
	})
	t.Cleanup(func() { close(hang) }) // before the server is waited for
	return n
}

// readAll reads, and so answers pings, until the connection ends.
func readAll(ws *gorilla.Conn) {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

const ack = `{"type":"ack","endpoint":"n-websocket-0","version":"8.0.10"}`

func TestClientAckAndClose(t *testing.T) {
	n := scripted(t, func(ws *gorilla.Conn) {
		ws.ReadMessage()
		ws.WriteMessage(gorilla.TextMessage, []byte(message("/early", broker.Count(0))))
		ws.WriteMessage(gorilla.TextMessage, []byte(ack))
		ws.WriteMessage(gorilla.TextMessage, []byte(message("/late", broker.Count(1))))
		ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1001, "Terminating"))
		readAll(ws)
	})
	c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial})
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
		t.Errorf("lost for %v", lost.Err)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
	if err := c.Publish(t.Context(), "/x", broker.None()); !errors.As(err, &closed) {
		t.Errorf("Publish = %v, want the CloseError", err)
	}
}

// Close sends what Publish was given.
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
		t.Errorf("server lost the client for %v, want a normal end", lost.Err)
	}
	if lost := next[broker.PeerLost](t, c); !errors.Is(lost.Err, broker.ErrClosed) {
		t.Errorf("client lost the server for %v, want ErrClosed", lost.Err)
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
	_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe", Dial: n.Dial})
	var got jsonv1.Error
	if !errors.As(err, &got) || got != serverError {
		t.Errorf("Dial = %v, want %v", err, serverError)
	}
}

func TestClientOnError(t *testing.T) {
	n := newNetwork(t)
	serve(t, n, websocket.ServerConfig{})
	reported := make(chan jsonv1.Error, 1)
	c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, OnError: func(e jsonv1.Error) { reported <- e }})
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

// A server that pings but never answers does not hold up Dial.
func TestDialTimeLimits(t *testing.T) {
	pinging := func(ws *gorilla.Conn) {
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			readAll(ws)
			close(done)
		}()
		for ws.WriteControl(gorilla.PingMessage, nil, time.Now().Add(time.Second)) == nil {
			time.Sleep(time.Second)
		}
	}
	// Not even the subscriptions get through to this one.
	deaf := func(*gorilla.Conn) { time.Sleep(time.Hour) }
	tests := []struct {
		name    string
		timeout time.Duration // of the context
		cfg     websocket.ClientConfig
		script  func(*gorilla.Conn)
		want    time.Duration
	}{
		{"context", 4 * time.Second, websocket.ClientConfig{}, pinging, 4 * time.Second},
		{"ack", time.Hour, websocket.ClientConfig{AckTimeout: 7 * time.Second}, pinging, 7 * time.Second},
		{"default", time.Hour, websocket.ClientConfig{}, pinging, websocket.DefaultAckTimeout},
		{"deaf", 4 * time.Second, websocket.ClientConfig{}, deaf, 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scripted(t, tt.script)
				tt.cfg.Address, tt.cfg.Dial = "pipe", n.Dial
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				start := time.Now()
				_, err := websocket.Dial(ctx, tt.cfg)
				if !errors.Is(err, websocket.ErrNoAck) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Dial = %v, want ErrNoAck", err)
				}
				if d := time.Since(start); d != tt.want {
					t.Errorf("Dial took %v, want %v", d, tt.want)
				}
			})
		})
	}
}

func TestDialSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		go func() {
			nc, _ := n.Accept()
			defer nc.Close()
			for b := make([]byte, 1024); ; {
				if _, err := nc.Read(b); err != nil {
					return
				}
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		start := time.Now()
		if _, err := websocket.Dial(ctx, websocket.ClientConfig{Address: "pipe", Dial: n.Dial}); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial = %v, want the context's end", err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("Dial took %v after its context", d)
		}
	})
}

// Broker's native port is silent when it meets HTTP; that must not be all that
// the user learns.
func TestDialSilenceExplained(t *testing.T) {
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": {InsecureSkipVerify: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				go func() {
					nc, _ := n.Accept()
					io.Copy(io.Discard, nc)
					nc.Close()
				}()
				_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe:1", Dial: n.Dial, TLS: config})
				var mismatch *websocket.MismatchError
				if !errors.As(err, &mismatch) || mismatch.Met != "silence" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Dial = %v, want silence", err)
				}
			})
		})
	}
}

// Pings are answered however long the application does not call Next.
func TestClientBusyApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{})
		c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, Subscriptions: []string{"/"}, ReceiveQueue: 10})
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

func TestClientDeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := deafServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		notice, err := c.Next(ctx)
		lost, ok := notice.(broker.PeerLost)
		if !ok || !errors.Is(lost.Err, websocket.ErrPingTimeout) {
			t.Errorf("Next = %v, %v, want a ping timeout", notice, err)
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
			Address: "pipe", Dial: n.Dial, Subscriptions: []string{"/a"},
			Reconnect: true, ReconnectMin: time.Second, ReconnectMax: 2 * time.Second,
		})
		start := time.Now()
		next[broker.PeerLost](t, c)
		publish(t, c, "/b", broker.Count(1))
		next[broker.PeerAdded](t, c)
		if got := next[broker.Received](t, c); !broker.Equal(got.Message.Value, broker.Count(2)) {
			t.Errorf("received %+v", got)
		}
		// Pauses of up to 1, 2 and 2 seconds, of which at least half.
		if d := time.Since(start); d < 2500*time.Millisecond || d > 5*time.Second {
			t.Errorf("reconnected after %v", d)
		}
		c.Close()
		next[broker.PeerLost](t, c)
	})
}

// A server that comes and goes cannot fill our memory with the news of it.
func TestClientReconnectsNoFasterThanNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions atomic.Int64
		n := scripted(t, func(ws *gorilla.Conn) {
			sessions.Add(1)
			accept(ws)
		})
		c, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe", Dial: n.Dial, ReceiveQueue: 2, Reconnect: true})
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

// Before the ack a server has little to say.
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
	c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial})
	next[broker.Received](t, c)
	c.Close()
	next[broker.PeerLost](t, c)
}

// Close does not wait for the next attempt to reconnect.
func TestClientCloseWhileDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := scripted(t, accept)
		c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, Reconnect: true, ReconnectMin: time.Hour, ReconnectMax: time.Hour})
		next[broker.PeerLost](t, c)
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestClientSendOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := deafServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, SendQueue: 2, SendOverflow: broker.OverflowDisconnect})
		var err error
		for i := 0; err == nil && i < 10; i++ {
			err = c.Publish(t.Context(), "/", broker.None())
		}
		if !errors.Is(err, broker.ErrOverflow) {
			t.Errorf("Publish = %v, want ErrOverflow", err)
		}
		if lost := next[broker.PeerLost](t, c); !errors.Is(lost.Err, broker.ErrOverflow) {
			t.Errorf("lost for %v, want ErrOverflow", lost.Err)
		}
	})
}

// Who waits for room in the queue when the connection is lost hears why.
func TestClientLostWhilePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := deafServer(t)
		c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, SendQueue: 1, SendOverflow: broker.OverflowBlock})
		var err error
		for i := 0; err == nil && i < 10; i++ {
			err = c.Publish(t.Context(), "/", broker.None())
		}
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
	c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial, PingInterval: -1})
	text := broker.String(strings.Repeat("x", 100_000))
	publish(t, c, "/", text)
	want := append([]byte{0x81, 0xff, 0, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(message("/", text))))...)
	if head := <-heads; !bytes.Equal(head, want) {
		t.Errorf("a large text begins with %x, want %x", head, want)
	}
}

// Zeek's own server closes the connection over bytes that are not UTF-8,
// Broker's embedded one takes them.
// What a server could not read is not sent, and the error says what it is.
func TestClientUnreadable(t *testing.T) {
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
		"bytes to Zeek's own":    {uuid + "-websocket-0", "8.0.10", node("a\xff"), websocket.ErrNotUTF8, `"a\xff": bytes that are not UTF-8`},
		"bytes to Broker's":      {uuid, "2.3.8", node("a\xff"), nil, ""},
		"zero to Zeek's own":     {uuid + "-websocket-0", "8.0.10", node("a\x00"), nil, ""},
		"zero to Zeek 5.0":       {uuid, "2.3.8", node("a\x00"), websocket.ErrZeroByte, `"a\x00": a zero byte`},
		"zero to Zeek 6.2":       {uuid, "6.2.0", broker.Enum("\x00"), websocket.ErrZeroByte, `"\x00": a zero byte`},
		"zero to Zeek 7 or 8":    {uuid, "2.8.0-dev", node("a\x00"), nil, ""},
		"no zero to Zeek 5.0":    {uuid, "2.3.8", node(`\u0000`), nil, ""},
		"an end to a long value": {uuid, "2.3.8", node(strings.Repeat("x", 1000) + "\x00"), websocket.ErrZeroByte, "x\": a zero byte"},
	} {
		t.Run(name, func(t *testing.T) {
			n := scripted(t, func(ws *gorilla.Conn) {
				ws.ReadMessage()
				ws.WriteMessage(gorilla.TextMessage, []byte(frame(jsonv1.Ack{Endpoint: tt.endpoint, Version: tt.version})))
				readAll(ws)
			})
			c := dial(t, websocket.ClientConfig{Address: "pipe", Dial: n.Dial})
			err := c.Publish(t.Context(), "/", tt.value)
			if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Publish = %v, want %v", err, cmp.Or(tt.text, "no error"))
			}
		})
	}
}

// Dial says what it met instead of a WebSocket server of Zeek.
func TestDialMismatch(t *testing.T) {
	const alert = "\x15\x03\x03\x00\x02\x02"
	tests := []struct {
		name   string
		tls    bool
		answer string
		met    string
		advice string
	}{
		{"native", false, "\x00\x00\x00\x05\x07ZEEK", "Broker's native protocol", "use the port of the WebSocket server"},
		{"native for TLS", true, "\x00\x00\x00\x05\x07ZEEK", "Broker's native protocol", "use the port of the WebSocket server"},
		{"TLS for plain", false, alert + "\x46", "TLS", "set TLS"},
		{"plain for TLS", true, "HTTP/1.1 400 Error reading HTTP request line\r\n\r\n", "a server without TLS", "unset TLS"},
		{"something for TLS", true, "220 mail.example ESMTP\r\n", "a server without TLS", "unset TLS"},
		{"anonymous TLS", true, alert + "\x28", "share no cipher suite", "anonymous"},
		{"old TLS", true, alert + "\x46", "share no cipher suite or version", "anonymous"},
		{"certificate", true, alert + "\x74", "wants a certificate", "set one in TLS"},
		{"wrong path", false, "HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\ninvalid path", `HTTP status 400 Bad Request ("invalid path")`, "check that the address"},
		{"hangs up on HTTP", false, "", "hangs up on HTTP", "set TLS"},
		{"hangs up on TLS", true, "", "hangs up on TLS", "unset TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := loopback(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				nc, err := l.Accept()
				if err != nil {
					return
				}
				nc.Read(make([]byte, 4096))
				nc.Write([]byte(tt.answer))
				if tt.answer == "" {
					nc.(*net.TCPConn).CloseWrite()
				}
				nc.Read(make([]byte, 4096))
				nc.Close()
			}()
			cfg := websocket.ClientConfig{Address: l.Addr().String()}
			if tt.tls {
				cfg.TLS = &tls.Config{InsecureSkipVerify: true}
			}
			_, err := websocket.Dial(t.Context(), cfg)
			var mismatch *websocket.MismatchError
			if !errors.As(err, &mismatch) || !strings.Contains(mismatch.Met, tt.met) || !strings.Contains(mismatch.Advice, tt.advice) {
				t.Errorf("Dial = %v, want a mismatch with %s and advice to %s", err, tt.met, tt.advice)
			}
			l.Close()
			<-done
		})
	}
}

func TestTLS(t *testing.T) {
	// httptest brings a certificate.
	web := httptest.NewTLSServer(nil)
	serverTLS, roots := web.TLS, web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	web.Close()
	l := loopback(t)
	s := serve(t, l, websocket.ServerConfig{TLS: serverTLS, Authorize: func(r *http.Request) (*broker.Identity, error) {
		if r.TLS == nil {
			return nil, errors.New("no TLS")
		}
		return nil, nil
	}})
	address := l.Addr().String()
	c := dial(t, websocket.ClientConfig{Address: address, Subscriptions: []string{""}, TLS: &tls.Config{RootCAs: roots}})
	publish(t, s, "/", broker.Boolean(true))
	next[broker.Received](t, c)

	_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: address})
	var mismatch *websocket.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Met != websocket.MetTLS {
		t.Errorf("Dial without TLS = %v, want a MismatchError that says so", err)
	}
	_, err = websocket.Dial(t.Context(), websocket.ClientConfig{Address: address, TLS: &tls.Config{}})
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("Dial without its root = %v, want a CertificateVerificationError", err)
	}
}
