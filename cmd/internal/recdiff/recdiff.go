// Package recdiff compares two recordings of similar sessions: their events,
// the numbers of arguments and fields, and the bytes of the parts that should
// be the same.
package recdiff

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/broker/wire"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Facts is a set of statements about recordings, one sentence each.
type Facts map[string]bool

// Read returns the facts about all recordings in a folder. The arguments of the
// dialects' events are compared field by field. Events whose names begin with
// constant have the same content in every session, and their bytes are
// compared.
func Read(folder string, dialects []*zeekapi.Dialect, constant string) (Facts, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("recdiff: %w", err)
	}
	r := reader{facts: make(Facts), args: make(map[string][]record.Field), constant: constant}
	for _, d := range dialects {
		for _, decl := range d.Declarations() {
			r.args[decl.Event] = decl.Args()
		}
	}
	for _, file := range files {
		if err := r.file(file); err != nil {
			return nil, fmt.Errorf("recdiff: %w", err)
		}
	}
	return r.facts, nil
}

// Diff returns the facts that are only in after, prefixed with "+ ", and those
// that are only in before, prefixed with "- ". If only one of them has
// recordings of a session, the only fact about that session is that it was
// recorded.
func Diff(before, after Facts) (lines []string) {
	only := func(sign string, in, notIn Facts) {
		for _, fact := range slices.Sorted(maps.Keys(in)) {
			session, _, ofSession := strings.Cut(fact, ": ")
			if !notIn[fact] && (!ofSession || notIn[recordingOf(session)]) {
				lines = append(lines, sign+fact)
			}
		}
	}
	only("+ ", after, before)
	only("- ", before, after)
	return lines
}

// recordingOf returns the fact that a session was recorded.
func recordingOf(session string) string { return "recording " + session }

type reader struct {
	facts    Facts
	session  string                    // of the current recording
	args     map[string][]record.Field // of the dialects' events
	constant string
}

func (r *reader) note(format string, args ...any) { r.facts[fmt.Sprintf(format, args...)] = true }

func (r *reader) file(name string) error {
	// The recordings of several connections of a session are numbered.
	r.session = strings.TrimRight(strings.TrimSuffix(filepath.Base(name), ".jsonl"), "-0123456789")
	r.note("%s", recordingOf(r.session))
	_, entries, err := recording.ReadFile(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		r.entry(e)
	}
	return nil
}

func (r *reader) entry(e recording.Entry) {
	switch e.Kind {
	case recording.KindFrame:
		env, err := wire.DecodeEnvelope(e.Data)
		if err != nil {
			r.note("frames that are not envelopes")
			return
		}
		if env.Type != wire.TypeData {
			r.note("envelopes of type %v", env.Type)
			return
		}
		if v, err := bin.Decode(env.Payload); err == nil {
			r.value(v, env.Payload)
		}
	case recording.KindText:
		m, err := jsonv1.Decode(e.Data)
		if err != nil {
			r.note("texts that are not messages")
			return
		}
		if data, ok := m.(jsonv1.Data); ok {
			r.value(data.Value, e.Data)
		} else {
			r.note("WebSocket messages %s", strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "jsonv1.")))
		}
	}
}

func (r *reader) value(v broker.Value, encoded []byte) {
	ev, err := broker.ParseEvent(v)
	if err != nil {
		r.note("%s: values that are not events", r.session)
		return
	}
	args, known := r.args[ev.Name]
	r.note("event %s has %d arguments", ev.Name, len(ev.Args))
	for i, a := range ev.Args {
		if known && i < len(args) {
			r.look("event "+ev.Name+", "+args[i].Name, a, args[i].Type)
		}
	}
	if r.constant != "" && strings.HasPrefix(ev.Name, r.constant) {
		r.note("%s: event %s as %q", r.session, ev.Name, encoded)
	}
}

// look records the lengths of the records in a value.
func (r *reader) look(path string, v broker.Value, t record.Type) {
	if v.IsNone() {
		return
	}
	switch t.Kind {
	case "record":
		if v.Kind() != broker.KindVector {
			r.note("%s is %s", path, v.Kind())
			return
		}
		r.note("%s has %d fields", path, v.Len())
		for i, f := range t.Fields {
			if i < v.Len() {
				r.look(path+"."+f.Name, v.At(i), f.Type)
			}
		}
	case "vector", "set":
		element := t.Element
		if element == nil {
			element = t.Index
		}
		if v.Kind() != broker.KindVector && v.Kind() != broker.KindSet {
			r.note("%s is %s", path, v.Kind())
			return
		}
		for i := range v.Len() {
			r.look(path+"[]", v.At(i), *element)
		}
	}
}
