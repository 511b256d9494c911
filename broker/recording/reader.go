package recording

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxLine is the maximum length of a line in bytes. It suffices for the
// longest lines of a Writer, which contain hex.
const maxLine = 2*MaxData + 8*MaxName

// LineError is the error of a Reader for a line that is not valid. Err wraps
// ErrFormat.
type LineError struct {
	File string
	Line int // starting at 1
	Err  error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("recording: %s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns e.Err.
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads a recording entry by entry. It keeps one line in memory. A
// Reader must not be used concurrently.
type Reader struct {
	in   *bufio.Reader
	file string
	line int
	buf  []byte
	max  int // maximum length of a line in bytes

	conn    Connection
	offsets map[Side]int64 // of the next entry
}

// NewReader returns a Reader for r and reads the first line. The name file
// appears in errors. Errors are of type *LineError, except for read errors of
// r.
func NewReader(r io.Reader, file string) (*Reader, error) {
	rd := &Reader{in: bufio.NewReaderSize(r, 64<<10), file: file, max: maxLine, offsets: make(map[Side]int64)}
	line, err := rd.next()
	if errors.Is(err, io.EOF) {
		rd.line = 1
		err = rd.wrong(invalid("the file is empty"))
	}
	if err != nil {
		return nil, err
	}
	if rd.conn, err = parseConnection(line); err != nil {
		return nil, rd.wrong(err)
	}
	return rd, nil
}

// Connection returns the content of the first line.
func (r *Reader) Connection() Connection { return r.conn }

// Line returns the number of the line last read.
func (r *Reader) Line() int { return r.line }

// Next returns the next entry. The error after the last entry is io.EOF. The
// caller owns the entry's data. After a *LineError, Next continues with the
// following line.
func (r *Reader) Next() (Entry, error) {
	line, err := r.next()
	if err != nil {
		return Entry{}, err
	}
	e, err := parseEntry(line, r.conn.Protocol)
	if err != nil {
		return Entry{}, r.wrong(err)
	}
	e.Offset = r.offsets[e.From]
	r.offsets[e.From] += int64(e.wireLen())
	if e.Kind == KindHTTP {
		r.offsets[e.From] = 0
	}
	return e, nil
}

// ReadFile returns the content of a file. It holds all of it in memory.
func ReadFile(name string) (Connection, []Entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return Connection{}, nil, fmt.Errorf("recording: %w", err)
	}
	defer f.Close()
	r, err := NewReader(f, name)
	if err != nil {
		return Connection{}, nil, err
	}
	var entries []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Connection(), entries, nil
		}
		if err != nil {
			return Connection{}, nil, err
		}
		entries = append(entries, e)
	}
}

func (r *Reader) wrong(err error) error {
	return &LineError{File: r.file, Line: r.line, Err: err}
}

// next returns the next line, which is valid until the next call.
func (r *Reader) next() ([]byte, error) {
	if cap(r.buf) > keepLine {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	tooLong := false
	for {
		part, err := r.in.ReadSlice('\n')
		if tooLong = tooLong || len(r.buf)+len(part) > r.max; !tooLong {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("recording: %s: %w", r.file, err)
		}
		r.line++
		if tooLong {
			r.buf = nil
			return nil, r.wrong(invalid("the line is longer than %d bytes", r.max))
		}
		return r.buf, nil
	}
}

func parseConnection(line []byte) (Connection, error) {
	outer, err := parseObject(line, "connection")
	if err != nil {
		return Connection{}, err
	}
	m, err := parseObject(outer["connection"], "name", "protocol", "server_port", "client", "server")
	if err != nil {
		return Connection{}, err
	}
	name, err1 := m.text("name")
	protocol, err2 := m.text("protocol")
	if err := cmp.Or(err1, err2); err != nil {
		return Connection{}, err
	}
	port, err := strconv.ParseUint(string(m["server_port"]), 10, 16)
	if err != nil {
		return Connection{}, invalid("server_port is %s, want 0 to 65535", clip(string(m["server_port"])))
	}
	c := Connection{Name: name, Protocol: Protocol(protocol), ServerPort: uint16(port)}
	if c.Client, err = m.address("client"); err != nil {
		return Connection{}, err
	}
	if c.Server, err = m.address("server"); err != nil {
		return Connection{}, err
	}
	return c, c.check()
}

// address returns the address in a member, which may be missing.
func (m members) address(name string) (netip.AddrPort, error) {
	if _, ok := m[name]; !ok {
		return netip.AddrPort{}, nil
	}
	text, err := m.text(name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, invalid("%s is %q, want an IP address and a port", name, clip(text))
	}
	return a, nil
}

func parseEntry(line []byte, p Protocol) (Entry, error) {
	m, err := parseObject(line, "t", "from", "kind", "hex", "text")
	if err != nil {
		return Entry{}, err
	}
	from, err1 := m.text("from")
	kind, err2 := m.text("kind")
	if err := cmp.Or(err1, err2); err != nil {
		return Entry{}, err
	}
	e := Entry{T: Time(m["t"]), From: Side(from), Kind: Kind(kind)}
	if err := e.check(p); err != nil {
		return Entry{}, err
	}
	if e.Data, err = m.data(e.Kind); err != nil {
		return Entry{}, err
	}
	return e, e.check(p)
}

// members maps the names of a JSON object's members to their JSON text.
type members map[string]json.RawMessage

// parseObject returns the members of the JSON object in b. Unlike
// encoding/json it rejects unknown and repeated members, names that differ in
// case, and invalid UTF-8, which would otherwise be lost silently.
func parseObject(b []byte, known ...string) (members, error) {
	if !utf8.Valid(b) {
		return nil, invalid("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("not a JSON object: %q", clip(string(bytes.TrimSpace(b))))
	}
	m := make(members, len(known))
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, invalid("%v", syntax(err))
		}
		name, ok := t.(string)
		switch _, twice := m[name]; {
		case !ok || !slices.Contains(known, name):
			return nil, invalid("unknown member %q", clip(fmt.Sprint(t)))
		case twice:
			return nil, invalid("member %q occurs twice", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, invalid("member %q: %v", name, syntax(err))
		}
		m[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, invalid("%v", syntax(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, invalid("unexpected text after the JSON object")
	}
	return m, nil
}

func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the line ends within the JSON object")
	}
	return err
}

func (m members) text(name string) (string, error) {
	raw, ok := m[name]
	if !ok {
		return "", invalid("no member %q", name)
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", invalid("member %q is %s, want a string", name, clip(string(raw)))
	}
	return s, nil
}

// data returns the bytes of an entry of kind k: from the member "text" for an
// HTTP head, and from "hex" for other kinds.
func (m members) data(k Kind) ([]byte, error) {
	name, other := "hex", "text"
	if k == KindHTTP {
		name, other = other, name
	}
	if _, ok := m[other]; ok {
		return nil, invalid("member %q in an entry of kind %s, want %q", other, k, name)
	}
	s, err := m.text(name)
	if err != nil {
		return nil, err
	}
	if k != KindHTTP {
		data, err := hex.DecodeString(s)
		if err != nil {
			return nil, invalid("member \"hex\": %v", err)
		}
		return data, nil
	}
	data := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xFF {
			return nil, invalid("member \"text\" holds %U, want one byte per character", r)
		}
		data = append(data, byte(r))
	}
	return data, nil
}
