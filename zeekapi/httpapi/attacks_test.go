package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

const mozilla = "User-Agent: Mozilla/5.0"

// TestForeignPages sends what other web pages can make a browser send.
func TestForeignPages(t *testing.T) {
	c := start(t, "", nil)
	c.awaitInstance()
	const path = "/api/v1/nodes/restart"
	c.want(403, "another origin", "POST", path, "{}", "Sec-Fetch-Site: cross-site", mozilla)
	c.want(403, "another origin", "POST", path, "{}", "Sec-Fetch-Site: same-site", mozilla)
	c.want(403, "another origin", "POST", path, "{}", "Origin: https://evil.example", mozilla)
	c.want(403, "another origin", "DELETE", "/api/v1/instances/instance-1/drain", "", "Origin: null", mozilla)
	c.want(403, "web pages may not reach this server as", "GET", "/api/v1/status", "", "Host: evil.example", mozilla) // rebinding
	c.want(415, "application/json", "POST", path, "{}", "Content-Type: text/plain")                                   // a form needs no preflight
	c.want(202, "running", "POST", path, "{}", "Sec-Fetch-Site: same-origin", mozilla)
	r := c.want(404, "", "OPTIONS", "/api/v1/status", "", "Origin: https://evil.example", "Access-Control-Request-Method: GET")
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("the response has the header %s", name)
		}
	}
}

// TestHeaders checks the headers that protect pages, also on errors.
func TestHeaders(t *testing.T) {
	c := start(t, clientsFile, nil)
	for _, path := range []string{"/", "/api/v1/status", "/api/v1/openapi.json"} {
		r := c.do("GET", path, "")
		for name, want := range map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if !strings.Contains(r.Header.Get(name), want) {
				t.Errorf("%s: %s is %q, want %q", path, name, r.Header.Get(name), want)
			}
		}
		if policy := r.Header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %s", path, policy)
		}
	}
}

// TestPermissions checks who may do what.
func TestPermissions(t *testing.T) {
	c := start(t, clientsFile, nil)
	alice, bob := "Authorization: Bearer "+aliceToken, "Authorization: Bearer "+bobToken
	c.awaitInstance(bob)
	r := c.want(401, "a token (Authorization: Bearer) or a client certificate is required", "GET", "/api/v1/status", "")
	if r.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	c.want(401, "unknown token", "GET", "/api/v1/status", "", "Authorization: Bearer something-else")
	c.want(200, "", "GET", "/api/v1/status", "", bob)
	c.want(200, `"name":"bob"`, "GET", "/api/v1/session", "", bob)
	c.want(403, "client 'bob' may only read", "POST", "/api/v1/nodes/restart", "{}", bob)
	c.want(403, "client 'bob' may only read", "POST", "/api/v1/requests/restart", "{}", bob)
	c.want(403, "client 'bob' may only read", "PUT", "/api/v1/configurations/staged", configuration, bob, "If-Match: *")
	c.want(202, "", "POST", "/api/v1/nodes/restart", "{}", alice)
	// A proxy on the same machine passes tokens on.
	c.want(202, "", "POST", "/api/v1/nodes/restart", "{}", alice, "X-Forwarded-For: 192.0.2.1")
	for _, line := range strings.Split(c.logs.String(), "\n") {
		if strings.Contains(line, aliceToken) || strings.Contains(line, bobToken) {
			t.Errorf("the log has a token: %s", line)
		}
	}
}

// TestWithoutClients checks that without a file of clients, only senders on this machine
// may change something, and no others through a proxy on it.
func TestWithoutClients(t *testing.T) {
	c := start(t, "", nil)
	c.awaitInstance()
	c.want(202, "", "POST", "/api/v1/nodes/restart", "{}")
	c.want(202, "", "POST", "/api/v1/nodes/restart", "{}", "X-Application-Name: probe")
	for _, header := range []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 proxy", "X-Real-IP: 127.0.0.1"} {
		c.want(403, "only clients on the controller's machine may change something", "POST", "/api/v1/nodes/restart", "{}", header)
		c.want(200, `"role":"read-only"`, "GET", "/api/v1/session", "", header)
	}
	remote := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/nodes/restart", strings.NewReader("{}"))
	remote.RemoteAddr = "192.0.2.1:4711"
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, remote)
	if w.Code != http.StatusForbidden {
		t.Errorf("another machine: status %d, %s", w.Code, w.Body)
	}
}

