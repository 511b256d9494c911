package zeekconf

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// MaxSize limits the size of a file in bytes.
const MaxSize = 1 << 20

// maxErrors limits the reported errors. A file with more is probably something else.
const maxErrors = 100

// Option is a key and its values.
type Option struct {
	Section string   // as in the file, "" outside of sections
	Key     string   // in lower case
	Written string   // the key as in the file
	Values  []string // of the line with the key, and of those that continue it
	Line    int
	Column  int // of the value, in characters, starting at 1; of the key if there is no value
}

// Value returns the value of an option that has one.
func (o *Option) Value() string { return o.Values[0] }

// Joined returns the values that are not empty, separated by blanks.
func (o *Option) Joined() string {
	var values []string
	for _, v := range o.Values {
		if v != "" {
			values = append(values, v)
		}
	}
	return strings.Join(values, " ")
}

// empty reports whether the option has a single value, which is empty.
func (o *Option) empty() bool { return len(o.Values) == 1 && o.Values[0] == "" }

// section is a part of a file. The name is empty for options outside of sections.
type section struct {
	name    string
	line    int
	options []*Option
}

// The forms of lines (Zeek: parse_ini_like).
var (
	headerLine       = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[(.+)\]$`) })
	optionLine       = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([_0-9a-z][^=]*)=(.*)$`) })
	continuationLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s+(\S.*)$`) })
)

// lineParser reads the lines of a file.
type lineParser struct {
	file     string
	sections []section
	current  section
	option   *Option // which lines can continue
	keys     map[string]bool
	errs     configparser.Errors
}

func (p *lineParser) fail(line, column int, format string, args ...any) {
	if len(p.errs) < maxErrors {
		p.errs.Add(&configparser.Error{File: p.file, Line: line, Column: column, Section: p.current.name, Text: fmt.Sprintf(format, args...)})
	}
}

// parseLines returns the sections of a text.
func parseLines(file, text string) ([]section, configparser.Errors) {
	p := lineParser{file: file, keys: map[string]bool{}}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if !utf8.ValidString(line) {
			p.fail(number, 0, "line is not UTF-8")
			continue
		}
		p.line(number, strings.TrimRight(line, " \t\r\v\f"))
	}
	p.endSection()
	return p.sections, p.errs
}

func (p *lineParser) line(number int, line string) {
	switch {
	case line == "" || line[0] == '#':
	case headerLine().MatchString(line):
		p.header(number, headerLine().FindStringSubmatch(line)[1])
	case optionLine().MatchString(line):
		p.keyValue(number, line)
	case continuationLine().MatchString(line):
		value := continuationLine().FindStringSubmatch(line)[1]
		if p.option == nil {
			p.fail(number, column(line, len(line)-len(value)), "unexpected continuation line '%s'%s", line, p.inSection())
			return
		}
		p.option.Values = append(p.option.Values, value)
	default:
		p.fail(number, 1, "invalid line '%s'%s", line, p.inSection())
	}
}

func (p *lineParser) inSection() string { return inSection(p.current.name) }

// inSection returns the end of an error of a section.
func inSection(name string) string {
	if name == "" {
		return ""
	}
	return " in section '" + name + "'"
}

func (p *lineParser) header(number int, name string) {
	p.endSection()
	for _, s := range p.sections {
		if s.name == name {
			p.fail(number, 2, "duplicate section '%s'", name)
		}
	}
	p.current = section{name: name, line: number}
	p.option = nil
	clear(p.keys)
}

// endSection adds the current section unless it is the empty one before the first
// header.
func (p *lineParser) endSection() {
	if len(p.current.options) > 0 || p.current.name != "" {
		p.sections = append(p.sections, p.current)
	}
}

func (p *lineParser) keyValue(number int, line string) {
	match := optionLine().FindStringSubmatch(line)
	key, value := strings.TrimSpace(match[1]), strings.TrimSpace(match[2])
	if p.keys[key] {
		p.fail(number, 1, "duplicate option '%s'%s", key, p.inSection())
		return
	}
	p.keys[key] = true
	o := &Option{Section: p.current.name, Key: strings.ToLower(key), Written: key, Values: []string{value}, Line: number, Column: 1}
	if value != "" {
		o.Column = column(line, strings.Index(line[len(match[1])+1:], value)+len(match[1])+1)
	}
	p.current.options = append(p.current.options, o)
	p.option = o
}

// column returns the number of the character at an offset of a line.
func column(line string, offset int) int { return utf8.RuneCountInString(line[:offset]) + 1 }

// Parse reads a file. The name appears in errors, and that of a file HOST.zeek.conf
// is also the name of its machine. An error about the content is of type
// configparser.Errors and contains all errors.
func Parse(name string, r io.Reader) (*Config, error) {
	text, err := configparser.ReadAll(name, r, MaxSize)
	if err != nil {
		return nil, err
	}
	sections, errs := parseLines(name, string(text))
	if len(errs) > 0 {
		return nil, errs
	}
	e := evaluation{config: newConfig(name)}
	e.file(sections)
	if len(e.errs) > 0 {
		return nil, e.errs
	}
	if e.config.defaults(); e.expand() != nil {
		return nil, e.errs
	}
	return e.config, nil
}
