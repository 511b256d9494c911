// Package shlex splits a line into words by the quoting rules of a POSIX
// shell. It implements Python's shlex.split, which zeek-client uses. Unlike
// other Go packages for this purpose, it does not treat # as the beginning of
// a comment, and within double quotes a backslash only escapes a double quote
// or a backslash.
package shlex

import (
	"strings"
	"unicode"
)

// Error is an error of Split. The texts are Python's.
type Error string

// The errors of Split.
const (
	ErrUnclosedQuote  Error = "No closing quotation"
	ErrTrailingEscape Error = "No escaped character"
)

// Error implements the error interface.
func (e Error) Error() string { return string(e) }

// Split returns the words of s. Words are separated by spaces, tabs and line
// ends.
func Split(s string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool // true even for an empty word: ""
		quote  byte // the enclosing quote, or 0
	)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			word.WriteByte(c)
		case c == '\\':
			if i++; i == len(s) {
				return nil, ErrTrailingEscape
			}
			if quote == '"' && s[i] != '"' && s[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
			inWord = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, ErrUnclosedQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// Join returns a line that Split splits into the given words. It quotes only the words
// for which that is necessary by IsRead, and those with space or control characters.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if !IsRead(word, word) || strings.ContainsFunc(word, lost) {
			quoted[i] = Quote(word)
		}
	}
	return strings.Join(quoted, " ")
}

// IsRead reports whether a text is read as the word at any place of a value in a
// configuration file: Split returns only the word, the end of a line loses nothing, and
// the text does not look like the beginning of a comment.
func IsRead(text, word string) bool {
	words, err := Split(text)
	return err == nil && len(words) == 1 && words[0] == word && strings.TrimFunc(text, lost) == text &&
		!strings.HasPrefix(text, "#") && !strings.HasPrefix(text, ";")
}

// lost reports whether a configuration file may lose a character at the ends of a line:
// white space and control characters, such as form feeds.
func lost(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// Quote returns s in single quotes. Split returns s as a single word for it.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}
