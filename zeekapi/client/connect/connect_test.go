package connect_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/broker/wire"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// longTimeout is a timeout that only failing tests reach.
const longTimeout = time.Minute

// shortTimeout sets a short timeout, for servers that do not respond.
func shortTimeout(o *connect.Options) { o.Timeout = time.Second }

func TestMain(m *testing.M) {
	// Tests wait more than they compute. A flag on the command line overrides this.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var (
	modern = management.Dialect(management.DefaultTopics)
	old    = clusteragent.Dialect(clusteragent.DefaultTopics)
)

// A server serves l until the test ends. It need not accept all connections.
type server func(t *testing.T, l net.Listener)

// webSocket returns a WebSocket server with a security layer.
func webSocket(mode security.Mode) server {
	return func(t *testing.T, l net.Listener) {
		s, err := websocket.NewServer(websocket.ServerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		serveHTTP(t, &securedListener{Listener: l, layer: layer(t, mode)}, s)
	}
}

func serveHTTP(t *testing.T, l net.Listener, h http.Handler) {
	web := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() { web.Serve(l) })
	t.Cleanup(func() {
		web.Close()
		wg.Wait()
	})
}

// securedListener performs TLS handshakes in Accept, one client at a time.
type securedListener struct {
	net.Listener
	layer *security.Layer
}

func (l *securedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
		secured, err := l.layer.Secure(ctx, conn, false)
		cancel()
		if err == nil {
			return secured, nil
		}
	}
}

func layer(t *testing.T, mode security.Mode) *security.Layer {
	l, err := security.New(security.Config{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// native returns a Broker endpoint that subscribes to topics.
func native(mode security.Mode, topics ...string) server {
	return func(t *testing.T, l net.Listener) {
		e, err := peering.New(peering.Config{TLS: layer(t, mode).Hook(), Subscriptions: topics})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Serve(l); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
	}
}

// raw returns a server that sends greeting on every connection, and then closes it
// or discards all input.
func raw(greeting string, hangUp bool) server {
	return func(t *testing.T, l net.Listener) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer conn.Close()
					io.WriteString(conn, greeting)
					if !hangUp {
						io.Copy(io.Discard, conn)
					}
				})
			}
		})
		t.Cleanup(func() {
			l.Close()
			wg.Wait()
		})
	}
}

// page returns an HTTP server that responds with status.
func page(status int) server {
	return func(t *testing.T, l net.Listener) {
		serveHTTP(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }))
	}
}

// ordinaryTLS serves WebSockets over TLS with a certificate.
func ordinaryTLS(t *testing.T, l net.Listener) {
	s, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	web := httptest.NewUnstartedServer(s)
	web.Listener.Close()
	web.Listener = l
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(web.Close)
}

const (
	modernTopic = "zeek/management/controller"
	oldTopic    = "zeek/cluster-control/controller"
)

