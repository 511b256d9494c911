package clientcmd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/broker/wire"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

const (
	recordings = "../../../testdata/recordings"
	clusters   = "../../../testdata/clusters"
	topic      = "zeek/management/controller"
)

// TestRecordedCalls repeats the recorded calls of zeek-client with a controller that
// replays the recorded responses. Requests, outputs and exit codes must be the same.
func TestRecordedCalls(t *testing.T) {
	for _, folder := range sessions(t) {
		calls := readCalls(t, filepath.Join(recordings, folder, "client.txt"))
		files, err := filepath.Glob(filepath.Join(recordings, folder, "client-controller-*.jsonl"))
		if err != nil || len(files) != len(calls) {
			t.Errorf("%s: %d calls and %d recordings, want one recording for each call", folder, len(calls), len(files))
			continue
		}
		for i, c := range calls {
			name := fmt.Sprintf("client-controller-%02d", i+1)
			frames := readFrames(t, filepath.Join(recordings, folder, name+".jsonl"), topic)
			unanswered := c.args[0] == "test-timeout" && len(c.args) == 1
			if unanswered {
				// Zeek does not respond. zeek-client waited until it was killed; this
				// client times out.
				c.exit = 1
				c.output = "error: no response received: websocket connection to 127.0.0.1:2149 timed out\n"
			}
			t.Run(folder+"/"+name+"/membus", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub := membus.New()
					controller := hub.Endpoint(topic)
					c.check(t, controller, frames, &clientcmd.Tool{
						Dial: onHub(hub),
					})
				})
			})
			t.Run(folder+"/"+name+"/websocket", func(t *testing.T) {
				if unanswered {
					t.Skip("waits for the timeout in real time")
				}
				server, err := websocket.NewServer(websocket.ServerConfig{})
				if err != nil {
					t.Fatal(err)
				}
				web := httptest.NewServer(server)
				defer web.Close()
				c := c
				c.args = append([]string{"--transport", "websocket", "--controller", strings.TrimPrefix(web.URL, "http://")}, c.args...)
				c.check(t, server, frames, new(clientcmd.Tool))
			})
		}
	}
}

// sessions returns the directories of the recordings with calls of zeek-client.
func sessions(t *testing.T) []string {
	files, err := filepath.Glob(filepath.Join(recordings, "*", "client-controller-01.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	var folders []string
	for _, f := range files {
		folders = append(folders, filepath.Base(filepath.Dir(f)))
	}
	return folders
}

// call is one recorded call of zeek-client.
type call struct {
	args   []string
	output string // standard output and standard error
	exit   int
}

func readCalls(t *testing.T, path string) []call {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if command, ok := strings.CutPrefix(line, "$ zeek-client "); ok {
			calls = append(calls, call{args: strings.Fields(command)})
			inside = true
			continue
		}
		if !inside {
			continue // output of the script that made the recording
		}
		c := &calls[len(calls)-1]
		if n, _ := fmt.Sscanf(line, "exit %d", &c.exit); n == 1 {
			inside = false
			continue
		}
		c.output += line + "\n"
	}
	for i := range calls {
		if a := calls[i].args; strings.HasSuffix(a[0], "-config") && len(a) == 2 && strings.HasSuffix(a[1], ".cfg") {
			a[1] = filepath.Join(clusters, a[1])
		}
	}
	return calls
}

// frame is an event of a recording.
type frame struct {
	from  recording.Side
	event broker.Event
}

// readFrames returns the events of a recording on a controller's topic.
func readFrames(t *testing.T, path, topic string) []frame {
	_, entries, err := recording.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var frames []frame
	for _, e := range entries {
		m, ok := message(t, e)
		if !ok || m.Topic != topic {
			continue
		}
		ev, err := broker.ParseEvent(m.Value)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame{e.From, ev})
	}
	return frames
}

