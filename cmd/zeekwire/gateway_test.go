package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// startGateway starts a gateway that connects to a Zeek, and returns its address.
func startGateway(t *testing.T, transport, zeek, clients string) string {
	t.Helper()
	s := newGatewaySettings()
	s.transport = transport
	s.zeeks = []namedZeek{{"lab", zeek}}
	return startGatewayWith(t, s, clients)
}

// startGatewayWith starts a gateway, and returns its address.
func startGatewayWith(t *testing.T, s *gatewaySettings, clients string) string {
	t.Helper()
	s.name, s.listen, s.topics = "gateway", "127.0.0.1:0", []string{"zeek/", "/t"}
	s.connectRetry = 10 * time.Millisecond
	if clients != "" {
		s.clients = filepath.Join(t.TempDir(), "clients")
		writeFile(t, s.clients, clients)
	}
	layer, err := security.New(security.Config{Mode: security.Off})
	if err != nil {
		t.Fatal(err)
	}
	gate, err := s.gate(zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan net.Addr, 1)
	g := gatewayService{settings: s, security: layer, gate: &gate, log: zerolog.Nop(), started: func(a net.Addr) { started <- a }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-started:
		return a.String()
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}

// lines returns the data of the messages that a reader gets.
func lines(t *testing.T, at, token string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+at+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return bufio.NewScanner(resp.Body)
}

func nextData(t *testing.T, s *bufio.Scanner) string {
	t.Helper()
	for s.Scan() {
		if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			return data
		}
	}
	t.Fatal("the stream has ended")
	return ""
}

