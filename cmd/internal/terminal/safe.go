package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns s as one line. It replaces every character that is not printable by an
// escape: control characters, line breaks, characters that change the direction of
// text, and bytes that are not UTF-8.
func Safe(s string) string { return safe(s, func(rune) bool { return false }) }

// SafeLines is like Safe, but keeps line feeds and tabs. It removes a carriage return
// before a line feed.
func SafeLines(s string) string {
	return safe(strings.ReplaceAll(s, "\r\n", "\n"), func(r rune) bool { return r == '\n' || r == '\t' })
}

// safe escapes all characters that are neither printable nor accepted by keep.
func safe(s string, keep func(rune) bool) string {
	allowed := func(r rune) bool { return unicode.IsPrint(r) || keep(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !allowed(r) }) {
		return s
	}
	var b strings.Builder
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		switch r, n = utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case allowed(r):
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

// SafeWriter returns a writer that applies SafeLines to each write to w. It is for
// texts that may contain text of a peer.
func SafeWriter(w io.Writer) io.Writer { return safeWriter{w} }

type safeWriter struct{ w io.Writer }

func (s safeWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(s.w, SafeLines(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
