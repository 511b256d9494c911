package service

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/cmd/internal/serving"
)

// pipes is a listener for connections within the process, whose deadlines follow the
// clock of a bubble.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (l pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipes) Close() error   { close(l.closed); return nil }
func (l pipes) Addr() net.Addr { return new(net.TCPAddr) }

// pipe is a connection with an address.
type pipe struct{ net.Conn }

func (pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Requests that never end, and responses that are not read, are cut off.
func TestHTTPDeadlines(t *testing.T) {
	const start = "GET / HTTP/1.1\r\nHost: service\r\n"
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1<<20)) })
	small := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	for _, tt := range []struct {
		name    string
		handler http.Handler
		first   string // what the client sends at once
		drip    string // what it sends each second after that
		read    bool   // the client reads
		want    time.Duration
	}{
		{"nothing is sent", small, "", "", true, httpHandshake},
		{"headers never end", small, start, "X: y\r\n", true, httpHandshake},
		{"a header never ends", small, start + "X: ", "y", true, httpHandshake},
		{"the body never ends", small, start + "Content-Length: 1000\r\n\r\n", "y", true, httpHandshake},
		{"the body is not read", large, start + "Content-Length: 100000\r\n\r\n", "y", true, httpHandshake},
		{"the response is not read", large, start + "\r\n", "", false, 2 * httpTimeout},
		{"no further request", small, start + "\r\n", "", true, serving.IdleTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := pipes{make(chan net.Conn), make(chan struct{})}
				done := make(chan error)
				go func() { done <- serveHTTP(ctx, l, tt.handler, admission.NewNotices(zerolog.Nop())) }()
				client, server := net.Pipe()
				began := time.Now()
				l.accepted <- pipe{server}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, err := io.WriteString(client, tt.first)
					for err == nil {
						time.Sleep(time.Second)
						_, err = io.WriteString(client, tt.drip)
					}
				}()
				if tt.read {
					io.Copy(io.Discard, client)
				} else {
					time.Sleep(2 * httpTimeout)
					synctest.Wait()
					if n, err := io.Copy(io.Discard, client); n > 1<<19 {
						t.Errorf("read %d bytes after the deadline, %v", n, err)
					}
				}
				if took := time.Since(began); took < tt.want || took > tt.want+time.Second {
					t.Errorf("cut off after %v, want %v", took, tt.want)
				}
				client.Close()
				<-ended
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
