package websocket

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// withoutZero are the prefixes of the versions of Broker that cannot parse \u in a
// string: those of Zeek 5.0 to 6.2. Zeek 7 cannot either, but reports the same
// version as Zeek 8.0, which can. Zeek 7 answers such messages with an error.
var withoutZero = []string{"2.3.", "2.4.", "2.5.", "2.6.", "2.7.", "6.2."}

// readable returns an error if the server cannot read text, the encoding of d.
func readable(server jsonv1.Ack, d jsonv1.Data, text []byte) error {
	if uuid.Validate(server.Endpoint) != nil { // Zeek's own server; Broker's has a UUID, and accepts any bytes
		if !utf8.Valid(text) {
			return unreadable(d, ErrNotUTF8, func(s string) bool { return !utf8.ValidString(s) })
		}
		return nil
	}
	old := func(version string) bool { return strings.HasPrefix(server.Version, version) }
	if bytes.Contains(text, []byte(`\u0000`)) && slices.ContainsFunc(withoutZero, old) {
		return unreadable(d, ErrZeroByte, func(s string) bool { return strings.Contains(s, "\x00") })
	}
	return nil
}

// unreadable returns err with the string in d that is wrong, or nil if there is
// none.
func unreadable(d jsonv1.Data, err error, wrong func(string) bool) error {
	if s, found := findString(d.Value, wrong); found {
		return fmt.Errorf("%.100q: %w", s, err)
	}
	if wrong(d.Topic) {
		return err
	}
	return nil
}

// findString returns the first string in v for which wanted returns true.
func findString(v broker.Value, wanted func(string) bool) (found string, ok bool) {
	s, isText := v.Text()
	if !isText {
		s, isText = v.Enum()
	}
	if isText {
		return s, wanted(s)
	}
	for e := range v.Elements() {
		if found, ok = findString(e, wanted); ok {
			return found, true
		}
	}
	for key, value := range v.Entries() {
		if found, ok = findString(key, wanted); ok {
			return found, true
		}
		if found, ok = findString(value, wanted); ok {
			return found, true
		}
	}
	return "", false
}
