package clientcmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// TestWatch checks the JSON output of watch: events, changes of the status, and a lost
// and restored connection.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var kept []zeekapi.ClusterEvent
		var offset time.Duration // of the clock of the controller
		status := zeekapi.Status{Controller: zeekapi.Process{Name: "c", Version: "v"}}
		respond := func(m zeekapi.Message) zeekapi.Message {
			mu.Lock()
			defer mu.Unlock()
			id := zeekapi.ReqID{ID: m.RequestID()}
			switch m.(type) {
			case zeekapi.EventsRequest:
				return zeekapi.EventsResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, kept)}}
			case zeekapi.StatusRequest:
				return zeekapi.StatusResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, status)}}
			case zeekapi.FiguresRequest:
				return zeekapi.FiguresResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, zeekapi.Figures{})}}
			}
			t.Errorf("unexpected %T", m)
			return nil
		}
		event := func(number uint64, text string) zeekapi.ClusterEvent {
			mu.Lock()
			defer mu.Unlock()
			n := zeekapi.ClusterEvent{Number: number, Time: time.Now().Add(offset), Kind: zeekapi.EventLog, Text: text}
			kept = append(kept, n)
			return n
		}
		event(1, "earlier")
		controller := newController(t, respond)
		report := func(e zeekapi.ClusterEvent) {
			t.Helper()
			if err := controller.Say(t.Context(), zeekapi.EventReport{Event: e}); err != nil {
				t.Error(err)
			}
		}
		down := false
		tool := &clientcmd.Tool{
			Extended: true, Getenv: noEnv,
			Dial: func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
				mu.Lock()
				defer mu.Unlock()
				if down {
					return nil, context.DeadlineExceeded
				}
				return inProcess(controller)(ctx, o)
			},
		}
		var out syncBuffer
		ctx, interrupt := context.WithCancel(t.Context())
		root := newRoot(tool)
		root.SetArgs([]string{"watch"})
		root.SetOut(&out)
		ended := make(chan error)
		go func() { ended <- root.ExecuteContext(ctx) }()

		step := func(want ...string) {
			t.Helper()
			// With synctest's clock, all pending work is done by then, and no timer
			// fires at the same time.
			time.Sleep(time.Minute + 1234*time.Millisecond)
			var got []string
			for line := range strings.Lines(out.take()) {
				var object map[string]json.RawMessage
				if err := json.Unmarshal([]byte(line), &object); err != nil || len(object) != 1 {
					t.Fatalf("%q: %v", line, err)
				}
				for key, value := range object {
					var event struct{ Text string }
					if json.Unmarshal(value, &event) == nil && event.Text != "" {
						key += " " + event.Text
					}
					if key == "connection" {
						key += " " + string(value)
					}
					got = append(got, key)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("wrote %q, want %q", got, want)
			}
		}
		step("event earlier", "status")
		step() // no output without changes

		mu.Lock()
		status.Deployed = "config-1"
		mu.Unlock()
		report(event(2, "later"))
		step("event later", "status")

		event(3, "missed")
		report(event(4, "after a gap"))
		step("event missed", "event after a gap")

		mu.Lock()
		down = true
		mu.Unlock()
		controller.Close()
		step(`connection "lost"`)
		event(5, "while disconnected")
		mu.Lock()
		controller = newController(t, respond)
		down = false
		mu.Unlock()
		step(`connection "restored"`, "event while disconnected", "status")

		// The clock of the controller is set back, and forward again. Events are shown once.
		mu.Lock()
		offset = -time.Hour
		mu.Unlock()
		report(event(6, "an hour earlier"))
		step("event an hour earlier")
		mu.Lock()
		offset = 0
		mu.Unlock()
		event(7, "missed again")
		report(event(8, "after another gap"))
		step("event missed again", "event after another gap")

		// A controller that lost its state numbers events from 1 again, here with a clock
		// that is behind that of the former one.
		for _, life := range []int{1, 2} {
			mu.Lock()
			down, kept, offset = true, nil, -time.Hour
			mu.Unlock()
			controller.Close()
			step(`connection "lost"`)
			for number := range uint64(life) {
				event(number+1, fmt.Sprint("life ", life))
			}
			mu.Lock()
			controller = newController(t, respond)
			down = false
			mu.Unlock()
			step(append([]string{`connection "restored"`}, append(slices.Repeat([]string{fmt.Sprint("event life ", life)}, life), "status")...)...)
		}

		interrupt()
		if code := clientcmd.ExitCode(<-ended); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}
