// Package apicheck compares the tables of a dialect with the Zeek scripts that
// declare its events.
package apicheck

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/scanner"

	"github.com/zeekwire/zeekwire/broker/record"
)

// API holds the declarations of scripts: the arguments of events and the types
// of records, by their qualified names.
type API struct {
	Events  map[string][]record.Field
	Records map[string]record.Type
}

// Read reads the declarations in all .zeek files of the folders. It parses only
// the part of Zeek's language that these declarations use, and skips the rest.
func Read(folders ...fs.FS) (*API, error) {
	p := &parser{events: make(map[string][]named), types: make(map[string]typeExpr)}
	for _, folder := range folders {
		err := fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".zeek") {
				return err
			}
			text, err := fs.ReadFile(folder, path)
			if err != nil {
				return err
			}
			if err := p.file(string(text)); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("apicheck: %w", err)
		}
	}
	api := &API{Events: make(map[string][]record.Field), Records: make(map[string]record.Type)}
	for name, args := range p.events {
		fields, err := p.resolveFields(args, nil)
		if err != nil {
			return nil, fmt.Errorf("apicheck: event %s: %w", name, err)
		}
		api.Events[name] = fields
	}
	for name, expr := range p.types {
		if expr.kind != "record" {
			continue
		}
		t, err := p.resolve(expr, []string{name})
		if err != nil {
			continue // a record that no event uses
		}
		api.Records[name] = t
	}
	return api, nil
}

// typeExpr is a type expression in a script: a built-in type or the name of a
// declared type.
type typeExpr struct {
	kind   string
	module string // of the script
	args   []typeExpr
	fields []named
}

// named is a field or an argument.
type named struct {
	name     string
	expr     typeExpr
	optional bool
}

type parser struct {
	events map[string][]named
	types  map[string]typeExpr

	tokens []string
	module string
}

var errEnd = errors.New("the file ends too early")

// file reads the declarations of one file.
func (p *parser) file(text string) error {
	p.tokens, p.module = tokens(text), "GLOBAL"
	for len(p.tokens) > 0 {
		switch word := p.next(); word {
		case "module":
			p.module = p.next()
		case "type", "global":
			name := p.next()
			if p.next() != ":" {
				continue // for example, a variable with a value
			}
			if err := p.declaration(word, qualify(p.module, name)); err != nil {
				return fmt.Errorf("%s %s: %w", word, name, err)
			}
		}
	}
	return nil
}

func (p *parser) declaration(word, name string) error {
	if word == "type" {
		t, err := p.typeExpr()
		if err != nil {
			return err
		}
		p.types[name] = t
		return nil
	}
	if p.peek() != "event" {
		return nil
	}
	p.next()
	if p.next() != "(" {
		return errors.New("event without arguments")
	}
	args, err := p.fields(",", ")")
	if err != nil {
		return err
	}
	p.events[name] = args
	return nil
}

// tokens splits a script into words and punctuation marks, without comments and
// directives.
func tokens(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "@") {
			continue
		}
		lines = append(lines, line)
	}
	var s scanner.Scanner
	s.Init(strings.NewReader(strings.Join(lines, "")))
	s.Mode = scanner.ScanIdents | scanner.ScanInts | scanner.ScanStrings
	s.Error = func(*scanner.Scanner, string) {} // such as patterns, in code that is skipped
	var out []string
	for tok := s.Scan(); tok != scanner.EOF; tok = s.Scan() {
		word := s.TokenText()
		if word == "#" {
			for c := s.Peek(); c != '\n' && c != scanner.EOF; c = s.Peek() {
				s.Next()
			}
			continue
		}
		n := len(out)
		if n >= 3 && tok == scanner.Ident && out[n-1] == ":" && out[n-2] == ":" {
			// The scanner splits qualified names.
			out = append(out[:n-3], out[n-3]+"::"+word)
			continue
		}
		out = append(out, word)
	}
	return out
}

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	word := p.peek()
	if word != "" {
		p.tokens = p.tokens[1:]
	}
	return word
}

func (p *parser) expect(sign string) error {
	if got := p.next(); got != sign {
		return fmt.Errorf("found %q, want %q", got, sign)
	}
	return nil
}

