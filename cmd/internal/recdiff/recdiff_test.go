package recdiff

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/zeekapi"
)

type crate struct {
	Name string `zeek:"name"`
}

type deliver struct {
	zeekapi.ReqID
	Crates []crate `zeek:"crates,set"`
	Extra  *crate  `zeek:"extra,optional"`
}

var dialects = []*zeekapi.Dialect{zeekapi.NewDialect("Fruit", zeekapi.Topics{},
	zeekapi.Declare[deliver]("Fruit::deliver", zeekapi.ControllerAPI, "5.0"))}

// writeRecording writes a recording of the events in a new folder.
func writeRecording(t *testing.T, events ...broker.Event) (folder string) {
	t.Helper()
	var out bytes.Buffer
	w, err := recording.NewWriter(&out, recording.Connection{Name: "x", Protocol: recording.WebSocket})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		text := jsonv1.Append(nil, jsonv1.Data{Topic: "fruit", Value: ev.Value()})
		if err := w.Record(recording.Client, recording.KindText, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "x-01.jsonl"), out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestDiff(t *testing.T) {
	text := broker.String
	before := writeRecording(t,
		broker.NewEvent("Fruit::deliver", text("r1"), broker.Set(broker.Vector(text("apple"))), broker.None()),
		broker.NewEvent("Zoo::lion", text("roars")),
		broker.NewEvent("Other::gone"))
	after := writeRecording(t,
		broker.NewEvent("Fruit::deliver", text("r2"), broker.Set(broker.Vector(text("pear"), text("green"))), broker.Vector(text("x"))),
		broker.NewEvent("Zoo::lion", text("sleeps")),
		broker.NewEvent("Other::came", broker.Count(1)))
	var facts [2]Facts
	for i, folder := range []string{before, after} {
		var err error
		if facts[i], err = Read(folder, dialects, "Zoo::"); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"+ event Fruit::deliver, crates[] has 2 fields",
		"+ event Fruit::deliver, extra has 1 fields",
		"+ event Other::came has 1 arguments",
		`+ x: event Zoo::lion as "{\"type\":\"data-message\",\"topic\":\"fruit\",\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"count\",\"data\":1},{\"@data-type\":\"count\",\"data\":1},{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"Zoo::lion\"},{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"sleeps\"}]}]}]}"`,
		"- event Fruit::deliver, crates[] has 1 fields",
		"- event Other::gone has 0 arguments",
		`- x: event Zoo::lion as "{\"type\":\"data-message\",\"topic\":\"fruit\",\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"count\",\"data\":1},{\"@data-type\":\"count\",\"data\":1},{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"Zoo::lion\"},{\"@data-type\":\"vector\",\"data\":[{\"@data-type\":\"string\",\"data\":\"roars\"}]}]}]}"`,
	}
	// If only one side has a session, its facts are not listed separately.
	facts[0]["recording old"], facts[0]["old: event Zoo::dodo as extinct"] = true, true
	want = slices.Insert(want, len(want)-1, "- recording old")
	if diff := cmp.Diff(want, Diff(facts[0], facts[1])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string(nil), Diff(facts[0], facts[0])); diff != "" {
		t.Error(diff)
	}
}
