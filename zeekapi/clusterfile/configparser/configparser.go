// Package configparser reads INI files by the rules of Python's ConfigParser,
// for which the files of zeek-client's users are written:
//
//   - Keys are folded to lower case; names of sections are not.
//   - A key ends at the first = or : of its line.
//   - A comment begins with # or ; and occupies its own line.
//   - Lines indented more than their key continue its value.
//   - Sections inherit the keys of [DEFAULT].
//   - In a value, %(key)s is replaced by the value of key, and %% by %.
//   - Sections and keys must be unique.
//
// Other Go packages for INI files differ in most of these rules. Unlike
// ConfigParser, this package reports all errors of a file, with their lines.
package configparser

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits for files.
const (
	MaxSize   = 16 << 20 // size of a file in bytes
	maxNested = 10       // nesting depth of references (Python: MAX_INTERPOLATION_DEPTH)
	maxErrors = 100      // reported errors

	// maxExpanded limits the total size of all values in bytes, because
	// references and inheritance can greatly expand a small file. Each part of
	// a value between references also counts as partCost bytes.
	maxExpanded = 64 << 20
	partCost    = 64
)

// DefaultSection is the name of the section that all other sections inherit
// from.
const DefaultSection = "DEFAULT"

// Error is an error at a position in a file.
type Error struct {
	File    string
	Line    int    // starting at 1; 0 for the whole file
	Column  int    // starting at 1, in characters; 0 if it is not known
	Section string // "" outside of sections
	Key     string // "" if the error is not about a key
	Text    string
}

// Error returns the text followed by the position. The text comes first so
// that known texts of zeek-client stay at the beginning of a line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%s)", e.Text, e.Place())
}

// Place returns the position as FILE:LINE:COLUMN, without what is not known.
func (e *Error) Place() string {
	switch {
	case e.Line == 0:
		return e.File
	case e.Column == 0:
		return fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
}

// Errors is a list of errors in a file, sorted by line.
type Errors []*Error

// Add inserts an error at its position.
func (es *Errors) Add(e *Error) {
	i, _ := slices.BinarySearchFunc(*es, e.Line, func(x *Error, line int) int {
		if x.Line <= line {
			return -1
		}
		return 1
	})
	*es = slices.Insert(*es, i, e)
}

// Error returns the errors, one per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As find the individual errors.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// File is the content of an INI file.
type File struct {
	Name     string
	Sections []*Section // in the order of the file, without [DEFAULT]

	// Defaults is [DEFAULT], with the keys as written in the file, or nil if the
	// file does not have it.
	Defaults *Section

	byName   map[string]*Section
	suspects []suspect // see Misread
}

// Section returns the section with the given name, or nil.
func (f *File) Section(name string) *Section { return f.byName[name] }

// Section is a section, including inherited options.
type Section struct {
	Name string
	Line int // line of the header

	// Options are the options of the section, inherited ones first. An option
	// that overrides an inherited one takes its position, as in Python.
	Options []*Option

	byKey map[string]*Option
}

// Option returns the option with the given key, or nil. Case is ignored.
func (s *Section) Option(key string) *Option { return s.byKey[strings.ToLower(key)] }

// Option is a key and its value.
type Option struct {
	Key      string // in lower case
	Written  string // key as written in the file
	HasValue bool   // false if the line has no delimiter
	Value    string // with references resolved, except by ReadRaw
	Line     int

	// Inherited says that the option is one of [DEFAULT] that the section does not
	// override.
	Inherited bool

	raw   string   // the value as written in the file
	lines []string // lines of the value, while the file is being read
}

// add adds an option, without a check for duplicates.
func (s *Section) add(o *Option) {
	s.Options = append(s.Options, o)
	s.byKey[o.Key] = o
}

// Derive returns a section with the options of s, their lines, another name, and the
// given values of some options. The keys of values are in lower case; those that s does
// not have are ignored.
func (s *Section) Derive(name string, values map[string]string) *Section {
	derived := newSection(name, s.Line)
	for _, o := range s.Options {
		copied := *o
		if value, ok := values[o.Key]; ok {
			copied.Value = value
		}
		derived.add(&copied)
	}
	return derived
}

func newSection(name string, line int) *Section {
	return &Section{Name: name, Line: line, byKey: map[string]*Option{}}
}

// Read parses the content of r. The name appears in errors. If the content is
// invalid, the error is of type Errors, and the File, which may be nil,
// contains the valid parts.
func Read(name string, r io.Reader) (*File, error) { return read(name, r, false) }

// ReadRaw is like Read, but does not resolve references: values are as written
// in the file. It is for files whose references refer to values outside of the
// file.
func ReadRaw(name string, r io.Reader) (*File, error) { return read(name, r, true) }

func read(name string, r io.Reader, raw bool) (*File, error) {
	text, err := ReadAll(name, r, MaxSize)
	if err != nil {
		return nil, err
	}
	if IsUTF16(text) {
		return nil, Errors{{File: name, Text: textUTF16}}
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
				Text: fmt.Sprintf("file expands to more than %d bytes when references are resolved", maxExpanded)}}
		}
	}
	if len(p.errs) > 0 {
		return p.file, p.errs
	}
	return p.file, nil
}

