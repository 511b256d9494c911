package logs_test

import (
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/logs"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// TestRecorded decodes the recorded announcements and records of Zeek.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("../../testdata/recordings/*/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	streams, rows := 0, 0
	for _, name := range files {
		catalogs := map[recording.Side]*logs.Catalog{recording.Client: {}, recording.Server: {}}
		var look func(recording.Side, broker.ZeekMessage)
		look = func(from recording.Side, m broker.ZeekMessage) {
			switch m := m.(type) {
			case broker.LogCreate:
				if _, err := catalogs[from].Add(m); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				streams++
			case broker.LogWrite:
				if _, err := catalogs[from].Row(m); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				rows++
			case broker.Batch:
				for _, inner := range m {
					look(from, inner)
				}
			}
		}
		for from, m := range messages(t, name) {
			look(from, m)
		}
	}
	if streams < 80 || rows < 170 {
		t.Errorf("got only %d streams and %d rows", streams, rows)
	}
}

// messages returns an iterator over the messages that Zeek published in a
// recording of a native connection.
func messages(t *testing.T, name string) func(yield func(recording.Side, broker.ZeekMessage) bool) {
	return func(yield func(recording.Side, broker.ZeekMessage) bool) {
		_, entries, err := recording.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind != recording.KindFrame {
				continue
			}
			env, err := wire.DecodeEnvelope(e.Data)
			if err != nil || env.Type != wire.TypeData {
				continue // a handshake message, or one about the peering
			}
			v, err := bin.Decode(env.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := broker.ParseZeekMessage(v); err == nil && !yield(e.From, m) {
				return
			}
		}
	}
}
