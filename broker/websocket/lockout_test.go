package websocket_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

const (
	attackerAddress = "192.0.2.1"
	honestAddress   = "198.51.100.7"
	localAddress    = "127.0.0.1"
)

const token = "Bearer token-of-the-boss"

var errNoToken = errors.New("a token is required")

// authorize accepts one token.
func authorize(r *http.Request) (*broker.Identity, error) {
	if r.Header.Get("Authorization") != token {
		return nil, errNoToken
	}
	return &broker.Identity{Names: []string{"boss"}}, nil
}

// attacked is a server whose connections come from chosen addresses.
type attacked struct {
	*websocket.Server
	t     *testing.T
	pipes *brokertest.Pipes
	roots *tls.Config // nil without TLS
	log   strings.Builder
}

func newAttacked(t *testing.T, cfg websocket.ServerConfig, roots *tls.Config) *attacked {
	t.Helper()
	a := &attacked{t: t, pipes: brokertest.NewPipes(), roots: roots}
	cfg.Log = zerolog.New(zerolog.SyncWriter(&a.log)).Level(zerolog.WarnLevel)
	a.Server = serve(t, a.pipes, cfg)
	return a
}

func (a *attacked) dialFrom(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return a.pipes.DialFrom(from) }
}

// open opens a connection and writes its first bytes.
func (a *attacked) open(from, begin string) net.Conn {
	a.t.Helper()
	c, err := a.pipes.DialFrom(from)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	if begin != "" {
		io.WriteString(c, begin)
	}
	return c
}

// operator connects, sends a message, and receives an answer.
func (a *attacked) operator(from string) error {
	c, err := websocket.Dial(a.t.Context(), websocket.ClientConfig{
		Address: "server", DialContext: a.dialFrom(from), TLS: a.roots,
		Subscriptions: []string{"/"}, Header: http.Header{"Authorization": {token}},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return talk(a.t, a.Server, c)
}

// talk has a client send a message to a server, and the server send one back.
func talk(t *testing.T, s *websocket.Server, c *websocket.Client) error {
	publish(t, c, "/question", broker.Count(1))
	for {
		n, err := s.Next(t.Context())
		if err != nil {
			return err
		}
		if _, ok := n.(broker.Received); ok {
			break
		}
	}
	publish(t, s, "/answer", broker.Count(2))
	for {
		switch n, err := c.Next(t.Context()); n := n.(type) {
		case broker.Received:
			return nil
		case broker.PeerLost:
			return n.Err
		default:
			if err != nil {
				return err
			}
		}
	}
}

// upgrade connects a client of an attacker, and sends its first message if there
// is one. It returns nil if the server refuses it.
func (a *attacked) upgrade(from, first string) *gorilla.Conn {
	a.t.Helper()
	d := gorilla.Dialer{NetDialContext: a.dialFrom(from), TLSClientConfig: a.roots}
	scheme := "ws"
	if a.roots != nil {
		scheme = "wss"
	}
	ws, response, err := d.Dial(scheme+"://server"+jsonv1.Path, nil)
	if err != nil {
		if response == nil {
			a.t.Fatal(err)
		}
		return nil
	}
	a.t.Cleanup(func() { ws.Close() })
	if first != "" {
		if err := ws.WriteMessage(gorilla.TextMessage, []byte(first)); err != nil {
			a.t.Fatal(err)
		}
	}
	go func() { // answers pings
		for {
			if _, _, err := ws.NextReader(); err != nil {
				return
			}
		}
	}()
	return ws
}

// webTLS returns the TLS of a server and of its clients.
func webTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca := certtest.New(t)
	pair, err := tls.LoadX509KeyPair(ca.Issue(t, "server", func(c *x509.Certificate) {
		c.DNSNames, c.NotBefore = []string{"server"}, time.Time{} // the clock of a bubble begins in the year 2000
	}))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{InsecureSkipVerify: true}
}

// Attackers open more connections than the server can have. An operator always
// gets in at once, from any address.
func TestOperatorGetsIn(t *testing.T) {
	const many = 100
	attacks := []struct {
		name string
		open func(a *attacked, from string)
	}{
		{"silence", func(a *attacked, from string) { a.open(from, "") }},
		{"TLS handshake stalls", func(a *attacked, from string) { a.open(from, "\x16\x03\x01\x02\x00\x01") }},
		{"half a request", func(a *attacked, from string) { a.open(from, "GET "+jsonv1.Path+" HTTP/1.1\r\nHost:") }},
		{"body does not come", func(a *attacked, from string) {
			a.open(from, "POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 1000\r\n\r\n")
		}},
		{"no subscriptions", func(a *attacked, from string) { a.upgrade(from, "") }},
		{"idle clients", func(a *attacked, from string) { a.upgrade(from, `["/x"]`) }},
		{"deaf clients", func(a *attacked, from string) { a.upgrade(from, `{}`) }},
	}
	serverTLS, clientTLS := webTLS(t)
	for _, attack := range attacks {
		for _, secure := range []bool{false, true} {
			for _, listed := range []bool{false, true} {
				for _, from := range []string{honestAddress, attackerAddress, localAddress} {
					t.Run(fmt.Sprintf("%s/TLS %t/listed clients %t/%s", attack.name, secure, listed, from), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							cfg, roots := websocket.ServerConfig{MaxClients: 40, MaxHandshakes: 60, ReceiveOverflow: broker.OverflowDropOldest}, (*tls.Config)(nil)
							if secure {
								cfg.TLS, roots = serverTLS, clientTLS
							}
							if listed {
								cfg.Authorize = authorize
							}
							a := newAttacked(t, cfg, roots)
							for i := range many {
								attack.open(a, attackerAddress)
								if i%50 == 49 {
									if err := a.operator(from); err != nil {
										t.Fatalf("after %d connections: %v", i+1, err)
									}
								}
							}
							a.settled(attack.name)
						})
					})
				}
			}
		}
	}
}

