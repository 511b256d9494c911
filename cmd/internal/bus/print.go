package bus

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/logs"
)

// Printer prints messages, one per line. The messages of a batch are printed
// separately.
type Printer struct {
	// JSON selects output for programs: one JSON object per line.
	JSON bool

	out    io.Writer
	now    func() time.Time
	filter broker.Filter               // topics to print
	logs   map[uuid.UUID]*logs.Catalog // by peer
}

// NewPrinter returns a Printer that writes to out.
func NewPrinter(out io.Writer) *Printer {
	return &Printer{out: out, now: time.Now, logs: make(map[uuid.UUID]*logs.Catalog)}
}

// line is a message as a JSON object. Values are in Broker's JSON. To be valid
// JSON, bytes that are not UTF-8 are replaced, and reals that are not finite
// are strings.
type line struct {
	Time     string    `json:"time"` // when the message arrived
	Peer     string    `json:"peer"`
	Endpoint uuid.UUID `json:"endpoint"`
	Topic    string    `json:"topic"`

	Event       string      `json:"event,omitempty"`
	Args        []jsonValue `json:"args,omitzero"`
	NetworkTime *jsonValue  `json:"network_time,omitempty"`

	// Members of log messages. Columns lists the columns of a log stream. Fields
	// holds the fields of a record that are set. If the names of the columns are
	// not known, Values holds all fields instead.
	Log     string      `json:"log,omitempty"`
	Path    string      `json:"path,omitempty"`
	Columns []column    `json:"columns,omitzero"`
	Fields  *jsonRow    `json:"fields,omitempty"`
	Values  []jsonValue `json:"values,omitzero"`

	ID    string     `json:"id,omitempty"`
	Value *jsonValue `json:"value,omitempty"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// print writes a message and returns the number of lines. Limit is the largest
// number of lines; 0 means no limit.
func (p *Printer) print(r broker.Received, limit int) (lines int, err error) {
	m, err := broker.ParseZeekMessage(r.Message.Value)
	if err != nil {
		m = nil // any other value
	}
	head := line{
		Time: p.now().Format("2006-01-02T15:04:05.000000Z07:00"), Peer: describe(r.Peer),
		Endpoint: r.Peer.ID, Topic: printable(r.Message.Topic),
	}
	// Zeek announces its log streams to all peers, subscribed or not. They are
	// noted, but not printed.
	wanted := p.filter.Matches(r.Message.Topic)
	var each func(broker.ZeekMessage) error
	each = func(m broker.ZeekMessage) error {
		if batch, ok := m.(broker.Batch); ok {
			for _, inner := range batch {
				if err := each(inner); err != nil {
					return err
				}
			}
			return nil
		}
		l := head
		text := p.describe(&l, r, m)
		if !wanted || limit > 0 && lines == limit {
			return nil
		}
		lines++
		if !p.JSON {
			_, err := fmt.Fprintf(p.out, "%s %s %s %s\n", l.Time, l.Peer, l.Topic, text)
			return err
		}
		return json.NewEncoder(p.out).Encode(l)
	}
	err = each(m)
	return lines, err
}

// describe sets the members of l that depend on the message, and returns the
// message as text. If m is nil, the value is not a message of Zeek.
func (p *Printer) describe(l *line, r broker.Received, m broker.ZeekMessage) (text string) {
	switch m := m.(type) {
	case broker.Event:
		l.Event, l.Args = printable(m.Name), values(m.Args)
		if t, ok := m.NetworkTimestamp(); ok {
			l.NetworkTime = &jsonValue{broker.Timestamp(t)}
		}
		return printable(m.String())
	case broker.LogCreate:
		l.Log = printable(m.Stream)
		stream, err := p.catalog(r.Peer).Add(m)
		if err != nil {
			return printable(fmt.Sprintf("%s (%v)", l.Log, err))
		}
		l.Path, l.Columns = printable(stream.Path), []column{}
		var columns []string
		for _, f := range stream.Fields {
			l.Columns = append(l.Columns, column{f.Name, f.TypeName()})
			columns = append(columns, f.Name+":"+f.TypeName())
		}
		return fmt.Sprintf("%s %s has %s", l.Log, l.Path, printable(strings.Join(columns, " ")))
	case broker.LogWrite:
		l.Log, l.Path = printable(m.Stream), printable(m.Path)
		return l.Log + " " + l.Path + " " + p.row(l, r, m)
	case broker.IdentifierUpdate:
		l.ID, l.Value = printable(m.ID), &jsonValue{m.NewValue}
		return l.ID + " = " + printable(m.NewValue.String())
	}
	l.Value = &jsonValue{r.Message.Value}
	return printable(r.Message.Value.String())
}

// row sets the members of l for a log record, and returns the record as text.
func (p *Printer) row(l *line, r broker.Received, m broker.LogWrite) (text string) {
	row, err := p.catalog(r.Peer).Row(m)
	if err == nil {
		l.Fields = &jsonRow{row}
		return printable(row.String())
	}
	// Over a WebSocket, streams are announced only when they are created, not to
	// clients that connect later.
	unnamed, unnamedErr := logs.Values(m)
	if unnamedErr != nil {
		return printable(fmt.Sprintf("(%v)", err))
	}
	l.Values = values(unnamed)
	return printable(broker.Vector(unnamed...).String())
}

func (p *Printer) catalog(peer broker.Peer) *logs.Catalog {
	c := p.logs[peer.ID]
	if c == nil {
		c = new(logs.Catalog)
		p.logs[peer.ID] = c
	}
	return c
}

func (p *Printer) forget(peer broker.Peer) { delete(p.logs, peer.ID) }

// printable replaces all characters that are not printable, such as control
// sequences of terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// jsonRow encodes a log record as an object. Members have the order of the
// fields.
type jsonRow struct{ logs.Row }

// MarshalJSON implements json.Marshaler.
func (r jsonRow) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, v := range r.Values {
		if v.IsNone() {
			continue
		}
		name, err := json.Marshal(r.Stream.Fields[i].Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(jsonValue{v})
		if err != nil {
			return nil, err
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// jsonValue encodes a value in Broker's JSON.
type jsonValue struct{ broker.Value }

func values(vs []broker.Value) []jsonValue {
	out := make([]jsonValue, len(vs))
	for i, v := range vs {
		out[i] = jsonValue{v}
	}
	return out
}

// MarshalJSON implements json.Marshaler.
func (v jsonValue) MarshalJSON() ([]byte, error) {
	type entry struct {
		Key   jsonValue `json:"key"`
		Value jsonValue `json:"value"`
	}
	var data any
	switch v.Kind() {
	case broker.KindString:
		data, _ = v.Text()
	case broker.KindEnum:
		data, _ = v.Enum()
	case broker.KindReal:
		if f, _ := v.Real(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return jsonv1.AppendValue(nil, v.Value), nil
		}
		data = v.String()
	case broker.KindSet, broker.KindVector:
		elems := []jsonValue{}
		for e := range v.Elements() {
			elems = append(elems, jsonValue{e})
		}
		data = elems
	case broker.KindTable:
		entries := []entry{}
		for key, value := range v.Entries() {
			entries = append(entries, entry{jsonValue{key}, jsonValue{value}})
		}
		data = entries
	default:
		return jsonv1.AppendValue(nil, v.Value), nil
	}
	return json.Marshal(struct {
		Type string `json:"@data-type"`
		Data any    `json:"data"`
	}{v.Kind().String(), data})
}