// TestSession logs in and out, and checks the cookie.
func TestSession(t *testing.T) {
	c := start(t, clientsFile, nil)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Jar = jar
	c.want(401, "unknown token", "POST", "/api/v1/session", `{"token":"wrong-token-of-20-ch"}`)
	c.want(422, "want a body such as", "POST", "/api/v1/session", `{"token":1}`)
	r := c.want(201, `"proof":"session"`, "POST", "/api/v1/session", `{"token":"`+aliceToken+`"}`)
	cookie := r.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.MaxAge <= 0 || strings.Contains(cookie.Value, aliceToken) {
		t.Errorf("the cookie is %s", cookie)
	}
	c.want(200, `"expires":`, "GET", "/api/v1/session", "")
	c.want(202, "", "POST", "/api/v1/nodes/restart", "{}", "Sec-Fetch-Site: same-origin", mozilla)
	c.want(403, "another origin", "POST", "/api/v1/nodes/restart", "{}", "Sec-Fetch-Site: cross-site", mozilla)

	// A cookie is of no use at another address, and none in the clear.
	for _, from := range []string{"192.0.2.7:1", "127.0.0.2:1"} {
		stolen := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/status", nil)
		stolen.RemoteAddr = from
		stolen.AddCookie(cookie)
		w := httptest.NewRecorder()
		c.server.ServeHTTP(w, stolen)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("from %s: status %d", from, w.Code)
		}
	}
	c.want(204, "", "DELETE", "/api/v1/session", "")
	c.want(401, "", "GET", "/api/v1/session", "")
	c.http.Jar = nil
	c.want(401, "the session has ended", "GET", "/api/v1/session", "", "Cookie: "+cookie.Name+"="+cookie.Value)
}

// TestSessionOverTLS checks that the cookie is secure over TLS, and that a token is not
// accepted without TLS from another machine.
func TestSessionOverTLS(t *testing.T) {
	c := start(t, clientsFile, nil)
	send := func(from string, state *tls.ConnectionState) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/session", strings.NewReader(`{"token":"`+aliceToken+`"}`))
		r.RemoteAddr, r.TLS = from, state
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.server.ServeHTTP(w, r)
		return w
	}
	if w := send("192.0.2.1:1", nil); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "without encryption") {
		t.Errorf("without TLS: status %d, %s", w.Code, w.Body)
	}
	w := send("192.0.2.1:1", new(tls.ConnectionState))
	if cookies := w.Result().Cookies(); w.Code != http.StatusCreated || !cookies[0].Secure || !strings.HasPrefix(cookies[0].Name, "__Host-") {
		t.Errorf("over TLS: status %d, %v", w.Code, w.Result().Cookies())
	}
}

// TestRevocation checks that a reload ends sessions, streams and tokens of clients that are
// gone, and applies new roles.
func TestRevocation(t *testing.T) {
	c := start(t, clientsFile, nil)
	r := c.want(201, "", "POST", "/api/v1/session", `{"token":"`+aliceToken+`"}`)
	cookie := "Cookie: " + r.Cookies()[0].Name + "=" + r.Cookies()[0].Value
	c.want(200, `"role":"full"`, "GET", "/api/v1/session", "", cookie)
	stream := c.stream(cookie)
	stream.next("summary")

	c.reload("alice read-only token:" + aliceToken + "\n")
	c.want(200, `"role":"read-only"`, "GET", "/api/v1/session", "", cookie)
	c.want(403, "may only read", "POST", "/api/v1/nodes/restart", "{}", cookie)
	c.want(401, "unknown token", "GET", "/api/v1/status", "", "Authorization: Bearer "+bobToken)

	c.reload("alice full token:another-token-of-alice\n")
	c.want(401, "", "GET", "/api/v1/session", "", cookie)
	stream.ended("no longer accepted")
}

// TestWrongTokens checks that an address may not guess tokens for long, and that others
// still can log in.
func TestWrongTokens(t *testing.T) {
	c := start(t, clientsFile, nil)
	guess := func(method, path, body string, headers ...string) {
		t.Helper()
		for range 100 {
			r := c.do(method, path, body, headers...)
			if r.StatusCode == http.StatusTooManyRequests && strings.Contains(r.body, "too many wrong tokens") {
				return
			}
		}
		t.Errorf("%s %s: a hundred guesses", method, path)
	}
	guess("GET", "/api/v1/status", "", "Authorization: Bearer guess-of-20-characters")
	guess("POST", "/api/v1/session", `{"token":"guess-of-20-characters"}`)
	other := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/session", nil)
	other.RemoteAddr = "127.0.0.9:1"
	other.Header.Set("Authorization", "Bearer "+aliceToken)
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, other)
	if w.Code != http.StatusOK {
		t.Errorf("another address: status %d", w.Code)
	}
}

