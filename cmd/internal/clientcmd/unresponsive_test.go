package clientcmd_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// requestCommands are commands that send a request to the controller, with
// arguments.
var requestCommands = [][]string{
	{"deploy"}, {"deploy", "--force"}, {"deploy", "--dry-run"}, {"deploy-config", "-"}, {"diff"}, {"drain", "x"},
	{"get-config"}, {"get-config", "--number", "1"}, {"get-id-value", "x"}, {"get-instances"}, {"get-nodes"}, {"history"},
	{"logs", "x"}, {"events"}, {"restart"}, {"rollback", "1"}, {"rolling-restart"}, {"stage-config", "-"}, {"status"},
	{"teardown", "--yes"}, {"test-timeout"}, {"test-timeout", "--with-state"}, {"undrain", "x"},
	{"alerts"}, {"alerts", "test"}, {"step-down"},
	{"top"}, {"netstats"}, {"netstats", "--interval", "1s"}, {"peers"}, {"df"}, {"scripts"},
	{"stop", "x"}, {"start", "--all"}, {"diag", "x"}, {"cleanup"}, {"check"}, {"process", "process_test.go", "--zeek", "true"},
}

// quietConfig is a cluster file without warnings.
const quietConfig = "[m]\nrole = manager\n[l]\nrole = logger\n[p]\nrole = proxy\n[w]\nrole = worker\ninterface = eth0\n"

// otherCommands are the commands that send no request, or that run until they are
// interrupted.
var otherCommands = []string{"check-config", "monitor", "show-config", "show-settings", "watch"}

// socket is the server's end of a WebSocket.
type socket struct {
	net.Conn
	r *bufio.Reader
}

// behaviour is a function that serves a connection in an unusual way.
type behaviour func(w *socket)

// accept accepts the WebSocket, reads the subscriptions and acknowledges them.
func (w *socket) accept() error {
	request, err := http.ReadRequest(w.r)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if _, err := w.read(); err != nil {
		return err
	}
	return w.write(1, []byte(`{"type":"ack","endpoint":"e","version":"8.0.10"}`))
}

// read returns the payload of the next frame.
func (w *socket) read() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return nil, err
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var more [2]byte
		io.ReadFull(w.r, more[:])
		n = uint64(binary.BigEndian.Uint16(more[:]))
	case 127:
		var more [8]byte
		io.ReadFull(w.r, more[:])
		n = binary.BigEndian.Uint64(more[:])
	}
	payload := make([]byte, 4+n)
	_, err := io.ReadFull(w.r, payload)
	for i := range payload[4:] {
		payload[4+i] ^= payload[i%4]
	}
	return payload[4:], err
}

func (w *socket) write(opcode byte, payload []byte) error {
	frame := []byte{0x80 | opcode, byte(len(payload))}
	if len(payload) > 125 {
		frame[1] = 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	_, err := w.Write(append(frame, payload...))
	return err
}

func (w *socket) event(topic string, ev broker.Event) error {
	return w.write(1, jsonv1.Append(nil, jsonv1.Data{Topic: topic, Value: ev.Value()}))
}

// discard reads and discards frames until the connection ends.
func (w *socket) discard() { io.Copy(io.Discard, w.r) }

// request returns the topic and the event of the next message.
func (w *socket) request() (string, broker.Event, error) {
	for {
		text, err := w.read()
		if err != nil {
			return "", broker.Event{}, err
		}
		decoded, err := jsonv1.Decode(text)
		if data, ok := decoded.(jsonv1.Data); ok && err == nil {
			ev, err := broker.ParseEvent(data.Value)
			return data.Topic, ev, err
		}
	}
}

// every calls a function repeatedly, with a pause of d, until it fails.
func every(d time.Duration, do func() error) {
	for do() == nil {
		time.Sleep(d)
	}
}

// afterAccept returns a behaviour that accepts the connection, calls then, and reads
// until the connection ends.
func afterAccept(then behaviour) behaviour {
	return func(w *socket) {
		if w.accept() != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.discard()
		}()
		then(w)
		<-done
	}
}

