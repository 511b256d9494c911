package clientcmd_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// timeout is an error like those of a connection after its deadline.
type timeout struct{}

func (timeout) Error() string { return "i/o timeout" }
func (timeout) Timeout() bool { return true }

func TestConnectionErrors(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	tests := []struct {
		name     string
		args     string
		err      error
		address  string // "" if the command does not connect
		attempts int
		stderr   string
	}{
		{"connection refused", "get-nodes", refused, "127.0.0.1:2149", 10, "websocket connection to 127.0.0.1:2149 timed out in connect()"},
		{"timed out", "--controller h get-nodes", timeout{}, "h:2149", 10, "websocket connection to h:2149 timed out in connect()"},
		{"no ack", "--set client.peering_attempts=2 get-nodes", errors.Join(websocket.ErrNoAck, context.DeadlineExceeded), "127.0.0.1:2149", 2,
			"websocket connection to 127.0.0.1:2149 timed out in handshake"},
		{"no such host", "--controller=nowhere:7 get-nodes", &net.DNSError{Err: "no such host", Name: "nowhere"}, "nowhere:7", 1,
			"websocket error in connect() with controller nowhere:7: no such host"},
		{"server without TLS", "--controller :7 get-nodes", &websocket.MismatchError{Met: websocket.MetPlain, Err: errors.New("EOF")}, "127.0.0.1:7", 1,
			"socket TLS error in connect() with controller 127.0.0.1:7: met a server without TLS; unset ssl.enable (EOF)"},
		{"malformed ack", "get-nodes", jsonv1.ErrMalformed, "127.0.0.1:2149", 1,
			"protocol data error with controller 127.0.0.1:2149: malformed JSON"},
		{"error message instead of ack", "get-nodes", jsonv1.Error{Code: "c", Context: "x"}, "127.0.0.1:2149", 1,
			"protocol data error with controller 127.0.0.1:2149: server reports c: x"},
		{"IPv6", "--controller [::1] get-nodes", jsonv1.ErrMalformed, "[::1]:2149", 1, "protocol data error with controller [::1]:2149: malformed JSON"},
		{"IPv6 with port", "--controller [::1]:7 get-nodes", jsonv1.ErrMalformed, "[::1]:7", 1, "protocol data error with controller [::1]:7: malformed JSON"},
		{"IPv6 setting", "--set controller.host=::1 get-nodes", jsonv1.ErrMalformed, "[::1]:2149", 1, "protocol data error with controller [::1]:2149: malformed JSON"},
		{"IPv6 without brackets", "--controller ::1:7 get-nodes", nil, "", 0, "IPv6 addresses must be surrounded by brackets: [<ipv6>]:<port>"},
		{"port out of range", "--controller h:99999 get-nodes", nil, "", 0, "cannot configure connection to h:99999: controller port number 99999 outside valid range"},
		{"port that is not a number", "--controller h:x get-nodes", nil, "", 0, `setting controller.port is "x", want an integer (--controller)`},
		{"invalid settings", "--set client.pretty_json=maybe --set client.request_timeout_secs=0 get-nodes", nil, "", 0,
			`setting client.request_timeout_secs is "0", want an integer from 1 (--set)` + "\nerror: " + `setting client.pretty_json is "maybe", want a boolean, such as yes or no (--set)`},
		{"missing certificate file", "--set ssl.enable=yes --set ssl.certificate=/nonexistent get-nodes", nil, "", 0,
			`cannot configure connection to 127.0.0.1:2149: SSL certificate file "/nonexistent" not found`},
		{"missing CA file", "--set ssl.enable=yes --set ssl.cafile=/nonexistent get-nodes", nil, "", 0,
			`cannot configure connection to 127.0.0.1:2149: SSL trusted CAs file "/nonexistent" not found`},
		{"token without TLS", "--controller h --set client.token=secret get-nodes", nil, "", 0,
			"cannot configure connection to h:2149: the token would travel in the clear; set ssl.enable, and ssl.cafile to verify the controller"},
		{"token without TLS to this machine", "--controller [::1] --set client.token=secret get-nodes", jsonv1.ErrMalformed, "[::1]:2149", 1, "protocol data error with controller [::1]:2149: malformed JSON"},
		{"native with default port", "--transport native get-nodes", jsonv1.ErrMalformed, "127.0.0.1:2150", 1, "protocol data error with controller 127.0.0.1:2150: malformed JSON"},
		{"native with port", "--transport native --controller :2149 get-nodes", jsonv1.ErrMalformed, "127.0.0.1:2149", 1, "protocol data error with controller 127.0.0.1:2149: malformed JSON"},
		{"invalid item", "--set client get-nodes", jsonv1.ErrMalformed, "127.0.0.1:2149", 1,
			"config item \"client\" invalid. Please use <section.key>=<val>.\nerror: protocol data error with controller 127.0.0.1:2149: malformed JSON"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				tool := &clientcmd.Tool{Dial: func(_ context.Context, o connect.Options) (*connect.Connection, error) {
					attempts++
					if o.Address != test.address || o.Dialects[0].Topics.Controller != topic || o.TLS != nil {
						t.Errorf("options %+v", o)
					}
					return nil, test.err
				}}
				begin := time.Now()
				runCommand(t, tool, "", strings.Fields(test.args)...).want(t, outcome{exit: 1, stderr: "error: " + test.stderr + "\n"})
				if attempts != test.attempts {
					t.Errorf("made %d attempts, want %d", attempts, test.attempts)
				}
				pauses := max(0, attempts-1)
				if waited := time.Since(begin); waited != time.Duration(pauses)*time.Second { // synctest's clock
					t.Errorf("ended after %v, want %d pauses of 1s", waited, pauses)
				}
			})
		})
	}
}

// TestAttemptTimeout checks the timeout of each attempt to connect to a server that
// never responds.
func TestAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := &clientcmd.Tool{Dial: func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
			ctx, cancel := context.WithTimeout(ctx, o.Timeout)
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		begin := time.Now()
		runCommand(t, tool, "", "get-nodes").want(t, outcome{exit: 1, stderr: "error: websocket connection to 127.0.0.1:2149 timed out in connect()\n"})
		if waited := time.Since(begin); waited != 19*time.Second { // synctest's clock
			t.Errorf("ended after %v, want 10 attempts of 1s and 9 pauses of 1s", waited)
		}
	})
}