// settled checks the state of the server at the end of an attack.
func (a *attacked) settled(attack string) {
	a.t.Helper()
	synctest.Wait()
	s := a.Admission()
	if s.Arriving > 60 || s.Anonymous > 40 {
		a.t.Errorf("%+v", s)
	}
	time.Sleep(15 * time.Second)
	synctest.Wait()
	if s = a.Admission(); s.Arriving != 0 || attack != "idle clients" && s.Anonymous != 0 {
		a.t.Errorf("when the deadlines have passed: %+v", s)
	}
	if lines := strings.Count(a.log.String(), "\n"); lines > 50 {
		a.t.Errorf("%d lines in the log:\n%s", lines, &a.log)
	}
}

// An operator who watches does not lose the connection to clients of others.
func TestWatchingOperatorStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttacked(t, websocket.ServerConfig{ReceiveOverflow: broker.OverflowDropOldest}, nil)
		c := dial(t, websocket.ClientConfig{Address: "server", DialContext: a.dialFrom(honestAddress), Subscriptions: []string{"/"}})
		time.Sleep(time.Minute)
		for range 300 {
			a.upgrade(attackerAddress, `["/x"]`)
		}
		synctest.Wait()
		if err := talk(t, a.Server, c); err != nil {
			t.Error(err)
		}
	})
}

// Of the clients of one address, those that send something stay.
func TestActiveClientStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttacked(t, websocket.ServerConfig{MaxClients: 3, ReceiveOverflow: broker.OverflowDropOldest}, nil)
		active := dial(t, websocket.ClientConfig{Address: "server", DialContext: a.dialFrom(attackerAddress), Subscriptions: []string{"/"}})
		for range 10 {
			time.Sleep(time.Second)
			a.upgrade(attackerAddress, `["/x"]`)
			time.Sleep(time.Second)
			if err := talk(t, a.Server, active); err != nil {
				t.Fatal(err)
			}
		}
		if s := a.Admission(); s.Evicted != 8 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that is closed in favor of others learns why.
func TestReplacedClientLearnsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		s := serve(t, n, websocket.ServerConfig{MaxClients: 1})
		first := rawDial(t, n, jsonv1.Path, nil)
		first.send("[]")
		first.want(zeekAck("0"))
		next[broker.PeerAdded](t, s)
		second := make(chan *rawClient)
		go func() { second <- rawDial(t, n, jsonv1.Path, nil) }()
		first.wantClose(1013, "Too many clients")
		if lost := next[broker.PeerLost](t, s); !errors.Is(lost.Err, admission.ErrEvicted) {
			t.Errorf("lost with error %v", lost.Err)
		}
		c := <-second
		c.send("[]")
		c.want(zeekAck("1"))
	})
}

// Identified clients do not lose their place to others, and are not replaced if
// each has one connection.
func TestIdentifiedClientsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		who := 0
		a := newAttacked(t, websocket.ServerConfig{MaxClients: 4, Authorize: func(r *http.Request) (*broker.Identity, error) {
			who++
			return &broker.Identity{Names: []string{fmt.Sprint("client ", who)}}, nil
		}}, nil)
		for range 5 { // one more of those that are identified
			if a.upgrade(honestAddress, "[]") == nil {
				t.Fatal("refused")
			}
		}
		if a.upgrade(honestAddress, "[]") != nil {
			t.Error("admitted")
		}
		if s := a.Admission(); s.Known != 5 || s.Evicted != 0 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A server behind another HTTP server limits clients, too.
func TestHandlerLimitsClients(t *testing.T) {
	s, err := websocket.NewServer(websocket.ServerConfig{MaxClients: 2})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	defer web.Close()
	defer s.Close()
	address := strings.TrimPrefix(web.URL, "http://")
	first := dial(t, websocket.ClientConfig{Address: address})
	for range 5 {
		dial(t, websocket.ClientConfig{Address: address})
	}
	if lost := next[broker.PeerLost](t, first); !strings.Contains(lost.Err.Error(), "Too many clients") {
		t.Errorf("lost with error %v", lost.Err)
	}
	if got := s.Admission(); got.Arriving != 0 || got.Anonymous > 2 || got.Evicted < 4 {
		t.Errorf("%+v", got)
	}
	s.Close()
	if got := s.Admission(); got.Anonymous != 0 {
		t.Errorf("after Close: %+v", got)
	}
}

