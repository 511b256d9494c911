package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns s in one line, with an escape in place of every character that
// does not print: control characters, line breaks, those that change the
// direction of text, and bytes that are not UTF-8.
func Safe(s string) string { return safe(s, func(rune) bool { return false }) }

// SafeLines is Safe that leaves line feeds and tabs as they are. A carriage
// return before a line feed goes.
func SafeLines(s string) string {
	return safe(strings.ReplaceAll(s, "\r\n", "\n"), func(r rune) bool { return r == '\n' || r == '\t' })
}

func safe(s string, also func(rune) bool) string {
	fine := func(r rune) bool { return unicode.IsPrint(r) || also(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !fine(r) }) {
		return s
	}
	var b strings.Builder
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		switch r, n = utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case fine(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// SafeWriter returns a writer that passes on what SafeLines makes of each
// write, for texts of which somebody else may have written parts.
func SafeWriter(w io.Writer) io.Writer { return safeWriter{w} }

type safeWriter struct{ w io.Writer }

func (s safeWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(s.w, SafeLines(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
