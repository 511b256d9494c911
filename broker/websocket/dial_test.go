package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// Dial times out if the server sends pings but no ack.
func TestDialTimeouts(t *testing.T) {
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
	// blocked reads nothing, so that the subscriptions cannot be sent.
	blocked := func(*gorilla.Conn) { time.Sleep(time.Hour) }
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
		{"blocked", 4 * time.Second, websocket.ClientConfig{}, blocked, 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scripted(t, tt.script)
				tt.cfg.Address, tt.cfg.DialContext = "pipe", n.Dial
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

func TestDialEndsWithContext(t *testing.T) {
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
		if _, err := websocket.Dial(ctx, websocket.ClientConfig{Address: "pipe", DialContext: n.Dial}); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial = %v, want context canceled", err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("Dial took %v after its context", d)
		}
	})
}

// Broker's native port sends nothing to an HTTP client. The error must explain
// that.
func TestDialExplainsSilence(t *testing.T) {
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": {InsecureSkipVerify: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				go func() {
					nc, _ := n.Accept()
					io.Copy(io.Discard, nc)
					nc.Close()
				}()
				_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe:1", DialContext: n.Dial, TLS: config})
				var mismatch *websocket.MismatchError
				if !errors.As(err, &mismatch) || mismatch.Met != "silence" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Dial = %v, want silence", err)
				}
			})
		})
	}
}

// If the server is not a WebSocket server of Zeek, the error names its
// protocol.
// A server cannot make the client read headers without end.
func TestDialLimitsResponse(t *testing.T) {
	const much = 16 << 20
	for name, header := range map[string]string{"header": "x", "headers": "x\r\nX-A: "} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			sent := make(chan int)
			go func() {
				nc, err := n.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				nc.Read(make([]byte, 4096))
				text := []byte("HTTP/1.1 101 Switching Protocols\r\nX-A: ")
				written := 0
				for err == nil && written < much {
					var some int
					some, err = nc.Write(text)
					written += some
					text = []byte(strings.Repeat(header, 1000))
				}
				sent <- written
			}()
			_, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: "pipe", DialContext: n.Dial})
			if err == nil || !strings.Contains(err.Error(), "HTTP response is longer than") {
				t.Errorf("Dial = %v", err)
			}
			if written := <-sent; written >= much {
				t.Errorf("the client read %d bytes", written)
			}
		})
	}
}

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
		{"another protocol for TLS", true, "220 mail.example ESMTP\r\n", "a server without TLS", "unset TLS"},
		{"anonymous TLS", true, alert + "\x28", "without a common cipher suite", "anonymous"},
		{"old TLS", true, alert + "\x46", "without a common cipher suite or version", "anonymous"},
		{"certificate", true, alert + "\x74", "requires a client certificate", "set one in TLS"},
		{"wrong path", false, "HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\ninvalid path", `HTTP status 400 Bad Request ("invalid path")`, "check that the address"},
		{"closes after HTTP", false, "", "hangs up on HTTP", "set TLS"},
		{"closes after TLS", true, "", "hangs up on TLS", "unset TLS"},
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

func TestDialTLS(t *testing.T) {
	// httptest provides a certificate.
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
		t.Errorf("Dial without TLS = %v, want a MismatchError about TLS", err)
	}
	_, err = websocket.Dial(t.Context(), websocket.ClientConfig{Address: address, TLS: &tls.Config{}})
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("Dial without its root = %v, want a CertificateVerificationError", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]websocket.ClientConfig{
		"Address is empty":        {},
		"SendQueue is -1":         {Address: "x:1", SendQueue: -1},
		"ReceiveQueue is -1":      {Address: "x:1", ReceiveQueue: -1},
		"AckTimeout is -1ns":      {Address: "x:1", AckTimeout: -1},
		"RetryMax 1ns is less":    {Address: "x:1", RetryMin: 2, RetryMax: 1},
		"Hooks is a struct {}":    {Address: "x:1", Hooks: struct{}{}},
		"MaxMessage is -1, must ": {Address: "x:1", MaxMessage: -1},
	} {
		if _, err := websocket.Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial: error %v, want %q", err, want)
		}
	}
	for want, cfg := range map[string]websocket.ServerConfig{
		"SendQueue is -1":      {SendQueue: -1},
		"ReceiveQueue is -1":   {ReceiveQueue: -1},
		"MaxClients is -1":     {MaxClients: -1},
		"Hooks is a struct {}": {Hooks: struct{}{}},
	} {
		if _, err := websocket.NewServer(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewServer: error %v, want %q", err, want)
		}
	}
}