// A client that does not send its subscriptions is closed.
func TestServerSubscribeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		serve(t, n, websocket.ServerConfig{})
		c := rawDial(t, n, jsonv1.Path, nil)
		start := time.Now()
		c.wantClose(1008, "No subscriptions")
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("closed after %s", d)
		}
	})
}

// Attackers open new connections as fast as they can whenever one is closed.
func TestOperatorGetsInDuringChurn(t *testing.T) {
	for _, attack := range []string{"silence", "idle clients"} {
		t.Run(attack, func(t *testing.T) {
			l := loopback(t)
			s := serve(t, l, websocket.ServerConfig{ReceiveOverflow: broker.OverflowDropOldest})
			ctx, stop := context.WithCancel(t.Context())
			var attackers sync.WaitGroup
			for range 4 {
				attackers.Go(func() { churn(ctx, attack, l.Addr().String()) })
			}
			for range 10 {
				for {
					c, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: l.Addr().String(), Subscriptions: []string{"/"}})
					if err == nil {
						err = talk(t, s, c)
						c.Close()
					}
					if err == nil {
						break
					}
					t.Logf("trying again: %v", err)
				}
			}
			stop()
			attackers.Wait()
		})
	}
}

// churn opens connections until ctx ends, and has at most 100 at a time.
func churn(ctx context.Context, attack, address string) {
	var open []io.Closer
	for ctx.Err() == nil {
		var c io.Closer
		var err error
		if attack == "silence" {
			c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		} else {
			var ws *gorilla.Conn
			if ws, _, err = gorilla.DefaultDialer.DialContext(ctx, "ws://"+address+jsonv1.Path, nil); err == nil {
				ws.WriteMessage(gorilla.TextMessage, []byte("[]"))
				c = ws
			}
		}
		if err != nil {
			continue
		}
		if open = append(open, c); len(open) > 100 {
			open[0].Close()
			open = open[1:]
		}
	}
	for _, c := range open {
		c.Close()
	}
}

// A web page must come from the host that the request names, and that must be a
// name of the server.
func TestServerChecksHosts(t *testing.T) {
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	serverTLS, clientTLS := webTLS(t)
	for _, tt := range []struct {
		name, host, origin, agent string
		refused                   string
	}{
		{"page of the server's address", "192.0.2.1:2149", "http://192.0.2.1:2149", firefox, ""},
		{"page of the server's IPv6 address", "[2001:db8::1]:2149", "http://[2001:db8::1]:2149", firefox, ""},
		{"page of localhost", "localhost:2149", "http://localhost:2149", firefox, ""},
		{"page of an allowed host", "Zeek.example.com:2149", "http://zeek.example.com:2149", firefox, ""},
		{"page of an allowed domain", "a.cluster.example", "http://a.cluster.example", firefox, ""},
		{"page of another host", "192.0.2.1:2149", "http://evil.example", firefox, "may not connect"},
		{"page of another port", "localhost:2149", "http://localhost:8000", firefox, "may not connect"},
		{"page of a name in the certificate", "server:2149", "https://server:2149", firefox, ""},
		{"page without a host", "localhost:2149", "null", firefox, "may not connect"},
		{"page whose name leads to the server", "evil.example:2149", "http://evil.example:2149", firefox, "allowed-hosts"},
		{"page of a similar name", "localhost.evil.example", "http://localhost.evil.example", firefox, "allowed-hosts"},
		{"zeek-client", "controller.internal:2149", "http://controller.internal:2149", "", ""},
		{"IXWebSocket", "controller.internal:2149", "ws://controller.internal:2149", "ixwebsocket/11.4.6 linux ssl/OpenSSL", ""},
		{"websockets for Python", "controller.internal:2149", "", "Python/3.11 websockets/12.0", ""},
		{"program without headers", "controller.internal:2149", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Host": {tt.host}}
			if tt.origin != "" {
				header.Set("Origin", tt.origin)
			}
			if tt.agent != "" {
				header.Set("User-Agent", tt.agent)
			}
			n := newNetwork(t)
			var log strings.Builder
			serve(t, n, websocket.ServerConfig{
				Hosts: admission.Hosts{Names: []string{"zeek.example.com", "*.cluster.example"}}, TLS: serverTLS,
				Log: zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.WarnLevel),
			})
			d := gorilla.Dialer{NetDialContext: n.Dial, TLSClientConfig: clientTLS}
			ws, response, err := d.Dial("wss://pipe"+jsonv1.Path, header)
			if err == nil {
				ws.Close()
			}
			if tt.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || response == nil || response.StatusCode != http.StatusForbidden {
				t.Fatalf("upgraded: %v", err)
			}
			if text, _ := io.ReadAll(response.Body); !strings.Contains(string(text), tt.refused) {
				t.Errorf("answer is %q", text)
			}
			if !strings.Contains(log.String(), tt.refused) {
				t.Errorf("log is %q", &log)
			}
		})
	}
}
