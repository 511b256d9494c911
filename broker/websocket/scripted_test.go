package websocket_test

import (
	"net/http"
	"sync"
	"testing"

	gorilla "github.com/gorilla/websocket"
)

// scripted is a network with a server that runs script for each WebSocket that
// clients open.
func scripted(t *testing.T, script func(ws *gorilla.Conn)) *network {
	t.Helper()
	n := newNetwork(t)
	var running sync.WaitGroup // http.Server does not track WebSockets
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		ws, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		script(ws)
	})}
	done := make(chan struct{})
	go func() {
		web.Serve(n)
		close(done)
	}()
	t.Cleanup(func() {
		web.Close()
		<-done
		running.Wait()
	})
	return n
}

// accept reads the subscriptions and sends the ack.
func accept(ws *gorilla.Conn) {
	ws.ReadMessage()
	ws.WriteMessage(gorilla.TextMessage, []byte(ack))
}

// stalledServer is a network with a server that accepts clients and then stops
// reading.
func stalledServer(t *testing.T) *network {
	t.Helper()
	hang := make(chan struct{})
	n := scripted(t, func(ws *gorilla.Conn) {
		accept(ws)
		<-hang
	})
	t.Cleanup(func() { close(hang) }) // before the wait for the server
	return n
}

// readAll reads, and so answers pings, until the connection ends.
func readAll(ws *gorilla.Conn) {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

const ack = `{"type":"ack","endpoint":"n-websocket-0","version":"8.0.10"}`
