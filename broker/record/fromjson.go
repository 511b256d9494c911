package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// A Fault is a part of a JSON text that does not match a Go type.
type Fault struct {
	Path   string // position, such as "config.nodes[3].p"; "" for the whole text
	Value  string // the JSON there, shortened
	Reason string // description, such as "want a string"
}

// JSONError has the faults of a JSON text, at least one, and at most MaxFaults.
type JSONError struct{ Faults []Fault }

// MaxFaults is the number of faults that are reported.
const MaxFaults = 20

// Error describes the first fault.
func (e *JSONError) Error() string {
	f := e.Faults[0]
	if f.Path == "" {
		return "record: " + f.Reason
	}
	return "record: " + f.Path + ": " + f.Reason
}

// FromJSON stores a JSON text in the variable that into points to. It is the inverse of
// AppendJSON. Fields that are missing in the text keep their values. Fields that the Go
// type does not have are faults, so that a misspelled name is noticed. The error is a
// *JSONError unless the Go type is not supported.
func FromJSON(text []byte, into any) error { return fromJSON(text, into, false) }

// ReadJSON is like FromJSON, but ignores fields that the Go type does not have. Use it for
// texts from programs that may be newer.
func ReadJSON(text []byte, into any) error { return fromJSON(text, into, true) }

func fromJSON(text []byte, into any, lenient bool) error {
	rv, err := variable(into)
	if err != nil {
		return err
	}
	c, err := jsonCodecOf(rv.Type(), fieldOptions{})
	if err != nil {
		return err
	}
	tree, err := parseJSON(text)
	if err != nil {
		return &JSONError{[]Fault{{Reason: "invalid JSON: " + err.Error()}}}
	}
	a := assignment{lenient: lenient}
	c.assign(&a, "", tree, rv)
	if len(a.faults) > 0 {
		return &JSONError{a.faults}
	}
	return nil
}

func parseJSON(text []byte) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no text")
		}
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text after the end")
	}
	return tree, nil
}

// assignment collects the faults of a text.
type assignment struct {
	lenient bool // ignore unknown fields
	faults  []Fault
}

func (a *assignment) fault(path string, value any, reason string) {
	if len(a.faults) >= MaxFaults {
		return
	}
	f := Fault{Path: path, Reason: reason}
	if value != nil {
		text, err := json.Marshal(value)
		if err == nil {
			f.Value = clip(string(text))
		}
	}
	a.faults = append(a.faults, f)
}

const maxFaultText = 100 // bytes

// clip shortens a text or a key in a path, which may have any length.
func clip(s string) string {
	if len(s) <= maxFaultText {
		return s
	}
	return strings.ToValidUTF8(s[:maxFaultText], "") + "..."
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