// nativeZeek returns the endpoint of a Zeek, and its address.
func nativeZeek(t *testing.T) (broker.Bus, string) {
	t.Helper()
	e, err := peering.New(peering.Config{Subscriptions: []string{"/"}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return e, at.String()
}

// A gateway passes events of a Zeek on, natively and over WebSockets, and what readers with
// the role full publish.
func TestGateway(t *testing.T) {
	const clients = "boss full token:" + bossToken + "\nreader read-only token:" + readerToken + "\n"
	web := func(t *testing.T) (broker.Bus, string) {
		s, err := websocket.NewServer(websocket.ServerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve(t.Context(), l) }()
		return s, l.Addr().String()
	}
	dialect := management.Dialect(management.DefaultTopics)
	known, err := dialect.Encode(zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r1"}})
	if err != nil {
		t.Fatal(err)
	}
	for transport, listen := range map[string]func(*testing.T) (broker.Bus, string){transportBroker: nativeZeek, transportWebSocket: web} {
		t.Run(transport, func(t *testing.T) {
			bus, zeek := listen(t)
			t.Cleanup(func() { bus.Close() })
			at := startGateway(t, transport, zeek, clients)
			if _, err := bus.Next(t.Context()); err != nil { // the gateway has connected
				t.Fatal(err)
			}
			stream := lines(t, at, readerToken)
			for _, ev := range []broker.Event{known, broker.NewEvent("Some::event", broker.Count(1))} {
				if err := broker.PublishEvent(t.Context(), bus, "/t", ev); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{
				`{"zeek":"lab","topic":"/t","event":"Management::Controller::API::get_instances_request","args":{"reqid":"r1"}}`,
				`{"zeek":"lab","topic":"/t","event":"Some::event","args":[1]}`,
			} {
				if diff := cmp.Diff(want, nextData(t, stream)); diff != "" {
					t.Errorf("message (-want +got)\n%s", diff)
				}
			}
			for token, want := range map[string]int{readerToken: http.StatusForbidden, bossToken: http.StatusNoContent, "x": http.StatusUnauthorized} {
				req, err := http.NewRequest(http.MethodPost, "http://"+at+"/v1/messages", strings.NewReader(`{"type":"data-message","topic":"/t","@data-type":"string","data":"hello"}`))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("publishing with the token %s: %s, want %d", token, resp.Status, want)
				}
			}
			for {
				n, err := bus.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if r, ok := n.(broker.Received); ok {
					if text, _ := r.Message.Value.Text(); r.Message.Topic != "/t" || text != "hello" {
						t.Errorf("Zeek got %+v", r.Message)
					}
					break
				}
			}
		})
	}
}

// startNATS starts a server of NATS, with TLS unless config is nil, and returns its URL.
func startNATS(t *testing.T, config *tls.Config) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		TLS: config != nil, TLSConfig: config, TLSTimeout: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server of NATS does not start")
	}
	return s.ClientURL()
}

// Gateways pass messages on to each other by NATS: the readers of one without Zeeks get those
// of a Zeek, and what they publish reaches the Zeek only if its gateway allows that.
func TestGatewayNATS(t *testing.T) {
	testGatewayNATS(t, startNATS(t, nil), func(*natsSettings) {})
}

// The same with a server of NATS that has a certificate, and demands those of gateways.
func TestGatewayNATSWithTLS(t *testing.T) {
	authority := certtest.New(t)
	certFile, keyFile := authority.Issue(t, "nats", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	if text, err := os.ReadFile(authority.File); err != nil || !known.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	url := startNATS(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known})
	testGatewayNATS(t, url, func(n *natsSettings) {
		n.ca = authority.File
		n.cert, n.key = authority.Issue(t, "gateway")
	})
}

func testGatewayNATS(t *testing.T, url string, secure func(*natsSettings)) {
	const clients = "boss full token:" + bossToken + "\n"
	bus, zeek := nativeZeek(t)
	t.Cleanup(func() { bus.Close() })
	start := func(receive string, zeeks ...namedZeek) string {
		s := newGatewaySettings()
		s.zeeks, s.nats.urls, s.nats.receive = zeeks, []string{url}, receive
		secure(&s.nats)
		if err := s.checkNATS(); err != nil {
			t.Fatal(err)
		}
		return startGatewayWith(t, s, clients)
	}
	start(receiveAll, namedZeek{"lab", zeek})
	if _, err := bus.Next(t.Context()); err != nil { // the gateway has connected
		t.Fatal(err)
	}
	far := start(receiveReaders)
	stream := lines(t, far, bossToken)
	stop := make(chan struct{})
	published := make(chan struct{})
	go func() { // until the other gateway reads from the stream
		defer close(published)
		for i := 0; ; i++ {
			if err := broker.PublishEvent(t.Context(), bus, "/t", broker.NewEvent("Some::event", broker.Count(1))); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	got := nextData(t, stream)
	close(stop)
	<-published
	if want := `{"zeek":"lab","topic":"/t","event":"Some::event","args":[1]}`; got != want {
		t.Errorf("the message is %s, want %s", got, want)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+far+"/v1/messages", strings.NewReader(`{"type":"data-message","topic":"/t","@data-type":"string","data":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bossToken)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
	for {
		n, err := bus.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := n.(broker.Received); ok {
			if text, _ := r.Message.Value.Text(); text != "hello" {
				t.Errorf("Zeek got %+v", r.Message)
			}
			break
		}
	}
}

// The settings for NATS that contradict each other are refused before the gateway starts.
func TestGatewayNATSSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*gatewaySettings)
		want   string
	}{
		"no NATS":   {func(*gatewaySettings) {}, ""},
		"NATS":      {func(s *gatewaySettings) { s.nats.urls = []string{"nats://h:1"} }, ""},
		"no source": {func(s *gatewaySettings) { s.zeeks = nil }, "--nats-url is not set"},
		"nothing to pass": {func(s *gatewaySettings) {
			s.zeeks, s.nats.urls, s.nats.receive = nil, []string{"nats://h:1"}, receiveNone
		}, "there are no messages"},
		"no such file":      {func(s *gatewaySettings) { s.nats.urls, s.nats.credentials = []string{"nats://h:1"}, "/nonexistent" }, "no such file"},
		"no such authority": {func(s *gatewaySettings) { s.nats.urls, s.nats.ca = []string{"tls://h:1"}, "/nonexistent" }, "no such file"},
		"an invalid stream": {func(s *gatewaySettings) { s.nats.urls, s.nats.stream = []string{"nats://h:1"}, "a b" }, "stream"},
	} {
		s := newGatewaySettings()
		tt.change(s)
		err := s.checkNATS()
		if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) && err != nil {
			t.Errorf("%s: %s, want %q", name, got, tt.want)
		}
	}
	if urls, err := parseNATSURLs("nats://a:1, tls://b"); err != nil || len(urls) != 2 {
		t.Errorf("%q, %v", urls, err)
	}
	if _, err := parseNATSURLs("nats://a:1,nats://u:p@b"); err == nil {
		t.Error("a URL with a user is accepted")
	}
	s := newGatewaySettings()
	s.nats.receive = receiveAll
	if e := s.exposure(); len(e.Warnings) != 1 {
		t.Errorf("exposure: %+v", e)
	}
}

// The reason why a gateway is not ready is a sentence also if NATS has given none.
func TestNATSTrouble(t *testing.T) {
	for _, tt := range []struct {
		connected bool
		err       error
		want      string
	}{
		{true, nil, ""}, {false, nil, "not connected"}, {false, errors.New("refused"), "not connected: refused"},
	} {
		if got := natsTrouble(tt.connected, tt.err); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestGatewaySettings(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:9999":          "127.0.0.1:9999",
		"lab = 10.0.0.1:1":        "want",
		"lab=10.0.0.1:1, [::1]:2": "lab=10.0.0.1:1, [::1]:2",
		"a=h:1, a=h:2":            `two Zeeks called "a"`,
		"=h:1":                    "want HOST:PORT",
		"h:0":                     "want HOST:PORT",
		"":                        "want",
	} {
		zeeks, err := parseZeeks(text)
		got := joinZeeks(zeeks)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) && (err == nil || want != "want") {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for _, bad := range []string{"", "zeek/,,x", broker.ControlTopic} {
		if _, err := parseTopics(bad); err == nil {
			t.Errorf("the topics %q are accepted", bad)
		}
	}
	s := newGatewaySettings()
	s.listen = "0.0.0.0:9997"
	if e := s.exposure(); len(e.Warnings) != 1 || len(e.Open()) > 0 {
		t.Errorf("exposure: %+v", e)
	}
	s.clients = "readers"
	if e := s.exposure(); len(e.Warnings) > 0 {
		t.Errorf("exposure with a list of readers: %+v", e)
	}
}
