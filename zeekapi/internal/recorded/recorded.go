// Package recorded gives tests the events in recorded traffic.
package recorded

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Event is an event that one side of a recorded connection published.
type Event struct {
	File  string        // base name without extension
	At    time.Duration // since the start of the capture, the same for all files of a folder
	From  recording.Side
	Topic string
	Event broker.Event

	// Endpoint is who sent it; Nil on a WebSocket, where peers have no ID.
	Endpoint uuid.UUID
}

// Read returns the events of all files that match the pattern, in the order of
// time.
func Read(t testing.TB, pattern string) []Event {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings match %s: %v", pattern, err)
	}
	var events []Event
	for _, file := range files {
		events = append(events, read(t, file)...)
	}
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
	return events
}

// folder is what "make record" calls the recordings of a version.
var folder = regexp.MustCompile(`^zeek-\d+\.\d+\.\d+$`)

// Versions returns the names of the folders below root that "make record" made
// and that have the file.
func Versions(t testing.TB, root, file string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "zeek-*", file))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if name := filepath.Base(filepath.Dir(f)); folder.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

func read(t testing.TB, file string) []Event {
	_, entries, err := recording.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	var events []Event
	for _, entry := range entries {
		m, sender, ok := message(entry)
		if !ok {
			continue
		}
		if ev, err := broker.ParseEvent(m.Value); err == nil {
			events = append(events, Event{name, entry.T.Duration(), entry.From, m.Topic, ev, sender})
		}
	}
	return events
}

// message returns the message that an entry carries, if it does.
func message(e recording.Entry) (m broker.Message, sender uuid.UUID, ok bool) {
	switch e.Kind {
	case recording.KindFrame:
		env, err := wire.DecodeEnvelope(e.Data)
		if err != nil || env.Type != wire.TypeData {
			return m, sender, false // the handshake, or control traffic
		}
		v, err := bin.Decode(env.Payload)
		return broker.Message{Topic: env.Topic, Value: v}, env.Sender, err == nil
	case recording.KindText:
		f, err := jsonv1.Decode(e.Data)
		data, ok := f.(jsonv1.Data)
		return broker.Message(data), sender, err == nil && ok
	}
	return m, sender, false
}
