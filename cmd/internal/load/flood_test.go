package load

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

const (
	goodToken = "the-token-of-one"
	badToken  = "the-token-of-another"
)

// TestFlood has a client that sends requests as fast as it can and reads no
// answer, and then vanishes. Others are served meanwhile and afterwards.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("two processes with agents")
	}
	const agents = 3
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	clients := filepath.Join(t.TempDir(), "clients")
	if err := os.WriteFile(clients, []byte("good full token:"+goodToken+"\nbad full token:"+badToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startController(t, build(t), "--clients", clients)
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
			time.Sleep(10 * time.Millisecond) // until all have joined
		}
	}
	served()
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		sent := flood(ctx, t, c.websocket, stop)
		stopped <- sent
	}()
	for range 5 {
		served()
	}
	close(stop)
	if sent := <-stopped; sent == 0 {
		t.Error("the flood was none")
	}
	served()
	conn.Close()
	c.end(t)
}

// flood sends requests until it is stopped, again and again if it is thrown out,
// and returns how many it sent.
func flood(ctx context.Context, t *testing.T, address string, stop <-chan struct{}) (sent int) {
	dialect := management.Dialect(management.DefaultTopics)
	for {
		ws, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+address+jsonv1.Path, bearer(badToken))
		if err != nil {
			t.Errorf("the flood cannot come back: %v", err)
			return sent
		}
		err = ws.WriteMessage(websocket.TextMessage, []byte(`["`+dialect.Topics.Controller+`"]`))
		for err == nil {
			select {
			case <-stop:
				ws.Close() // without a word
				return sent
			default:
			}
			ev, encodeErr := dialect.Encode(zeekapi.GetNodesRequest{ReqID: zeekapi.ReqID{ID: fmt.Sprint("flood-", sent)}})
			if encodeErr != nil {
				t.Error(encodeErr)
				return sent
			}
			sent++
			text := jsonv1.Append(nil, jsonv1.Data(broker.Message{Topic: dialect.Topics.Controller, Value: ev.Value()}))
			ws.SetWriteDeadline(time.Now().Add(time.Second)) // or it waits for itself
			err = ws.WriteMessage(websocket.TextMessage, text)
		}
		ws.Close()
		select {
		case <-stop:
			return sent
		default:
		}
	}
}
