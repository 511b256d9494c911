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
		{[]string{"publish", "/t", "e", "--connect", "wss://zeek:27759"}, `--connect "wss://zeek:27759": want HOST:PORT and no URL, here zeek:27759`},
		{[]string{"subscribe", "/t", "--listen", "h:x"}, `--listen "h:x": port "x" is not in 0..65535`},
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
