package clientcmd_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// TestToken checks that a client sends its token to a controller that requires one,
// and does not print it.
func TestToken(t *testing.T) {
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame%42" {
			http.Error(w, "token required", http.StatusUnauthorized)
			return
		}
		server.ServeHTTP(w, r)
	}))
	defer web.Close()
	serveInstances(t, server)
	args := []string{"--controller", strings.TrimPrefix(web.URL, "http://"), "-vvvv", "get-instances"}
	call := func(token string, more ...string) outcome {
		tool := &clientcmd.Tool{Getenv: func(key string) string {
			if key == "ZEEKWIRE_TOKEN" {
				return token
			}
			return ""
		}}
		got := runCommand(t, tool, "", append(more, args...)...)
		if strings.Contains(got.stdout+got.stderr, "sesame") {
			t.Errorf("the output contains the token: %+v", got)
		}
		return got
	}
	for name, got := range map[string]outcome{
		"environment":              call("sesame%42"),
		"setting":                  call("", "--set", "client.token=sesame%%42"),
		"setting over environment": call("wrong", "--set", "client.token=sesame%%42"),
	} {
		if got.exit != 0 || got.stdout != "{}\n" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, got := range map[string]outcome{"no token": call(""), "wrong token": call("sesame")} {
		const want = `met HTTP status 401 Unauthorized ("token required"); set ZEEKWIRE_TOKEN, or ssl.certificate, to what the controller accepts`
		if got.exit != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestTokenNeedsVerifiedServer checks that a token reaches a TLS server only if its
// certificate was verified, or if a flag says so, and that it never travels in the
// clear to another machine.
func TestTokenNeedsVerifiedServer(t *testing.T) {
	dir := t.TempDir()
	certificate := writeCertificate(t, dir)
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var tokens atomic.Int32
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			tokens.Add(1)
		}
		server.ServeHTTP(w, r)
	}))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	serveInstances(t, server)
	address := web.Listener.Addr().String()
	ca := "ssl.cafile=" + filepath.Join(dir, "cert.pem")
	const advice = "set ssl.cafile to the authority that issued the controller's certificate. The token was not sent; --insecure-token sends it to any server"
	for _, test := range []struct {
		name       string
		controller string
		args       []string
		sent       int32
		want       string // in stderr; "" if connected
	}{
		{"not verified", address, []string{"--set", "ssl.enable=yes"}, 0, advice},
		{"not verified, with a flag", address, []string{"--set", "ssl.enable=yes", "--insecure-token"}, 1, ""},
		{"not verified, with a setting", address, []string{"--set", "ssl.enable=yes", "--set", "client.insecure_token=yes"}, 1, ""},
		{"verified", address, []string{"--set", "ssl.enable=yes", "--set", ca}, 1, ""},
		{"another name", strings.Replace(address, "127.0.0.1", "localhost", 1), []string{"--set", "ssl.enable=yes", "--set", ca}, 0, "connect by a name or address in its certificate"},
		{"in the clear", "192.0.2.1:2149", []string{"--insecure-token"}, 0, "the token would travel in the clear; set ssl.enable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tokens.Store(0)
			tool := &clientcmd.Tool{Getenv: func(key string) string {
				return map[string]string{"ZEEKWIRE_TOKEN": "sesame"}[key]
			}}
			got := runCommand(t, tool, "", append([]string{"--controller", test.controller, "get-instances"}, test.args...)...)
			if n := tokens.Load(); n != test.sent {
				t.Errorf("the token was sent %d times, want %d", n, test.sent)
			}
			if test.want == "" && got.exit != 0 || test.want != "" && (got.exit != 1 || !strings.Contains(got.stderr, test.want)) {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
}