var behaviours = map[string]behaviour{
	"does not respond to the HTTP request": (*socket).discard,
	"does not acknowledge": func(w *socket) {
		http.ReadRequest(w.r)
		w.discard()
	},
	"responds without upgrade": func(w *socket) {
		http.ReadRequest(w.r)
		fmt.Fprint(w, "HTTP/1.1 200 OK\r\n\r\n")
	},
	"closes at once":       func(*socket) {},
	"does not respond":     afterAccept(func(*socket) {}),
	"closes after the ack": func(w *socket) { w.accept() },
	"stops reading":        func(w *socket) { w.accept(); time.Sleep(time.Hour) },
	"sends only pings":     afterAccept(func(w *socket) { every(time.Second, func() error { return w.write(9, []byte("ping")) }) }),
	"sends many responses to other requests": afterAccept(func(w *socket) {
		n := 0
		every(100*time.Millisecond, func() error {
			n++
			return w.event(topic, broker.NewEvent("Management::Controller::API::get_nodes_response", broker.String(fmt.Sprint(n)), broker.Vector()))
		})
	}),
	"sends many unrelated events": afterAccept(func(w *socket) {
		every(100*time.Millisecond, func() error { return w.event("zeek/else", broker.NewEvent("x", broker.Count(1))) })
	}),
	"sends malformed JSON":               afterAccept(func(w *socket) { w.write(1, []byte("}{")) }),
	"sends a frame above the size limit": afterAccept(func(w *socket) { w.Write([]byte{0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) }),
	"sends a message without end": afterAccept(func(w *socket) {
		every(10*time.Millisecond, func() error { _, err := w.Write([]byte{0x01, 1, 'x'}); return err })
	}),
	"sends an incomplete frame": afterAccept(func(w *socket) { w.Write([]byte{0x81, 100, 'x'}) }),
	"sends only error messages": afterAccept(func(w *socket) {
		every(time.Second, func() error {
			return w.write(1, []byte(`{"type":"error","code":"deserialization_failed","context":"no such event"}`))
		})
	}),
	"responds with other events": func(w *socket) {
		if w.accept() != nil {
			return
		}
		for {
			topic, ev, err := w.request()
			if err != nil {
				return
			}
			for _, kind := range []string{"x", ev.Name, "Management::Controller::API::no_such_response"} {
				if w.event(topic, broker.NewEvent(kind, ev.Args...)) != nil {
					return
				}
			}
		}
	},
	"responds with invalid arguments": func(w *socket) {
		if w.accept() != nil {
			return
		}
		for {
			topic, ev, err := w.request()
			if err != nil {
				return
			}
			response := strings.Replace(ev.Name, "_request", "_response", 1)
			if w.event(topic, broker.NewEvent(response, ev.Args[0], broker.Set(broker.Count(1)), broker.None())) != nil {
				return
			}
		}
	},
	"closes after the request": func(w *socket) {
		if w.accept() == nil {
			w.request()
		}
	},
}

// maxDuration limits the duration of a command with default settings: it allows for
// attempts to connect, two requests and the closing handshake.
const maxDuration = 2*20*time.Second + 5*time.Second

// TestCommandsEndOnUnresponsiveServer checks that every command fails in time with
// every behaviour of the server.
func TestCommandsEndOnUnresponsiveServer(t *testing.T) {
	listed := map[string]bool{}
	for _, name := range otherCommands {
		listed[name] = true
	}
	for _, args := range requestCommands {
		listed[args[0]] = true
	}
	for _, c := range (&clientcmd.Tool{Extended: true}).Commands() {
		if !listed[c.Name()] {
			t.Errorf("command %s is neither in requestCommands nor in otherCommands", c.Name())
		}
	}

	for name, h := range behaviours {
		t.Run(name, func(t *testing.T) {
			for _, args := range requestCommands {
				t.Run(strings.Join(args, " "), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						mustFail(t, dialServer(t, h), append(args[:len(args):len(args)], "--json"))
					})
				})
			}
		})
	}
}