// message returns the message of an entry, and false if it has none.
func message(t *testing.T, e recording.Entry) (broker.Message, bool) {
	switch e.Kind {
	case recording.KindText:
		f, err := jsonv1.Decode(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		data, ok := f.(jsonv1.Data)
		return broker.Message(data), ok
	case recording.KindFrame:
		env, err := wire.DecodeEnvelope(e.Data)
		if err != nil || env.Type != wire.TypeData {
			return broker.Message{}, false // the handshake, or control traffic
		}
		v, err := bin.Decode(env.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return broker.Message{Topic: env.Topic, Value: v}, true
	}
	return broker.Message{}, false
}

// check makes the call, and replays the responses of the controller on bus.
func (c call) check(t *testing.T, bus broker.Bus, frames []frame, tool *clientcmd.Tool) {
	played := make(chan error, 1)
	go func() {
		err := play(bus, topic, frames)
		if err != nil {
			bus.Close() // ends the command
		}
		played <- err
	}()

	tool.Getenv = func(string) string { return "" }
	stdout, stderr, exit := execute(t, tool, "", c.args...)
	bus.Close()
	if err := <-played; err != nil {
		t.Error(err)
	}
	if exit != c.exit {
		t.Errorf("exit code %d, want %d", exit, c.exit)
	}
	if diff := cmp.Diff(c.output, stdout+stderr); diff != "" {
		t.Errorf("output (-want +got)\n%s", diff)
	}
	if stdout != "" && stderr != "" || stderr != "" && !strings.HasPrefix(stderr, "error: ") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
}

// onHub returns a Dial function for a controller on a bus in memory.
func onHub(hub *membus.Hub) clientcmd.Dial {
	return func(_ context.Context, o connect.Options) (*connect.Connection, error) {
		return &connect.Connection{Bus: hub.Endpoint(topic)}, nil
	}
}

// play expects the recorded requests and sends the recorded responses. It replaces
// the recorded request IDs by those of the actual requests.
func play(bus broker.Bus, topic string, frames []frame) error {
	ids := map[string]string{} // recorded to actual
	for _, f := range frames {
		if f.from == recording.Server {
			response := f.event
			response.Args = rename(response.Args, ids)
			if err := broker.PublishEvent(context.Background(), bus, topic, response); err != nil {
				return err
			}
			continue
		}
		got, err := nextEvent(bus)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", f.event.Name, err)
		}
		if len(got.Args) == 0 || got.Args[0].Kind() != broker.KindString {
			return fmt.Errorf("request without ID: %v", got)
		}
		actual, _ := got.Args[0].Text()
		recorded, _ := f.event.Args[0].Text()
		ids[recorded] = actual
		want := f.event
		want.Args = rename(want.Args, ids)
		if strings.HasSuffix(want.Name, "_configuration_request") && want.Args[1].Kind() == broker.KindVector {
			// The client also generates the ID of the configuration.
			want.Args[1], got.Args[1] = withoutID(want.Args[1]), withoutID(got.Args[1])
		}
		if !broker.Equal(got.Value(), want.Value()) {
			return fmt.Errorf("request\n%v\nwant\n%v", got, want)
		}
	}
	switch extra, err := nextEvent(bus); {
	case err == nil:
		return fmt.Errorf("unexpected request: %v", extra)
	case !errors.Is(err, broker.ErrClosed):
		return err
	}
	return nil
}

func nextEvent(bus broker.Bus) (broker.Event, error) {
	for {
		n, err := bus.Next(context.Background())
		if err != nil {
			return broker.Event{}, err
		}
		if r, ok := n.(broker.Received); ok {
			return broker.ParseEvent(r.Message.Value)
		}
	}
}

// rename replaces strings in values and in their elements.
func rename(vs []broker.Value, names map[string]string) []broker.Value {
	out := make([]broker.Value, len(vs))
	for i, v := range vs {
		out[i] = v
		switch v.Kind() {
		case broker.KindString:
			text, _ := v.Text()
			if other, ok := names[text]; ok {
				out[i] = broker.String(other)
			}
		case broker.KindVector:
			inner := make([]broker.Value, v.Len())
			for j := range inner {
				inner[j] = v.At(j)
			}
			out[i] = broker.Vector(rename(inner, names)...)
		}
	}
	return out
}

func withoutID(config broker.Value) broker.Value {
	fields := make([]broker.Value, config.Len())
	for i := range fields {
		fields[i] = config.At(i)
	}
	fields[0] = broker.String("")
	return broker.Vector(fields...)
}
