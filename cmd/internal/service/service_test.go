package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/admission"
)

func TestMain(m *testing.M) {
	// The first call of signal.Notify starts a goroutine that never ends, and
	// must not belong to a synctest bubble.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	signal.Stop(signals)
	goleak.VerifyTestMain(m)
}

// systemd is the socket that receives the notifications of a service.
type systemd struct{ *net.UnixConn }

// newSystemd listens on a socket and sets NOTIFY_SOCKET to its name.
func newSystemd(t *testing.T) systemd {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return systemd{conn}
}

// next returns the next notification.
func (s systemd) next(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4096)
	s.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := s.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSystemdNotifications(t *testing.T) {
	s := newSystemd(t)
	t.Setenv("WATCHDOG_USEC", "3000000")
	service := New(Config{Patience: time.Minute, Log: zerolog.Nop(), Reload: func() error { return nil }})
	if got := service.BeatInterval(); got != time.Second {
		t.Errorf("beats every %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- service.Run(ctx, func(_ context.Context, ending <-chan struct{}) error {
			service.Ready()
			service.Beat(func() string { return "all is well" })
			service.Beat(func() string { return "too early for another status" })
			<-ending
			return nil
		})
	}()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=all is well"} {
		if got := s.next(t); got != want {
			t.Errorf("notification is %q, want %q", got, want)
		}
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := s.next(t); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("notification is %q", got)
	}
	if got := s.next(t); got != "READY=1" {
		t.Errorf("notification is %q", got)
	}
	cancel()
	if got := s.next(t); got != "STOPPING=1" {
		t.Errorf("notification is %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNotificationsDoNotBlock checks that notifications time out if systemd
// does not read them.
func TestNotificationsDoNotBlock(t *testing.T) {
	newSystemd(t)
	t.Setenv("WATCHDOG_USEC", "3000000")
	var log strings.Builder
	service := New(Config{Log: zerolog.New(&log)})
	for range 100000 { // more than the socket can hold
		service.notifier.alive()
		if log.Len() > 0 {
			break
		}
	}
	if !strings.Contains(log.String(), "cannot notify systemd") {
		t.Error("no notification timed out")
	}
}

func TestNotificationErrorIsLoggedOnce(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("WATCHDOG_USEC", "soon")
	var log strings.Builder
	service := New(Config{Log: zerolog.New(&log)})
	service.Ready()
	service.Ready()
	if n := strings.Count(log.String(), "cannot notify systemd"); n != 1 || !strings.Contains(log.String(), "WATCHDOG_USEC") {
		t.Error(log.String())
	}
}

func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration // time that the shutdown takes; longer than Patience to exceed the limit
		want  error
	}{
		{"in time", time.Second, nil},
		{"at once", 0, nil},
		{"too late", time.Hour, errImpatient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := New(Config{Patience: 20 * time.Second, Log: zerolog.Nop()})
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				time.AfterFunc(time.Minute, cancel)
				err := service.Run(ctx, func(ctx context.Context, ending <-chan struct{}) error {
					<-ending
					if reasons := service.Health.Ready(); !strings.Contains(strings.Join(reasons, "\n"), "shutting down") {
						t.Errorf("ready: %q", reasons)
					}
					select {
					case <-time.After(tt.takes):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				})
				if took := time.Since(began) - time.Minute; !errors.Is(err, tt.want) || took > 20*time.Second {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

func TestRunReturnsErrorOfWork(t *testing.T) {
	service := New(Config{Log: zerolog.Nop()})
	broken := errors.New("broken")
	if err := service.Run(t.Context(), func(context.Context, <-chan struct{}) error { return broken }); err != broken {
		t.Error(err)
	}
}

func TestReloadErrorIsLogged(t *testing.T) {
	var log strings.Builder
	service := New(Config{Log: zerolog.New(&log), Reload: func() error { return errors.New("bad file") }})
	service.reload()
	if !strings.Contains(log.String(), "bad file") || strings.Contains(log.String(), `"reloaded"`) {
		t.Error(log.String())
	}
}

func TestHealth(t *testing.T) {
	now := time.Unix(1000, 0)
	h := NewHealth()
	h.now = func() time.Time { return now }
	step := func(name string, alive, ready []string) {
		t.Helper()
		if diff := cmp.Diff(alive, h.Alive()); diff != "" {
			t.Errorf("%s: alive: -want +got\n%s", name, diff)
		}
		if diff := cmp.Diff(ready, h.Ready()); diff != "" {
			t.Errorf("%s: ready: -want +got\n%s", name, diff)
		}
	}
	step("new", nil, []string{"starting: the service is starting"})
	h.Set(starting, "")
	step("serving", nil, nil)
	h.Beat()
	h.Set("store", "disk full")
	h.Set("controller", "not connected")
	step("failing", nil, []string{"controller: not connected", "store: disk full"})
	h.Set("store", "")
	h.Set("controller", "")
	now = now.Add(StuckAfter)
	step("late", nil, nil)
	now = now.Add(time.Second)
	step("stuck", []string{"stuck: no progress for 31s"}, []string{"stuck: no progress for 31s"})
	h.Beat()
	step("alive again", nil, nil)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestHTTP(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "test_total", Help: "A test."})
	registry.MustRegister(counter)
	h := NewHealth()
	server := httptest.NewServer(handler(h, registry))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 503, "starting: the service is starting\n"},
		{"/metrics", 200, "# HELP test_total A test.\n# TYPE test_total counter\ntest_total 0\n"},
		{"/", 200, "/metrics\n/healthz\n/readyz\n"},
		{"/other", 404, "404 page not found\n"},
	} {
		if status, body := get(t, server.URL+tt.path); status != tt.status || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, status, body, tt.status, tt.body)
		}
	}
	h.Set(starting, "")
	if status, body := get(t, server.URL+"/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	r, err := http.Post(server.URL+"/healthz", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Error(r.Status)
	}
}