func (p *parser) typeExpr() (typeExpr, error) {
	t := typeExpr{kind: p.next(), module: p.module}
	var err error
	switch t.kind {
	case "":
		return t, errEnd
	case "record":
		if err = p.expect("{"); err == nil {
			t.fields, err = p.fields(";", "}")
		}
	case "enum":
		err = p.skip("}")
	case "set":
		t.args, err = p.typeList()
	case "table":
		if t.args, err = p.typeList(); err == nil {
			err = p.of(&t)
		}
	case "vector":
		err = p.of(&t)
	case "opaque":
		err = p.of(&t)
		t.args = nil
	case "function", "event", "hook":
		err = p.skip(")")
	}
	return t, err
}

func (p *parser) of(t *typeExpr) error {
	if err := p.expect("of"); err != nil {
		return err
	}
	element, err := p.typeExpr()
	t.args = append(t.args, element)
	return err
}

func (p *parser) typeList() (list []typeExpr, err error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	for {
		t, err := p.typeExpr()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		switch sign := p.next(); sign {
		case "]":
			return list, nil
		case ",":
		default:
			return nil, fmt.Errorf("found %q in a list of types", sign)
		}
	}
}

// fields reads fields up to and including the closing mark.
func (p *parser) fields(separator, closing string) (list []named, err error) {
	for {
		switch p.peek() {
		case "":
			return nil, errEnd
		case closing:
			p.next()
			return list, nil
		}
		f := named{name: p.next()}
		if err := p.expect(":"); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if f.expr, err = p.typeExpr(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if f.optional, err = p.attributes(separator, closing); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		list = append(list, f)
	}
}

// attributes skips attributes, up to and including the separator or up to the
// closing mark. It reports whether &optional is among them.
func (p *parser) attributes(separator, closing string) (optional bool, err error) {
	depth := 0
	for {
		word := p.peek()
		switch {
		case word == "":
			return false, errEnd
		case depth == 0 && word == closing:
			return optional, nil
		case depth == 0 && word == separator:
			p.next()
			return optional, nil
		case word == "(", word == "[", word == "{":
			depth++
		case word == ")", word == "]", word == "}":
			depth--
		case depth == 0 && word == "optional":
			optional = true
		}
		p.next()
	}
}

// skip skips all tokens up to and including the closing mark.
func (p *parser) skip(closing string) error {
	for {
		switch p.next() {
		case closing:
			return nil
		case "":
			return errEnd
		}
	}
}

func qualify(module, name string) string {
	if module == "GLOBAL" || strings.Contains(name, "::") {
		return name
	}
	return module + "::" + name
}

// resolve returns the type of an expression. Within holds the names of the
// enclosing types, to detect a type that contains itself.
func (p *parser) resolve(e typeExpr, within []string) (record.Type, error) {
	t := record.Type{Kind: e.kind}
	switch e.kind {
	case "bool", "count", "int", "double", "string", "addr", "subnet", "port", "time", "interval", "any", "pattern":
		return t, nil
	case "enum":
		t.Module = e.module
		return t, nil
	case "record":
		fields, err := p.resolveFields(e.fields, within)
		t.Fields = fields
		return t, err
	case "set", "table", "vector":
		inner := make([]record.Type, len(e.args))
		for i, a := range e.args {
			var err error
			if inner[i], err = p.resolve(a, within); err != nil {
				return t, err
			}
		}
		if e.kind != "set" {
			t.Element, inner = &inner[len(inner)-1], inner[:len(inner)-1]
		}
		if len(inner) > 1 {
			return t, fmt.Errorf("%s with several indices is not supported", e.kind)
		}
		if len(inner) == 1 {
			t.Index = &inner[0]
		}
		return t, nil
	}
	for _, name := range []string{qualify(e.module, e.kind), e.kind} {
		found, ok := p.types[name]
		if !ok {
			continue
		}
		for _, around := range within {
			if around == name {
				return t, fmt.Errorf("type %s contains itself", name)
			}
		}
		return p.resolve(found, append(within[:len(within):len(within)], name))
	}
	return t, fmt.Errorf("unknown type %s", e.kind)
}

func (p *parser) resolveFields(list []named, within []string) ([]record.Field, error) {
	fields := make([]record.Field, len(list))
	for i, f := range list {
		t, err := p.resolve(f.expr, within)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		fields[i] = record.Field{Name: f.name, Type: t, Optional: f.optional}
	}
	return fields, nil
}
