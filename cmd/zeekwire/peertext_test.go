package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// What a server says cannot control the terminal: neither as a report while a command
// runs, nor as the error with which the command ends.
func TestTextOfPeerIsEscaped(t *testing.T) {
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		ws.ReadMessage() // the subscriptions
		for _, f := range []jsonv1.Frame{
			jsonv1.Ack{Endpoint: "e", Version: "v"},
			jsonv1.Error{Code: "deserialization_failed", Context: "\x1b[2J\u202e forged"},
		} {
			ws.WriteMessage(websocket.TextMessage, jsonv1.Append(nil, f))
		}
		ws.ReadMessage()
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for _, args := range [][]string{
		{"publish", "--transport", "websocket", "--connect", address, "/x", "event"},
		{"subscribe", "--transport", "websocket", "--connect", address, "--count", "1", "/x"},
	} {
		t.Run(args[0], func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stderr := &untilText{text: "forged", found: cancel}
			run(ctx, args, strings.NewReader(""), stderr, stderr)
			if text := stderr.b.String(); !strings.Contains(text, `\x1b[2J\u202e forged`) || strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("the command printed %q", text)
			}
		})
	}
}

// untilText is a writer that calls found when a text was written.
type untilText struct {
	text  string
	found func()
	b     strings.Builder
}

func (w *untilText) Write(b []byte) (int, error) {
	w.b.Write(b)
	if strings.Contains(w.b.String(), w.text) {
		w.found()
	}
	return len(b), nil
}