func TestDial(t *testing.T) {
	unverified := func(o *connect.Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} }
	tests := []struct {
		name      string
		server    server
		transport connect.Transport
		change    func(*connect.Options)
		want      string // the description of the connection, with ADDRESS, or a part of the error
	}{
		{"plain WebSocket", webSocket(security.Off), connect.Auto, nil, "websocket at ADDRESS, without TLS, dialect Management"},
		{"plain WebSocket", webSocket(security.Off), connect.WebSocket, nil, "websocket at ADDRESS, without TLS, dialect Management"},
		{"plain WebSocket", webSocket(security.Off), connect.Native, nil, "(peering: the peer does not use TLS|TLS|HTTP)"},
		{"anonymous WebSocket", webSocket(security.Anonymous), connect.Auto, nil, "websocket at ADDRESS, with anonymous TLS, dialect Management"},
		{"anonymous WebSocket, with TLS option", webSocket(security.Anonymous), connect.Auto, unverified, "websocket at ADDRESS, with unverified TLS, dialect Management"},
		{"anonymous WebSocket", webSocket(security.Anonymous), connect.WebSocket, nil, "met "},
		{"TLS WebSocket, with TLS option", ordinaryTLS, connect.Auto, unverified, "websocket at ADDRESS, with unverified TLS, dialect Management"},
		{"WebSocket, only the old dialect", webSocket(security.Off), connect.Auto, func(o *connect.Options) { o.Dialects = o.Dialects[1:] },
			"websocket at ADDRESS, without TLS, dialect ClusterAgent"},
		{"native", native(security.Off, modernTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native", native(security.Off, modernTopic), connect.Native, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native", native(security.Off, modernTopic), connect.WebSocket, nil, "met "},
		{"anonymous native", native(security.Anonymous, modernTopic), connect.Auto, nil, "native at ADDRESS, with anonymous TLS, dialect Management"},
		{"anonymous native", native(security.Anonymous, modernTopic), connect.Native, nil, "native at ADDRESS, with anonymous TLS, dialect Management"},
		{"native of the old dialect", native(security.Off, oldTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect ClusterAgent"},
		{"native of both dialects", native(security.Off, modernTopic, oldTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native with another dialect", native(security.Off, modernTopic), connect.Auto, func(o *connect.Options) { o.Dialects = o.Dialects[1:] }, `it is no controller: it subscribes to ["zeek/management/controller"]`},
		{"agent", native(security.Off, "zeek/management/agent/x"), connect.Auto, nil, `it is no controller: it subscribes to ["zeek/management/agent/x"]`},
		{"web server", page(404), connect.Auto, nil, `met HTTP status 404 Not Found ("no")`},
		{"web server", page(404), connect.Native, nil, "(security|peering)"},
		{"unauthorized", page(401), connect.Auto, nil, "set the Header that the server requires"},
		{"SSH server", raw("SSH-2.0-x\r\n", false), connect.Auto, nil, `its first bytes are "SSH-2.0-x"`},
		{"SSH server", raw("SSH-2.0-x\r\n", false), connect.Native, nil, `its first bytes are "SSH-2.0-x"`},
		{"closed connection", raw("", true), connect.Auto, nil, "met a server that hangs up on HTTP"},
		{"no data", raw("", false), connect.Auto, shortTimeout, "met silence"},
		{"no data", raw("", false), connect.Native, shortTimeout, "deadline exceeded"},
		{"unknown transport", raw("", false), "udp", nil, `transport "udp": want auto, websocket, native or http`},
	}
	for _, test := range tests {
		t.Run(test.name+" by "+string(test.transport), func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			test.server(t, l)
			o := connect.Options{
				Address: l.Addr().String(), Transport: test.transport, Timeout: longTimeout,
				Dialects: []*zeekapi.Dialect{modern, old},
			}
			if test.change != nil {
				test.change(&o)
			}
			got := ""
			c, err := connect.Dial(t.Context(), o)
			if err != nil {
				got = err.Error()
			} else {
				got = c.String()
				c.Close()
			}
			want := strings.Replace(test.want, "ADDRESS", l.Addr().String(), 1)
			matched := strings.Contains(got, want)
			if alternatives, ok := strings.CutPrefix(want, "("); ok {
				for _, a := range strings.Split(strings.TrimSuffix(alternatives, ")"), "|") {
					matched = matched || err != nil && strings.Contains(got, a)
				}
			}
			if !matched {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// Dial falls back to NativeAddress if the connection to Address is refused.
func TestDialFallsBackToNativeAddress(t *testing.T) {
	t.Parallel()
	o := connect.Options{
		Address: peertest.FreeAddress(t), Transport: connect.Auto, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern, old},
	}
	if _, err := connect.Dial(t.Context(), o); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	native(security.Anonymous, oldTopic)(t, l)
	o.NativeAddress = l.Addr().String()
	c, err := connect.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Transport != connect.Native || c.Address != o.NativeAddress || c.Dialect != old {
		t.Errorf("found %s", c)
	}

	// With TLS, Dial does not fall back to the native port, which may have anonymous
	// TLS only.
	o.TLS = new(tls.Config)
	if _, err := connect.Dial(t.Context(), o); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
}

// Dial connects to a host name with several addresses if one of them responds.
func TestDialHostName(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.LookupHost("localhost"); err != nil {
		t.Skip("no localhost: ", err)
	}
	native(security.Off, modernTopic)(t, l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: net.JoinHostPort("localhost", port), Transport: connect.Auto, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Dial connects to an IPv6 address in brackets.
func TestDialIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	webSocket(security.Off)(t, l)
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.Auto, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// While Auto detects the transport, a native endpoint without TLS must not receive
// bytes that it would read as the length of a huge message.
func TestAutoSendsNoInvalidLength(t *testing.T) {
	t.Parallel()
	received := make(chan []byte, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				io.WriteString(conn, "\x00\x00\x00\x05\x07ZEEK")
				b := make([]byte, 5)
				n, _ := io.ReadFull(conn, b)
				received <- b[:n]
			})
		}
	})
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.Auto, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
	})
	if err == nil {
		c.Close()
		t.Error("no error for a peer that closes the connection")
	}
	l.Close()
	wg.Wait()
	close(received)
	for b := range received {
		if len(b) > 0 && !bytes.HasPrefix(b, []byte{0, 0, 0}) {
			t.Errorf("the endpoint received %q", b)
		}
	}
}

// Cut ends the connection without a closing handshake.
func TestCutEndsConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	webSocket(security.Off)(t, l)
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.WebSocket, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Cut()
	for {
		if _, err := c.Next(t.Context()); err != nil {
			break
		}
	}
	c.Close()
}

func TestDialRejectsInvalidOptions(t *testing.T) {
	dialects := []*zeekapi.Dialect{modern}
	for want, o := range map[string]connect.Options{
		"Address is empty":      {Dialects: dialects},
		"Dialects is empty":     {Address: "x:1"},
		"Timeout is -1ns":       {Address: "x:1", Dialects: dialects, Timeout: -1},
		`transport "udp": want`: {Address: "x:1", Dialects: dialects, Transport: "udp"},
	} {
		if _, err := connect.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Auto does not wait for the greeting of a server that waits for a request: the server
// responds to a probe with an error, which is not a greeting.
func TestAutoProbesSilentServers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"HTTP": "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
		"TLS":  "\x15\x03\x01\x00\x02\x02\x46",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			received := make(chan string, 10)
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					b := make([]byte, len(wire.PortProbe))
					n, _ := io.ReadFull(conn, b)
					received <- string(b[:n])
					io.WriteString(conn, answer)
					conn.Close()
				}
			})
			c, err := connect.Dial(t.Context(), connect.Options{
				Address: l.Addr().String(), Transport: connect.Auto, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
			})
			if err == nil {
				c.Close()
				t.Error("no error for a server without a WebSocket")
			}
			if errors.As(err, new(*connect.ForeignError)) {
				t.Errorf("the answer to the probe counts as another protocol: %v", err)
			}
			l.Close()
			wg.Wait()
			close(received)
			if first := <-received; first != wire.PortProbe {
				t.Errorf("the server received %q first, want a probe", first)
			}
			if second := <-received; !strings.HasPrefix(second, "GET ") {
				t.Errorf("the server received %q next, want a request", second)
			}
		})
	}
}