func TestHTTPEndsWithService(t *testing.T) {
	service := New(Config{Listen: "127.0.0.1:0", Metrics: prometheus.NewRegistry(), Log: zerolog.Nop()})
	if err := service.Run(t.Context(), func(context.Context, <-chan struct{}) error { return nil }); err != nil {
		t.Error(err)
	}
	service = New(Config{Listen: "nowhere", Log: zerolog.Nop()})
	if err := service.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "cannot listen for metrics at ") {
		t.Error(err)
	}
}

// Connections that only occupy the server do not keep others out.
func TestHTTPUnderAttack(t *testing.T) {
	for name, begin := range map[string]string{
		"silence":           "",
		"half a request":    "GET /healthz HTTP/1.1\r\nHost:",
		"body missing":      "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
		"kept open":         "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"answers not read":  strings.Repeat("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 100),
		"another's request": "\x16\x03\x01\x02\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			notices := admission.NewNotices(zerolog.New(zerolog.SyncWriter(&log)))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- serveHTTP(ctx, l, handler(NewHealth(), prometheus.NewRegistry()), notices) }()
			scraper, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer scraper.Close()
			scrape := func() {
				t.Helper()
				io.WriteString(scraper, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
				r, err := http.ReadResponse(bufio.NewReader(scraper), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(r.Body); err != nil {
					t.Error(err)
				}
			}
			scrape()
			var open []net.Conn
			for range 300 {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, c)
				io.WriteString(c, begin)
				if len(open)%100 == 0 {
					if status, body := get(t, "http://"+l.Addr().String()+"/healthz"); status != http.StatusOK {
						t.Errorf("after %d connections: %d %s", len(open), status, body)
					}
					http.DefaultClient.CloseIdleConnections()
				}
			}
			if name == "silence" || name == "half a request" {
				scrape() // over a connection that was kept open
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			for _, c := range open {
				c.Close()
			}
			if lines := strings.Count(log.String(), "\n"); lines > 30 {
				t.Errorf("%d lines in the log", lines)
			}
		})
	}
}

// A page whose name was made to lead to this server cannot read from it.
func TestHTTPChecksHosts(t *testing.T) {
	var log strings.Builder
	notices := admission.NewNotices(zerolog.New(zerolog.SyncWriter(&log)))
	h := checkHost(admission.Hosts{Names: []string{"zeek.example.com"}}, notices, handler(NewHealth(), prometheus.NewRegistry()))
	for host, want := range map[string]int{
		"127.0.0.1:9": http.StatusOK, "zeek.example.com": http.StatusOK, "evil.example:9": http.StatusForbidden,
	} {
		for agent, want := range map[string]int{"Mozilla/5.0": want, "Prometheus/3.1.0": http.StatusOK} {
			r := httptest.NewRequest(http.MethodGet, "http://"+host+"/metrics", nil)
			r.Header.Set("User-Agent", agent)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s at %s: %d", agent, host, w.Code)
			}
		}
	}
	if !strings.Contains(log.String(), "evil.example") || !strings.Contains(log.String(), "allowed-hosts") {
		t.Error(&log)
	}
}
