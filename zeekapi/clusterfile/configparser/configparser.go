// Package configparser reads INI files with the rules of Python's
// ConfigParser, which zeek-client's users have their files written for:
//
//   - Keys fold to lower case; names of sections do not.
//   - A key ends at the first = or : of its line.
//   - Comments start with # or ; and have their own line.
//   - Lines that are indented more than their key continue its value.
//   - Sections inherit the keys of [DEFAULT].
//   - %(key)s in a value stands for the value of key, and %% for %.
//   - No section and no key may be given twice.
//
// The Go packages for INI files differ in most of that, so this is our own.
// In two things it does better than ConfigParser: it reports all that is wrong
// with a file, and where.
package configparser

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on files.
const (
	MaxSize   = 16 << 20 // bytes
	maxNested = 10       // references to values that have references (Python: MAX_INTERPOLATION_DEPTH)
	maxErrors = 100      // reported

	// References and inheritance can make much of a small file. This bounds
	// the sum of all values in bytes, where each part of a value between
	// references also counts as partCost bytes.
	maxExpanded = 64 << 20
	partCost    = 64
)

// DefaultSection is the name of the section that all others inherit from.
const DefaultSection = "DEFAULT"

// Error says what is wrong with a file, and where.
type Error struct {
	File    string
	Line    int    // from 1; 0 if the file as a whole is meant
	Section string // "" outside of sections
	Key     string // "" if no key is meant
	Text    string
}

// Error returns the text followed by its place, which leaves texts that others
// know at the start of a line.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s (%s)", e.Text, e.File)
	}
	return fmt.Sprintf("%s (%s:%d)", e.Text, e.File, e.Line)
}

// Errors is all that is wrong with a file, in the order of its lines.
type Errors []*Error

// Add appends an error and puts it in order.
func (es *Errors) Add(e *Error) {
	i, _ := slices.BinarySearchFunc(*es, e.Line, func(x *Error, line int) int {
		if x.Line <= line {
			return -1
		}
		return 1
	})
	*es = slices.Insert(*es, i, e)
}

// Error returns one line per error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the single errors.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// File is the content of a file.
type File struct {
	Name     string
	Sections []*Section // without [DEFAULT], in order

	byName map[string]*Section
}

// Section returns the section of that name, or nil.
func (f *File) Section(name string) *Section { return f.byName[name] }

// Section is a section with what it inherits.
type Section struct {
	Name string
	Line int // of the header

	// Options are the section's options, inherited ones first. Those of its
	// own that override inherited ones stand in their place, as in Python.
	Options []*Option

	byKey map[string]*Option
}

// Option returns the option with that key, or nil. Case does not matter.
func (s *Section) Option(key string) *Option { return s.byKey[strings.ToLower(key)] }

// Option is a key with its value.
type Option struct {
	Key      string // in lower case
	Written  string // as it stands in the file
	HasValue bool   // false where there is not even a delimiter
	Value    string // with its references resolved
	Line     int

	raw   string   // the value as it stands in the file
	lines []string // of the value, while the file is being read
}

// add adds an option without looking for others with its key.
func (s *Section) add(o *Option) {
	s.Options = append(s.Options, o)
	s.byKey[o.Key] = o
}

func newSection(name string, line int) *Section {
	return &Section{Name: name, Line: line, byKey: map[string]*Option{}}
}

// Read parses what r holds, of a file called name in errors. If the file is
// wrong, the error is of type Errors, and there may be a File with what makes
// sense nevertheless.
func Read(name string, r io.Reader) (*File, error) { return read(name, r, false) }

// ReadRaw is Read without resolving references: values are as they stand in
// the file. It is for files whose references mean what is elsewhere.
func ReadRaw(name string, r io.Reader) (*File, error) { return read(name, r, true) }

func read(name string, r io.Reader, raw bool) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxSize {
		return nil, Errors{{File: name, Text: fmt.Sprintf("file is larger than %d bytes", MaxSize)}}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	text = bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))

	p := parser{
		file:     &File{Name: name, byName: map[string]*Section{}},
		defaults: newSection(DefaultSection, 0),
		raw:      raw,
	}
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		p.line(string(line))
	}
	p.endValue()
	budget := maxExpanded
	for _, s := range p.file.Sections {
		if p.inherit(s, &budget); budget < 0 {
			return nil, Errors{{File: name, Line: s.Line, Section: s.Name,
				Text: fmt.Sprintf("file becomes larger than %d bytes with all references resolved", maxExpanded)}}
		}
	}
	if len(p.errs) > 0 {
		return p.file, p.errs
	}
	return p.file, nil
}

