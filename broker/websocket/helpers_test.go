package websocket_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/twoprocs"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

func TestMain(m *testing.M) {
	twoprocs.Receive(receiver)
	goleak.VerifyTestMain(m)
}

// patience limits the time of one wait, so that failing tests end.
const patience = time.Minute

// network is the in-memory network of one test. Its pipes have no buffers, so
// that writing to a peer that does not read blocks at once. The clock of a
// synctest bubble advances when all goroutines are blocked.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newNetwork(t testing.TB) *network {
	n := &network{conns: make(chan net.Conn), closed: make(chan struct{})}
	t.Cleanup(func() { n.Close() })
	return n
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	select {
	case <-n.closed:
	default:
		close(n.closed)
	}
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (n *network) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return ours, nil
	case <-n.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs a server on l until the test ends.
func serve(t testing.TB, l net.Listener, cfg websocket.ServerConfig) *websocket.Server {
	t.Helper()
	if cfg.Endpoint == "" {
		cfg.Endpoint, cfg.Version = "e2c419af-2666-59f3-95bd-30b9c45dd75c", "8.0.10"
	}
	s, err := websocket.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects a client, and closes it at the end of the test.
func dial(t testing.TB, cfg websocket.ClientConfig) *websocket.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := websocket.Dial(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	next[broker.PeerAdded](t, c)
	return c
}

// next returns the next notification of a bus, which must be of type N.
func next[N broker.Notification](t testing.TB, b broker.Bus) N {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := b.Next(ctx)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	want, ok := n.(N)
	if !ok {
		t.Fatalf("Next = %+v, want %T", n, want)
	}
	return want
}

func publish(t testing.TB, b broker.Bus, topic string, v broker.Value) {
	t.Helper()
	if err := b.Publish(context.Background(), topic, v); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

// rawClient is a client that can violate the protocol.
type rawClient struct {
	t  testing.TB
	ws *gorilla.Conn
}

func rawDial(t testing.TB, n *network, path string, header http.Header) *rawClient {
	t.Helper()
	d := gorilla.Dialer{NetDialContext: n.Dial}
	ws, _, err := d.Dial("ws://pipe"+path, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &rawClient{t, ws}
}

func (c *rawClient) send(text string) { c.write(gorilla.TextMessage, text) }

func (c *rawClient) write(kind int, data string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(kind, []byte(data)); err != nil {
		c.t.Fatal(err)
	}
}

// want reads one text and compares it.
func (c *rawClient) want(text string) {
	c.t.Helper()
	c.ws.SetReadDeadline(time.Now().Add(patience))
	_, got, err := c.ws.ReadMessage()
	if err != nil || string(got) != text {
		c.t.Fatalf("received %s, %v, want %s", got, err, text)
	}
}

func (c *rawClient) wantClose(code int, reason string) {
	c.t.Helper()
	c.ws.SetReadDeadline(time.Now().Add(patience))
	_, got, err := c.ws.ReadMessage()
	var closed *gorilla.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Text != reason {
		c.t.Fatalf("received %s, %v, want close %d %q", got, err, code, reason)
	}
}

// recordedTexts returns the texts that one side of a recorded connection sent.
func recordedTexts(t testing.TB, file, from string) (texts [][]byte) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct{ From, Kind, Hex string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Kind == "text" && line.From == from {
			text, err := hex.DecodeString(line.Hex)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}

func frame(f jsonv1.Frame) string { return string(jsonv1.Append(nil, f)) }

func message(topic string, v broker.Value) string {
	return frame(jsonv1.Data{Topic: topic, Value: v})
}
