// Package shlex splits a line into words as a POSIX shell does with quotes and
// backslashes, and nothing else of a shell. It follows Python's shlex.split,
// as zeek-client uses it: unlike the Go packages for the purpose, that takes
// a # for a character like any other and keeps a backslash in double quotes
// before anything but a double quote or a backslash.
package shlex

import "strings"

// Error is why Split fails, in Python's words.
type Error string

// The errors of Split.
const (
	ErrUnclosedQuote  Error = "No closing quotation"
	ErrTrailingEscape Error = "No escaped character"
)

// Error implements the error interface.
func (e Error) Error() string { return string(e) }

// Split returns the words of s, which blanks, tabs and line ends separate.
func Split(s string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool // also for words that are empty: ""
		quote  byte // the one we are in, or 0
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

// Quote returns s in single quotes, such that Split makes it one word again.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}