// TestErrorOfServerEndsCommands checks that every command ends at once, with the words
// of the server, if that reports an error: for each request, or after the ack.
func TestErrorOfServerEndsCommands(t *testing.T) {
	report := func(w *socket) error {
		return w.write(1, []byte(`{"type":"error","code":"serialization_failed","context":"event is not known here"}`))
	}
	rejecting := func(w *socket) {
		err := w.accept()
		for err == nil {
			if _, _, err = w.request(); err == nil {
				err = report(w)
			}
		}
	}
	failing := afterAccept(func(w *socket) { report(w) })
	for _, args := range append(requestCommands, []string{"watch"}, []string{"monitor"}) {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			behave := rejecting
			if args[0] == "monitor" { // sends no request
				behave = failing
			}
			synctest.Test(t, func(t *testing.T) {
				tool := &clientcmd.Tool{Extended: true, Dial: dialServer(t, behave)}
				begin := time.Now()
				got := runCommand(t, tool, quietConfig, append(args[:len(args):len(args)], "--transport", "websocket")...)
				if elapsed := time.Since(begin); elapsed > time.Second { // synctest's clock
					t.Errorf("ended after %v", elapsed)
				}
				if got.exit != 1 || !strings.Contains(got.stdout+got.stderr, "serialization_failed: event is not known here") {
					t.Errorf("%+v, want a failure with the words of the server", got)
				}
			})
		})
	}
}

// TestWatchEndsWhenRefused checks that watch does not try for ever to reconnect to a
// controller that refuses it.
func TestWatchEndsWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		dial := dialServer(t, func(w *socket) {
			if attempts++; attempts == 1 {
				w.accept()
				return
			}
			http.ReadRequest(w.r)
			fmt.Fprint(w, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\ntoken expired")
		})
		got := runCommand(t, &clientcmd.Tool{Extended: true, Dial: dial}, "", "watch", "--transport", "websocket")
		if got.exit != 1 || !strings.Contains(got.stderr, "error: cannot connect again: ") || !strings.Contains(got.stderr, "token expired") || attempts != 2 {
			t.Errorf("%d attempts, %+v, want an error that the token expired", attempts, got)
		}
	})
}

// TestHalfClosedConnection checks that commands fail at once if the server closes its
// direction of the TCP connection, although it continues to read.
func TestHalfClosedConnection(t *testing.T) {
	for name, behave := range map[string]behaviour{
		"after the ack": func(w *socket) { w.accept() },
		"after the request": func(w *socket) {
			if w.accept() == nil {
				w.request()
			}
		},
		"during the response": func(w *socket) {
			if w.accept() == nil {
				w.request()
				w.Write([]byte{0x81, 100, 'x'})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var servers sync.WaitGroup
			defer servers.Wait()
			defer l.Close()
			servers.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					servers.Go(func() {
						defer conn.Close()
						w := &socket{conn, bufio.NewReader(conn)}
						behave(w)
						conn.(*net.TCPConn).CloseWrite()
						w.discard()
					})
				}
			})
			for _, args := range requestCommands {
				args = append(args[:len(args):len(args)], "--json", "--transport", "websocket", "--controller", l.Addr().String())
				got := runCommand(t, &clientcmd.Tool{Extended: true}, quietConfig, args...)
				if got.exit != 1 || !strings.Contains(got.stdout+got.stderr, "connection lost") {
					t.Errorf("%s: %+v, want a lost connection", strings.Join(args, " "), got)
				}
			}
		})
	}
}

// TestUnresponsiveNativePeer checks the timeout of a request over a native connection
// to a peer that is not a controller.
func TestUnresponsiveNativePeer(t *testing.T) {
	address, err := unresponsiveController(t).ListenNative(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runCommand(t, new(clientcmd.Tool), "", "--transport", "native", "--controller", address,
		"--set", "client.request_timeout_secs=1", "get-nodes").want(t, outcome{exit: 1,
		stderr: "error: no response received: native connection to " + address + " timed out\n"})
}

// mustFail checks that a command fails in time and reports an error.
func mustFail(t *testing.T, dial clientcmd.Dial, args []string) {
	t.Helper()
	tool := &clientcmd.Tool{Extended: true, Dial: dial}
	begin := time.Now()
	got := runCommand(t, tool, quietConfig, args...)
	if elapsed := time.Since(begin); elapsed > maxDuration { // synctest's clock
		t.Errorf("ended after %v, want at most %v", elapsed, maxDuration)
	}
	if got.exit == 0 || got.stdout == "" && !strings.HasPrefix(got.stderr, "error: ") {
		t.Errorf("%+v, want a failure with an error", got)
	}
}

// dialServer returns a Dial function for servers with a behaviour.
func dialServer(t *testing.T, h behaviour) clientcmd.Dial {
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait)
	return func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
		o.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			servers.Go(func() {
				defer server.Close()
				h(&socket{server, bufio.NewReader(server)})
			})
			return client, nil
		}
		return connect.Dial(ctx, o)
	}
}