// ReadAll reads a file of at most limit bytes. The error about a larger one is of type
// Errors.
func ReadAll(name string, r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, Errors{{File: name, Text: fmt.Sprintf("file is larger than %d bytes", limit)}}
	}
	return text, nil
}

// ParseInt implements Python's int(s) for ASCII. It accepts white space around the
// number, a sign, and single underscores between digits.
func ParseInt(s string) (*big.Int, bool) {
	const longest = 4300 // Python: sys.int_info.default_max_str_digits
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || len(digits) > longest || strings.Contains(digits, "__") ||
		strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") {
		return nil, false
	}
	return new(big.Int).SetString(strings.ReplaceAll(s, "_", ""), 10)
}

// textUTF16 is the text of the error about a file in another encoding.
const textUTF16 = "the file is UTF-16; save it as UTF-8"

// IsUTF16 reports whether a text begins with the byte order mark of UTF-16.
func IsUTF16(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))
}

// parser reads a file line by line.
type parser struct {
	file     *File
	defaults *Section
	raw      bool // do not resolve references
	errs     Errors
	number   int // number of the current line
	column   int // of the first character of the current line that is not a blank

	section *Section // nil before the first header
	option  *Option  // option that the next lines may continue, or nil
	indent  int      // indentation of the line that began option
	skip    bool     // continuation lines belong to an invalid line
}