// TestFloods checks the limits of requests, bodies and streams.
func TestFloods(t *testing.T) {
	c := start(t, clientsFile, func(cfg *httpapi.Config) {
		cfg.Limits = httpapi.Limits{Rate: 5, StreamsPerClient: 2, Body: 1000, Memory: 100_000}
	})
	alice, bob := "Authorization: Bearer "+aliceToken, "Authorization: Bearer "+bobToken
	c.want(413, "larger than 1000 bytes", "POST", "/api/v1/diffs", `{"id":"`+strings.Repeat("x", 2000)+`"}`, alice)
	c.want(400, "not a JSON object", "POST", "/api/v1/nodes/restart", "{", alice)

	streams := []*stream{c.stream(alice), c.stream(alice)}
	for _, s := range streams {
		s.next("summary")
	}
	c.want(429, "too many streams", "GET", "/api/v1/events", "", alice, "Accept: text/event-stream")
	c.stream(bob).next("summary")

	refused := 0
	for range 300 {
		if c.do("GET", "/api/v1/session", "", alice).StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no request of 300 was refused, the limit is 50 per second")
	}
	c.want(200, "", "GET", "/api/v1/session", "", bob)
}

// slowBody sends the first half of a body, waits until another large body is refused, sends the
// rest, and returns the status.
func slowBody(t *testing.T, c *cluster, half string) int {
	t.Helper()
	slow, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", c.url+"/api/v1/nodes/restart", slow)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	done := make(chan int, 1)
	go func() {
		resp, err := c.http.Do(req)
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	io.WriteString(w, half) // fails if the body is refused
	for deadline := time.Now().Add(5 * time.Minute); len(done) == 0; time.Sleep(time.Millisecond) {
		if c.do("POST", "/api/v1/nodes/restart", half+"{}").StatusCode == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a second large body was always accepted")
		}
	}
	io.WriteString(w, "{}")
	w.Close()
	return <-done
}

// TestMemoryOfBodies checks that bodies that arrive slowly share a limit, and that their
// memory is free again after them.
func TestMemoryOfBodies(t *testing.T) {
	c := start(t, "", func(cfg *httpapi.Config) { cfg.Limits = httpapi.Limits{Body: 50_000, Memory: 60_000} })
	c.awaitInstance()
	half := strings.Repeat(" ", 40_000)
	status := slowBody(t, c, half)
	for attempt := 0; attempt < 20 && status == http.StatusServiceUnavailable; attempt++ { // the other body was first
		status = slowBody(t, c, half)
	}
	if status != http.StatusAccepted {
		t.Errorf("the slow body: status %d", status)
	}
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Millisecond) {
		if c.do("POST", "/api/v1/nodes/restart", half+"{}").StatusCode == http.StatusAccepted {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("large bodies are still refused")
		}
	}
}

// stream is a stream of events.
type stream struct {
	t    *testing.T
	resp *http.Response
	scan *bufio.Scanner
}

// message is a message of a stream.
type message struct{ id, kind, data string }

// stream opens a stream with these headers.
func (c *cluster) stream(headers ...string) *stream {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
	c.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", c.url+"/api/v1/events", nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		c.Fatalf("a stream has the status %d and the type %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &stream{t: c.T, resp: resp, scan: bufio.NewScanner(resp.Body)}
}

// read returns the next message, false at the end.
func (s *stream) read() (m message, ok bool) {
	for s.scan.Scan() {
		name, value, _ := strings.Cut(s.scan.Text(), ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			m.data += value
		case "":
			if m != (message{}) {
				return m, true
			}
		}
	}
	return m, false
}

// next returns the next message of a kind.
func (s *stream) next(kind string) message {
	s.t.Helper()
	for {
		m, ok := s.read()
		if !ok {
			s.t.Fatalf("the stream ended: %v", s.scan.Err())
		}
		if m.kind == kind {
			return m
		}
	}
}

// ended fails unless the stream ends for a reason.
func (s *stream) ended(reason string) {
	s.t.Helper()
	if m := s.next("end"); !strings.Contains(m.data, reason) {
		s.t.Errorf("the stream ended because of %s", m.data)
	}
	if m, ok := s.read(); ok {
		s.t.Errorf("after the end: %+v", m)
	}
}

// TestSlowReader checks that a stream ends whose client does not read.
func TestSlowReader(t *testing.T) {
	c := start(t, "", nil)
	c.deploy()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	p := c.principal()
	s, err := c.server.Follow(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	httpapi.Flood(c.server, 10_000)
	for {
		if _, err := s.Next(t.Context()); err != nil {
			if err != httpapi.ErrSlow {
				t.Errorf("the stream ended with %v", err)
			}
			return
		}
	}
}
