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
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// patience is a timeout that only failing tests meet.
const patience = time.Minute

// impatient is for silent servers, for which time is up at last.
func impatient(o *connect.Options) { o.Timeout = time.Second }

func TestMain(m *testing.M) {
	// Tests wait more than they compute. The command line goes before this.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var (
	modern = management.Dialect(management.DefaultTopics)
	old    = clusteragent.Dialect(clusteragent.DefaultTopics)
)

// A server listens on l until the test ends, and there may be connections that
// nobody accepts any more.
type server func(t *testing.T, l net.Listener)

// webSocket serves WebSockets over a layer.
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
		ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// native is a Broker endpoint that subscribes to these topics.
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

// raw answers every connection with some bytes, and takes what comes.
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
		want      string // what was found, with ADDRESS, or part of the error
	}{
		{"plain WebSocket", webSocket(security.Off), connect.Auto, nil, "websocket at ADDRESS, without TLS, dialect Management"},
		{"plain WebSocket", webSocket(security.Off), connect.WebSocket, nil, "websocket at ADDRESS, without TLS, dialect Management"},
		{"plain WebSocket", webSocket(security.Off), connect.Native, nil, "(peering: the peer does not use TLS|TLS|HTTP)"},
		{"anonymous WebSocket", webSocket(security.Anonymous), connect.Auto, nil, "websocket at ADDRESS, with anonymous TLS, dialect Management"},
		{"anonymous WebSocket, told", webSocket(security.Anonymous), connect.Auto, unverified, "websocket at ADDRESS, with unverified TLS, dialect Management"},
		{"anonymous WebSocket", webSocket(security.Anonymous), connect.WebSocket, nil, "met "},
		{"TLS WebSocket, told", ordinaryTLS, connect.Auto, unverified, "websocket at ADDRESS, with unverified TLS, dialect Management"},
		{"WebSocket of the old dialect, told", webSocket(security.Off), connect.Auto, func(o *connect.Options) { o.Dialects = o.Dialects[1:] },
			"websocket at ADDRESS, without TLS, dialect ClusterAgent"},
		{"native", native(security.Off, modernTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native", native(security.Off, modernTopic), connect.Native, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native", native(security.Off, modernTopic), connect.WebSocket, nil, "met "},
		{"anonymous native", native(security.Anonymous, modernTopic), connect.Auto, nil, "native at ADDRESS, with anonymous TLS, dialect Management"},
		{"anonymous native", native(security.Anonymous, modernTopic), connect.Native, nil, "native at ADDRESS, with anonymous TLS, dialect Management"},
		{"native of the old dialect", native(security.Off, oldTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect ClusterAgent"},
		{"native of both dialects", native(security.Off, modernTopic, oldTopic), connect.Auto, nil, "native at ADDRESS, without TLS, dialect Management"},
		{"native, wrong dialect", native(security.Off, modernTopic), connect.Auto, func(o *connect.Options) { o.Dialects = o.Dialects[1:] }, `it is no controller: it subscribes to ["zeek/management/controller"]`},
		{"an agent", native(security.Off, "zeek/management/agent/x"), connect.Auto, nil, `it is no controller: it subscribes to ["zeek/management/agent/x"]`},
		{"a web server", page(404), connect.Auto, nil, `met HTTP status 404 Not Found ("no")`},
		{"a web server", page(404), connect.Native, nil, "(security|peering)"},
		{"who are you", page(401), connect.Auto, nil, "set the Header that the server requires"},
		{"an SSH server", raw("SSH-2.0-x\r\n", false), connect.Auto, nil, `its first bytes are "SSH-2.0-x"`},
		{"an SSH server", raw("SSH-2.0-x\r\n", false), connect.Native, nil, `its first bytes are "SSH-2.0-x"`},
		{"hangs up", raw("", true), connect.Auto, nil, "met a server that hangs up on HTTP"},
		{"silent", raw("", false), connect.Auto, impatient, "met silence"},
		{"silent", raw("", false), connect.Native, impatient, "deadline exceeded"},
		{"no transport", raw("", false), "smoke", nil, `transport "smoke": want auto, websocket or native`},
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
				Address: l.Addr().String(), Transport: test.transport, Timeout: patience,
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

// TestNobodyListens falls back to the native port, where there is one.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	o := connect.Options{
		Address: peertest.FreeAddress(t), Transport: connect.Auto, Timeout: patience, Dialects: []*zeekapi.Dialect{modern, old},
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

	// But not where that would give up protection.
	o.TLS = new(tls.Config)
	if _, err := connect.Dial(t.Context(), o); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
}

// TestHostName has a host that may have several addresses, of which one answers.
func TestHostName(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.LookupHost("localhost"); err != nil {
		t.Skip("no localhost here: ", err)
	}
	native(security.Off, modernTopic)(t, l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: net.JoinHostPort("localhost", port), Transport: connect.Auto, Timeout: patience, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestIPv6 connects to an address with brackets.
func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	webSocket(security.Off)(t, l)
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.Auto, Timeout: patience, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestAutoDoesNoHarm looks at what a native endpoint without TLS gets to hear:
// nothing that it would take for the length of a giant message.
func TestAutoDoesNoHarm(t *testing.T) {
	t.Parallel()
	heard := make(chan []byte, 10)
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
				heard <- b[:n]
			})
		}
	})
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.Auto, Timeout: patience, Dialects: []*zeekapi.Dialect{modern},
	})
	if err == nil {
		c.Close()
		t.Error("peered with somebody who hangs up")
	}
	l.Close()
	wg.Wait()
	close(heard)
	for b := range heard {
		if len(b) > 0 && !bytes.HasPrefix(b, []byte{0, 0, 0}) {
			t.Errorf("it heard %q", b)
		}
	}
}

// TestCut ends a connection whose other end has stopped.
func TestCut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	webSocket(security.Off)(t, l)
	c, err := connect.Dial(t.Context(), connect.Options{
		Address: l.Addr().String(), Transport: connect.WebSocket, Timeout: patience, Dialects: []*zeekapi.Dialect{modern},
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

func TestOptionErrors(t *testing.T) {
	dialects := []*zeekapi.Dialect{modern}
	for want, o := range map[string]connect.Options{
		"Address is empty":                 {Dialects: dialects},
		"Dialects is empty":                {Address: "x:1"},
		"Timeout is -1ns":                  {Address: "x:1", Dialects: dialects, Timeout: -1},
		`transport "carrier pigeon": want`: {Address: "x:1", Dialects: dialects, Transport: "carrier pigeon"},
	} {
		if _, err := connect.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
