package main

import (
	"context"
	"strings"
	"testing"
)

func TestTransportErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"publish", "/t"}, "missing EVENT"},
		{[]string{"publish", "/t", "e", "42"}, `argument "42" has no type`},
		{[]string{"publish", "/t", "e", "--transport", "carrier-pigeon"}, "want native or websocket"},
		{[]string{"publish", "/t", "e", "--transport", "websocket", "--listen", "127.0.0.1"}, "--listen: requires --transport native"},
		{[]string{"publish", "/t", "e", "--tls", "on"}, "want off, anonymous or mutual"},
		{[]string{"publish", "/t", "e", "--tls", "off", "--connect", "127.0.0.1:1", "--timeout", "1ms"}, "gave up after 1ms"},
		{[]string{"subscribe"}, "missing PREFIX"},
		{[]string{"subscribe", "/t", "--count", "-1"}, "--count -1: want a number from 1"},
		{[]string{"subscribe", "/t", "--transport", "websocket", "--connect", "127.0.0.1:1"}, "websocket: connecting to 127.0.0.1:1"},
	} {
		var stdout, stderr strings.Builder
		code := run(context.Background(), tt.args, strings.NewReader(""), &stdout, &stderr)
		if code == exitOK || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%q: exit code %d, %s", tt.args, code, stderr.String())
		}
	}
}

func TestWithPort(t *testing.T) {
	for address, want := range map[string]string{
		"":            "",
		"zeek":        "zeek:9999",
		"zeek:1234":   "zeek:1234",
		"10.0.0.1":    "10.0.0.1:9999",
		"::1":         "[::1]:9999",
		"[::1]:1234":  "[::1]:1234",
		"127.0.0.1:0": "127.0.0.1:0",
	} {
		if got := withPort(address, "9999"); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
