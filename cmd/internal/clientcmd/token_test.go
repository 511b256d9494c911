package clientcmd_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
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
