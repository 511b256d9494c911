package load

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

const (
	goodToken = "the-token-of-one"
	badToken  = "the-token-of-another"
)

// TestFlood runs a client that sends requests as fast as it can, reads no
// responses, and disconnects abruptly. The controller serves other clients
// during the flood and after it.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two processes with agents")
	}
	const agents = 3
	binary := testbinary.Path(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	clients := filepath.Join(t.TempDir(), "clients")
	if err := os.WriteFile(clients, []byte("good full token:"+goodToken+"\nbad full token:"+badToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startController(t, binary, "--clients", clients)
	conn := c.connect(ctx, t, goodToken)
	defer conn.Close()
	startAgents(t, agents, c.native, "anonymous")
	served := func() {
		t.Helper()
		for {
			nodes, err := conn.GetNodes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(nodes) == agents {
				return
			}
			time.Sleep(10 * time.Millisecond) // until all agents have connected
		}
	}
	served()
	begun, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		flood(ctx, t, c.websocket, sync.OnceFunc(func() { close(begun) }), stop)
	}()
	select {
	case <-begun:
	case <-ended:
		t.Fatal("the flood ended before the first request")
	}
	for range 5 {
		served()
	}
	close(stop)
	<-ended
	served()
	conn.Close()
	c.end(t)
}

// flood sends requests until stop is closed, and calls sent after each. It
// reconnects when the controller disconnects it.
func flood(ctx context.Context, t *testing.T, address string, sent func(), stop <-chan struct{}) {
	dialect := management.Dialect(management.DefaultTopics)
	count := 0
	for {
		ws, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+address+jsonv1.Path, bearer(badToken))
		if err != nil {
			t.Errorf("the flood cannot reconnect: %v", err)
			return
		}
		err = ws.WriteMessage(websocket.TextMessage, []byte(`["`+dialect.Topics.Controller+`"]`))
		for err == nil {
			select {
			case <-stop:
				ws.Close() // without a close frame
				return
			default:
			}
			ev, encodeErr := dialect.Encode(zeekapi.GetNodesRequest{ReqID: zeekapi.ReqID{ID: fmt.Sprint("flood-", count)}})
			if encodeErr != nil {
				t.Error(encodeErr)
				return
			}
			count++
			text := jsonv1.Append(nil, jsonv1.Data(broker.Message{Topic: dialect.Topics.Controller, Value: ev.Value()}))
			ws.SetWriteDeadline(time.Now().Add(time.Second)) // the write may block, because the responses are not read
			if err = ws.WriteMessage(websocket.TextMessage, text); err == nil {
				sent()
			}
		}
		ws.Close()
		select {
		case <-stop:
			return
		default:
		}
	}
}