// parser reads line by line.
type parser struct {
	file     *File
	defaults *Section
	raw      bool // leave references as they are
	errs     Errors
	number   int // of the line

	section *Section // nil before the first header
	option  *Option  // that lines may continue, or nil
	indent  int      // of the line that began it
	skip    bool     // what follows belongs to a line in error
}

func (p *parser) fail(line int, section, key, format string, args ...any) {
	if len(p.errs) == maxErrors {
		return // no cluster file, probably
	}
	p.errs.Add(&Error{File: p.file.Name, Line: line, Section: section, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) line(line string) {
	p.number++
	if !utf8.ValidString(line) {
		p.fail(p.number, "", "", "line is not UTF-8")
		return
	}
	content := strings.TrimFunc(line, isSpace)
	switch {
	case content == "":
		if p.option != nil && p.option.HasValue {
			p.option.lines = append(p.option.lines, "")
		}
		return
	case content[0] == '#' || content[0] == ';':
		return
	}
	indent := utf8.RuneCountInString(line[:strings.Index(line, content)])
	if indent > p.indent && (p.option != nil || p.skip) {
		p.continuation(content)
		return
	}
	p.indent = indent
	p.endValue()
	if name, ok := header(content); ok {
		p.header(name)
		return
	}
	if p.section == nil {
		if !p.skip {
			p.fail(p.number, "", "", "%q stands before the first section, such as [instances]", clip(content))
		}
		p.skip = true
		return
	}
	p.keyValue(content)
}

func (p *parser) continuation(content string) {
	o := p.option
	if o == nil {
		return // of a line in error
	}
	if !o.HasValue {
		p.fail(p.number, p.section.Name, o.Key,
			"%q is indented like the continuation of a value, but the key %q has none", clip(content), o.Key)
		return
	}
	o.lines = append(o.lines, content)
}

// endValue ends the value that lines could continue.
func (p *parser) endValue() {
	if o := p.option; o != nil {
		o.raw = strings.TrimRightFunc(strings.Join(o.lines, "\n"), isSpace)
		o.lines = nil
	}
	p.option = nil
}

// header returns the name of a section from its header. What follows the last
// bracket is ignored, as in Python.
func header(content string) (name string, ok bool) {
	end := strings.LastIndexByte(content, ']')
	if content[0] != '[' || end < 2 {
		return "", false
	}
	return content[1:end], true
}

func (p *parser) header(name string) {
	p.skip = false
	if name == DefaultSection {
		p.section = p.defaults // may have several parts
		return
	}
	s := newSection(name, p.number)
	if first := p.file.Section(name); first != nil {
		// Read on, for more errors, into a section that nobody sees.
		p.fail(p.number, name, "", "section %q is given twice, first in line %d", name, first.Line)
	} else {
		p.file.Sections = append(p.file.Sections, s)
		p.file.byName[name] = s
	}
	p.section = s
}

func (p *parser) keyValue(content string) {
	p.skip = false
	written, value, hasValue := content, "", false
	if i := strings.IndexAny(content, "=:"); i >= 0 {
		written, value, hasValue = content[:i], content[i+1:], true
	}
	written = strings.TrimRightFunc(written, isSpace)
	o := &Option{Key: strings.ToLower(written), Written: written, HasValue: hasValue, Line: p.number,
		lines: []string{strings.TrimFunc(value, isSpace)}}
	switch first := p.section.byKey[o.Key]; {
	case written == "":
		p.fail(p.number, p.section.Name, "", "%q lacks a key", clip(content))
		p.skip = true
		return
	case first != nil:
		p.fail(p.number, p.section.Name, o.Key, "key %q of section %q is given twice, first in line %d",
			o.Key, p.section.Name, first.Line)
	default:
		p.section.add(o)
	}
	p.option = o
}

// inherit completes a section with the options of [DEFAULT] and resolves its
// values.
func (p *parser) inherit(s *Section, budget *int) {
	own := s.Options
	s.Options = nil
	for _, o := range p.defaults.Options {
		if *budget -= partCost; *budget < 0 {
			return
		}
		if override := s.byKey[o.Key]; override != nil {
			o = override
		}
		copied := *o // references mean other things in other sections
		s.add(&copied)
	}
	for _, o := range own {
		if p.defaults.byKey[o.Key] == nil {
			s.add(o)
		}
	}
	for _, o := range s.Options {
		if p.raw {
			o.Value = o.raw
			continue
		}
		r := resolver{lookup: s.lookup, budget: budget}
		text := r.resolve(o.raw, 1)
		if *budget < 0 {
			return
		}
		if text != "" {
			p.fail(o.Line, s.Name, o.Key, "value of %s.%s: %s", s.Name, o.Key, text)
			continue
		}
		o.Value = r.out.String()
	}
}

// Expand returns value with its references resolved. Lookup returns the value,
// with its own references unresolved, that a reference to a key stands for.
// Keys are in lower case.
func Expand(value string, lookup func(key string) (value string, ok bool)) (string, error) {
	budget := maxExpanded
	r := resolver{budget: &budget, lookup: func(key string) (string, string) {
		value, ok := lookup(strings.ToLower(key))
		if !ok {
			return "", noSuchKey(key)
		}
		return value, ""
	}}
	if text := r.resolve(value, 1); text != "" {
		return "", errors.New(text)
	}
	return r.out.String(), nil
}

// lookup returns the value of a key as it stands in the file, or the text of
// the error if the section has none.
func (s *Section) lookup(key string) (value, problem string) {
	o := s.Option(key)
	switch {
	case o == nil:
		return "", noSuchKey(key)
	case !o.HasValue:
		return "", fmt.Sprintf("reference to the key %q, which has no value", key)
	}
	return o.raw, ""
}

func noSuchKey(key string) string {
	return fmt.Sprintf("reference to the key %q, which does not exist", key)
}

// resolver replaces the references in one value.
type resolver struct {
	lookup func(key string) (value, problem string)
	budget *int
	out    strings.Builder
}

// resolve appends raw to the output and returns what is wrong with it, if
// anything. It gives up when there is no budget left.
func (r *resolver) resolve(raw string, depth int) string {
	for {
		before, rest, found := strings.Cut(raw, "%")
		if *r.budget -= partCost + len(before); *r.budget < 0 {
			return "too large"
		}
		r.out.WriteString(before)
		if !found {
			return ""
		}
		if depth > maxNested {
			return fmt.Sprintf("references are nested more than %d deep", maxNested)
		}
		if after, ok := strings.CutPrefix(rest, "%"); ok {
			r.out.WriteByte('%')
			raw = after
			continue
		}
		name, after, ok := strings.Cut(strings.TrimPrefix(rest, "("), ")s")
		if !strings.HasPrefix(rest, "(") || !ok || name == "" || strings.Contains(name, ")") {
			return fmt.Sprintf("%q is no reference such as %%(key)s; write %%%% for a %%", clip("%"+rest))
		}
		value, problem := r.lookup(name)
		if problem != "" {
			return problem
		}
		if text := r.resolve(value, depth+1); text != "" {
			return text
		}
		raw = after
	}
}

// isSpace is Python's str.isspace, which knows four separators more than Go.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// clip shortens a piece of the file for an error.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}

// Escape returns a value such that reading it gives back s: the inverse of
// resolving references.
func Escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// ErrUnwritable is wrapped by the errors of Writer about names that no INI
// file can hold, or not twice.
var ErrUnwritable = errors.New("cannot be written to an INI file")

// Writer writes a file the way ConfigParser does.
type Writer struct {
	b        bytes.Buffer
	sections map[string]bool
	keys     map[string]bool // of the last section
	err      error
}

// Section begins a section, before all keys.
func (w *Writer) Section(name string) {
	got, ok := "", false
	if name != "" {
		got, ok = header("[" + name + "]")
	}
	if !ok || got != name || name == DefaultSection || strings.ContainsAny(name, "\r\n") || w.sections[name] {
		w.fail("section", name)
	}
	if w.sections == nil {
		w.sections = map[string]bool{}
	} else {
		w.b.WriteByte('\n')
	}
	w.sections[name] = true
	w.keys = map[string]bool{}
	fmt.Fprintf(&w.b, "[%s]\n", name)
}

// Key writes a key without a value.
func (w *Writer) Key(key string) { w.b.WriteString(w.key(key) + "\n") }

// KeyValue writes a key with a value, which must be escaped if it is to be
// read with references.
func (w *Writer) KeyValue(key, value string) {
	fmt.Fprintf(&w.b, "%s = %s\n", w.key(key), strings.ReplaceAll(value, "\n", "\n\t"))
}

func (w *Writer) key(key string) string {
	folded := strings.ToLower(key)
	if key == "" || strings.ContainsAny(key, "\r\n=:") || strings.ContainsAny(key[:1], "#;[") ||
		key != strings.TrimFunc(key, isSpace) || w.keys[folded] {
		w.fail("key", key)
	}
	w.keys[folded] = true
	return folded
}

func (w *Writer) fail(what, name string) {
	if w.err == nil {
		w.err = fmt.Errorf("%s %q %w", what, name, ErrUnwritable)
	}
}

// Bytes ends the file and returns it.
func (w *Writer) Bytes() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.sections != nil {
		w.b.WriteByte('\n')
	}
	return w.b.Bytes(), nil
}
