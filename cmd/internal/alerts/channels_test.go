package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// message returns a message whose text contains what others should not interpret.
func message() Message {
	return Message{ID: "4711", Cluster: "controller", Notification: Notification{
		Time:     epoch,
		Firing:   []zeekapi.Alert{{Rule: NodeFailed, Instance: "i", Node: "w", Text: "node w\r\nBcc: x@example.org\x1b[2J $(reboot) <b>é", Since: epoch.Add(-time.Minute)}},
		Resolved: []zeekapi.Alert{{Rule: Disk, Instance: "i", Subject: "/var", Text: "disk", Since: epoch.Add(-time.Hour), Ended: epoch, Times: 3}},
		More:     7,
	}}
}

func secret(t *testing.T, text string) Secret {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Secret{file}
}

func TestMail(t *testing.T) {
	for _, kind := range []string{StartTLS, ImplicitTLS, NoTLS} {
		t.Run(kind, func(t *testing.T) {
			server, pool := newSMTPServer(t, func(s *smtpServer) {
				s.implicit = kind == ImplicitTLS
				if kind == NoTLS {
					s.config = nil
				} else {
					s.password = "pass word"
				}
			})
			m := Mail{
				Server: server.listener.Addr().String(), TLS: kind, From: "zeek@example.org",
				Recipients: []string{"a@example.org", "b@example.org"}, Certificates: pool,
			}
			if kind != NoTLS {
				m.User, m.Password = "user", secret(t, "pass word\nmore\n")
			}
			if err := m.Send(t.Context(), message()); err != nil {
				t.Fatal(err)
			}
			all := server.received()
			if len(all) != 1 {
				t.Fatalf("%d mails", len(all))
			}
			l := all[0]
			if l.encrypted != (kind != NoTLS) || l.user != m.User || len(l.to) != 2 || !strings.Contains(l.from, "zeek@example.org") {
				t.Errorf("got %+v", l)
			}
			if got := l.subject(); got != "[zeekwire controller] 1 alerts, 1 resolved" {
				t.Errorf("subject is %q", got)
			}
			if l.header.Get("Bcc") != "" || l.header.Get("Auto-Submitted") != "auto-generated" || !strings.Contains(l.header.Get("Message-ID"), "4711") {
				t.Errorf("header is %v", l.header)
			}
			body := strings.ReplaceAll(l.body, "=\r\n", "")
			for _, want := range []string{"node-failed", `node w\x0d\x0aBcc: x@example.org\x1b[2J $(reboot)`, "since 2026-11-28T11:59:00Z", "3 times", "and 7 more"} {
				if !strings.Contains(strings.ReplaceAll(body, "=5C", `\`), want) {
					t.Errorf("the body lacks %q: %s", want, body)
				}
			}
		})
	}
}

// A mail is not sent in the clear, to a server with a wrong certificate, or after a failed
// authentication. Errors contain no password.
func TestMailFailures(t *testing.T) {
	send := func(t *testing.T, change func(*smtpServer), adapt func(*Mail)) (sent int, err error) {
		server, pool := newSMTPServer(t, change)
		m := Mail{
			Server: server.listener.Addr().String(), TLS: StartTLS, From: "zeek@example.org",
			Recipients: []string{"a@example.org"}, Certificates: pool,
		}
		if adapt != nil {
			adapt(&m)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err = m.Send(ctx, message())
		return len(server.received()), err
	}
	for name, tt := range map[string]struct {
		change func(*smtpServer)
		adapt  func(*Mail)
		final  bool
	}{
		"no STARTTLS":             {change: func(s *smtpServer) { s.config = nil }},
		"unknown authority":       {adapt: func(m *Mail) { m.Certificates = nil }},
		"wrong password":          {change: func(s *smtpServer) { s.password = "right" }, adapt: func(m *Mail) { m.User, m.Password = "u", secret(t, "hunter2") }},
		"no password file":        {adapt: func(m *Mail) { m.User, m.Password = "u", Secret{"/does/not/exist"} }},
		"recipient refused":       {change: func(s *smtpServer) { s.refuses = "550 no such user" }, final: true},
		"recipient refused a bit": {change: func(s *smtpServer) { s.refuses = "450 later" }},
	} {
		t.Run(name, func(t *testing.T) {
			sent, err := send(t, tt.change, tt.adapt)
			if err == nil || sent > 0 {
				t.Fatalf("%v, %d mails", err, sent)
			}
			if errors.Is(err, ErrFinal) != tt.final {
				t.Errorf("final: %t, want %t: %v", errors.Is(err, ErrFinal), tt.final, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	var got jsonMessage
	var header http.Header
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &got); err != nil || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer server.Close()
	u, err := url.Parse(server.URL + "/hook?token=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	hook := Webhook{URL: u, Key: secret(t, "key\n"), Agent: "zeekwire/test"}
	if err := hook.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.ID != "4711" || got.Status != "firing" || got.Firing[0].Node != "w" || got.Resolved[0].Ended != "2026-11-28T12:00:00Z" || got.More != 7 {
		t.Errorf("got %+v", got)
	}
	if want := Sign("key", header.Get("X-Zeekwire-Timestamp"), body); header.Get("X-Zeekwire-Signature") != want || header.Get("X-Zeekwire-Delivery") != "4711" {
		t.Errorf("header is %v, want the signature %s", header, want)
	}
	if header.Get("User-Agent") != "zeekwire/test" || header.Get("Content-Type") != "application/json" {
		t.Errorf("header is %v", header)
	}
	if strings.Contains(hook.To(), "hunter2") {
		t.Errorf("To is %q", hook.To())
	}
}

// Errors of a webhook do not contain its URL, redirections are not followed, and refusals are
// final.
func TestWebhookFailures(t *testing.T) {
	status := 0
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed = followed || r.URL.Path == "/other"
		w.Header().Set("Location", "/other")
		w.WriteHeader(status)
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	u, _ := url.Parse(server.URL + "/hook?token=hunter2")
	hook := Webhook{URL: u}
	for code, final := range map[int]bool{302: true, 400: true, 403: true, 404: true, 408: false, 429: false, 500: false, 503: false} {
		status = code
		err := hook.Send(t.Context(), message())
		if err == nil || errors.Is(err, ErrFinal) != final || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("status %d: %v, want final %t", code, err, final)
		}
	}
	if followed {
		t.Error("a redirection was followed")
	}
	server.Close()
	err := hook.Send(t.Context(), message())
	if err == nil || errors.Is(err, ErrFinal) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without a server: %v", err)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	c := Command{`cat >'` + dir + `/in'; printf '%s' "$ZEEKWIRE_ALERT" >'` + dir + `/subject'`}
	if err := c.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "in"))
	var got jsonMessage
	if err != nil || json.Unmarshal(b, &got) != nil || got.ID != "4711" {
		t.Errorf("standard input was %q, %v", b, err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, "subject")); string(b) != "[zeekwire controller] 1 alerts, 1 resolved" {
		t.Errorf("ZEEKWIRE_ALERT was %q, %v", b, err)
	}
	if err := (Command{"echo no such pager; exit 3"}).Send(t.Context(), message()); err == nil || !strings.Contains(err.Error(), "exit status 3: no such pager") {
		t.Errorf("a failed command: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Command{"sleep 1000"}).Send(ctx, message()); err == nil {
		t.Error("a command ran although the context had ended")
	}
	if got := (Command{"curl -H 'Token: hunter2' https://example.org"}).To(); got != "curl" {
		t.Errorf("To is %q", got)
	}
}

func TestSubject(t *testing.T) {
	m := message()
	m.Resolved = nil
	if got := m.Subject(); got != `[zeekwire controller] node w\x0d\x0aBcc: x@example.org\x1b[2J $(reboot) <b>é` {
		t.Errorf("one alert: %q", got)
	}
	m.Firing, m.Resolved = nil, message().Resolved
	if got := m.Subject(); got != "[zeekwire controller] resolved: disk" {
		t.Errorf("one that has ended: %q", got)
	}
	m = Message{Cluster: "c\n", Notification: Notification{Test: true}}
	if got := m.Subject(); got != `[zeekwire c\x0a] test notification` {
		t.Errorf("a test: %q", got)
	}
}

func TestSecret(t *testing.T) {
	for _, text := range []string{"", "\n", "\r\nx"} {
		if got, err := secret(t, text).Read(); err == nil {
			t.Errorf("%q is read as %q", text, got)
		}
	}
	if got, err := secret(t, " a b \r\n").Read(); got != " a b " || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