func (p *parser) fail(line int, section, key, format string, args ...any) {
	if len(p.errs) == maxErrors {
		return // probably not a configuration file
	}
	p.errs.Add(&Error{File: p.file.Name, Line: line, Section: section, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) line(line string) {
	p.number++
	if !utf8.ValidString(line) {
		p.fail(p.number, "", "", "line is not UTF-8")
		if strings.HasPrefix(line, "[") {
			// The keys that follow do not belong to the section before.
			p.endValue()
			p.section = newSection("", p.number)
		}
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
	p.column = indent + 1
	if indent > p.indent && (p.option != nil || p.skip) {
		p.continuation(content)
		return
	}
	p.indent = indent
	p.endValue()
	if name, ok := header(content); ok {
		p.suspectComment(name, "", name, p.column+1, true)
		p.header(name)
		return
	}
	if p.section == nil {
		if !p.skip {
			p.fail(p.number, "", "", "%q appears before the first section, such as [instances]", clip(content))
		}
		p.skip = true
		return
	}
	p.keyValue(content)
}

func (p *parser) continuation(content string) {
	o := p.option
	if o == nil {
		return // continues an invalid line
	}
	p.suspect(suspect{section: p.section.Name, key: o.Key, column: p.column, text: content, continues: true})
	p.suspectComment(p.section.Name, o.Key, content, p.column, false)
	if !o.HasValue {
		p.fail(p.number, p.section.Name, o.Key,
			"%q is indented like the continuation of a value, but the key %q has none", clip(content), o.Key)
		return
	}
	o.lines = append(o.lines, content)
}

// endValue ends the value that further lines could continue.
func (p *parser) endValue() {
	if o := p.option; o != nil {
		o.raw = strings.TrimRightFunc(strings.Join(o.lines, "\n"), isSpace)
		o.lines = nil
	}
	p.option = nil
}

// header returns the name of a section from its header. Text after the last
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
		p.section = p.defaults // may occur several times
		if p.file.Defaults == nil {
			p.file.Defaults, p.defaults.Line = p.defaults, p.number
		}
		return
	}
	s := newSection(name, p.number)
	if first := p.file.Section(name); first != nil {
		// Read the rest of the section to report more errors. The section is
		// not part of the result.
		p.fail(p.number, name, "", "section %q occurs twice, first in line %d", name, first.Line)
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
	p.suspectComment(p.section.Name, strings.ToLower(strings.TrimRightFunc(written, isSpace)), written, p.column, true)
	written = strings.TrimRightFunc(written, isSpace)
	if hasValue {
		// The blank before a comment may be the first character of the value.
		p.suspectComment(p.section.Name, strings.ToLower(written), value, p.column+utf8.RuneCountInString(content[:len(content)-len(value)]), false)
	}
	o := &Option{Key: strings.ToLower(written), Written: written, HasValue: hasValue, Line: p.number,
		lines: []string{strings.TrimFunc(value, isSpace)}}
	switch first := p.section.byKey[o.Key]; {
	case written == "":
		p.fail(p.number, p.section.Name, "", "%q has no key", clip(content))
		p.skip = true
		return
	case first != nil:
		p.fail(p.number, p.section.Name, o.Key, "key %q of section %q occurs twice, first in line %d",
			o.Key, p.section.Name, first.Line)
	default:
		p.section.add(o)
	}
	p.option = o
}

// inherit adds the options of [DEFAULT] to a section and resolves references
// in its values.
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
		copied := *o // the values of references differ by section
		copied.Inherited = s.byKey[o.Key] == nil
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

// Expand returns value with all references resolved. The function lookup
// returns the unresolved value of a key, which is in lower case. ok is false
// if the key does not exist.
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

// lookup returns the unresolved value of a key, or the text of an error.
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

// resolver resolves the references in one value.
type resolver struct {
	lookup func(key string) (value, problem string)
	budget *int
	out    strings.Builder
}

// resolve appends the expansion of raw to the output. It returns the text of
// an error, or "". It stops when the budget is exhausted.
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
			return fmt.Sprintf("%q is not a valid reference such as %%(key)s; write %%%% for a %%", clip("%"+rest))
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

// isSpace implements Python's str.isspace, which includes four separators that
// unicode.IsSpace does not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// clip shortens a part of the file for use in an error.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}

// Escape escapes percent signs, so that resolving references in the result
// returns s.
func Escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// ErrUnwritable is wrapped by errors of a Writer about names that are not valid in an INI
// file or occur twice, and about values that would be read as others.
var ErrUnwritable = errors.New("cannot be written to an INI file")

// Writer writes a file in the form of ConfigParser. The zero Writer is ready
// to use.
type Writer struct {
	b        bytes.Buffer
	sections map[string]bool
	section  string          // the last one
	keys     map[string]bool // of the last section
	err      error
}

// Section begins a section. It must be called before Key, KeyValue and KeyText.
func (w *Writer) Section(name string) {
	got, ok := "", false
	if name != "" {
		got, ok = header("[" + name + "]")
	}
	switch {
	case !ok || got != name || name == DefaultSection || strings.ContainsAny(name, "\r\n") || !utf8.ValidString(name):
		w.fail("section %q %w: no section can have this name", name, ErrUnwritable)
	case w.sections[name]:
		w.fail("section %q %w: it occurs twice", name, ErrUnwritable)
	}
	if w.sections == nil {
		w.sections = map[string]bool{}
	} else {
		w.b.WriteByte('\n')
	}
	w.sections[name] = true
	w.section, w.keys = name, map[string]bool{}
	fmt.Fprintf(&w.b, "[%s]\n", name)
}

// Key writes a key without a value.
func (w *Writer) Key(key string) { w.b.WriteString(w.key(key) + "\n") }

// KeyValue writes a key with a value. The value must be escaped if the file is read by Read.
// Bytes returns an error if the value would be read as another one.
func (w *Writer) KeyValue(key, value string) {
	if !plain(value) {
		if got, err := reread(value); err != nil {
			w.fail("section %q: the value of %s, %q, %w: %v", w.section, key, clip(value), ErrUnwritable, err)
		} else if got != value {
			w.fail("section %q: the value of %s, %q, %w: it would be read as %q", w.section, key, clip(value), ErrUnwritable, clip(got))
		}
	}
	w.KeyText(key, value)
}

// KeyText is like KeyValue, for files that are only shown: it also writes a value that
// would be read as another one.
func (w *Writer) KeyText(key, value string) {
	fmt.Fprintf(&w.b, "%s = %s\n", w.key(key), continued(value))
}

// continued returns a value whose lines continue the line of its key.
func continued(value string) string { return strings.ReplaceAll(value, "\n", "\n\t") }

// plain reports whether a value consists of printable characters of ASCII, without blanks
// at its ends. Such values are read as they are written.
func plain(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return value == strings.Trim(value, " ")
}

// reread returns the value that ReadRaw reads from what is written for a value.
func reread(value string) (string, error) {
	const section, key = "s", "k"
	f, err := ReadRaw("", strings.NewReader("["+section+"]\n"+key+" = "+continued(value)+"\n"))
	var errs Errors
	if errors.As(err, &errs) {
		return "", errors.New(errs[0].Text)
	}
	if err != nil {
		return "", err
	}
	return f.Section(section).Option(key).Value, nil
}

func (w *Writer) key(key string) string {
	folded := strings.ToLower(key)
	switch {
	case key == "" || strings.ContainsAny(key, "\r\n=:") || strings.ContainsAny(key[:1], "#;[") ||
		key != strings.TrimFunc(key, isSpace) || !utf8.ValidString(key):
		w.fail("section %q: key %q %w: no key can have this name", w.section, key, ErrUnwritable)
	case w.keys[folded]:
		w.fail("section %q: key %q %w: it occurs twice, and the case of letters does not count", w.section, key, ErrUnwritable)
	}
	w.keys[folded] = true
	return folded
}

// fail keeps the first error.
func (w *Writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// Bytes returns the file. The error is the first one of all calls.
func (w *Writer) Bytes() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if w.sections != nil {
		w.b.WriteByte('\n')
	}
	return w.b.Bytes(), nil
}
