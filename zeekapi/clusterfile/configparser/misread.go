package configparser

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// suspect is a part of a file that was read by the rules of ConfigParser, but was
// perhaps not meant so.
type suspect struct {
	section, key string // to which the part belongs; an empty key for the name of the section
	line, column int
	text         string
	continues    bool // a continuation line; otherwise text that looks like a comment
	name         bool // the comment is part of the key itself
}

// maxSuspects limits the suspects of a file. One with more is probably not a
// configuration file.
const maxSuspects = 1000

func (p *parser) suspect(s suspect) {
	if len(p.file.suspects) < maxSuspects {
		s.line = p.number
		p.file.suspects = append(p.file.suspects, s)
	}
}

// suspectComment notes a comment in a text that begins at a column of the current line.
func (p *parser) suspectComment(section, key, text string, column int, name bool) {
	if i := comment(text); i >= 0 {
		p.suspect(suspect{section: section, key: key, column: column + utf8.RuneCountInString(text[:i]), text: text[i:], name: name})
	}
}

// comment returns the position of what looks like a comment after other text: # or ;
// after a blank, not in quotes. It returns -1 if there is none.
func comment(text string) int {
	quote := byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && strings.IndexByte(text[i+1:], c) >= 0:
			quote = c
		case i > 0 && (c == '#' || c == ';') && isSpace(rune(text[i-1])):
			return i
		}
	}
	return -1
}

// Misread returns errors, with columns, about text that the rules of ConfigParser make a
// part of a value, a key or the name of a section, although it looks like something else:
// a comment behind other text, or a line that is indented like the continuation of a
// value, but begins with a key. The function isKey reports whether a section may have a
// key, which is in lower case.
func (f *File) Misread(isKey func(section, key string) bool) Errors {
	var errs Errors
	for _, s := range f.suspects {
		if text := s.problem(isKey); text != "" {
			errs.Add(&Error{File: f.Name, Line: s.line, Column: s.column, Section: s.section, Key: s.key, Text: text})
		}
	}
	return errs
}

// problem returns the text of the error, or "" if the part was meant as it was read.
func (s suspect) problem(isKey func(section, key string) bool) string {
	if s.continues {
		key, _, _ := strings.Cut(strings.NewReplacer(":", "=").Replace(s.text), "=")
		if !isKey(s.section, strings.ToLower(strings.TrimSpace(key))) {
			return ""
		}
		return fmt.Sprintf("%q continues the value of %s, because it is indented more than that; give all keys the same indentation", clip(s.text), s.key)
	}
	whole := "the value of " + s.key
	switch {
	case s.key == "":
		whole = fmt.Sprintf("the name of the section %q", clip(s.section))
	case s.name:
		whole = fmt.Sprintf("the key %q", clip(s.key))
	}
	return fmt.Sprintf("%q is part of %s; a comment must be on a line of its own", clip(s.text), whole)
}
