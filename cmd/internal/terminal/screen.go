package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Colors selects when to use colours.
type Colors string

// The values of Colors.
const (
	ColorAuto   Colors = "auto" // on terminals that support them, unless NO_COLOR is set
	ColorAlways Colors = "always"
	ColorNever  Colors = "never"
)

// ParseColors returns the value with that name.
func ParseColors(name string) (Colors, error) {
	switch c := Colors(name); c {
	case ColorAuto, ColorAlways, ColorNever:
		return c, nil
	}
	return "", fmt.Errorf("colours %q: want auto, always or never", name)
}

// Screen describes the properties of an output. The zero value is a file or a pipe.
type Screen struct {
	Terminal bool // the output is a terminal
	Color    bool // use colours
	Moves    bool // lines can be updated

	// Size returns the number of columns and rows, or 0 for no limit. If nil,
	// neither is limited.
	Size func() (columns, rows int)
}

// Look returns the properties of w. It reads environment variables with getenv, such
// as os.Getenv.
func Look(w io.Writer, getenv func(string) string, colors Colors) Screen {
	var s Screen
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.Terminal = true
		s.Moves = getenv("TERM") != "dumb"
		s.Size = func() (columns, rows int) {
			columns, rows, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0, 0
			}
			return columns, rows
		}
	}
	s.Color = colors == ColorAlways ||
		colors == ColorAuto && s.Moves && getenv("NO_COLOR") == ""
	return s
}

// Interactive reports whether r is a terminal, on which a person can answer.
func Interactive(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (s Screen) size() (columns, rows int) {
	if s.Size == nil {
		return 0, 0
	}
	return s.Size()
}

// Rows returns the number of rows, or 0 for no limit.
func (s Screen) Rows() int {
	_, rows := s.size()
	return rows
}

// Style is the style of a span on a screen with colours: the parameters of the control
// sequence "select graphic rendition" of ECMA-48.
type Style string

// The styles.
const (
	Plain  Style = ""
	Strong Style = "1"
	Faint  Style = "2"
	Bad    Style = "31"
	Good   Style = "32"
	Warn   Style = "33"
)

// Span is a text in one style. The text may have any characters: Safe is applied to
// it when it is written.
type Span struct {
	Text  string
	Style Style
}

// Line is a line on the screen.
type Line []Span

// Text formats a line in the plain style.
func Text(format string, args ...any) Line { return Line{{Text: fmt.Sprintf(format, args...)}} }

// Width returns the number of columns of Safe(s).
func Width(s string) int { return runewidth.StringWidth(Safe(s)) }

// Write writes lines to w. It does not cut them; the terminal wraps lines that are too
// wide.
func (s Screen) Write(w io.Writer, lines ...Line) error {
	var b strings.Builder
	for _, l := range lines {
		s.render(&b, l, 0)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// render appends a line to b. It cuts the line after a number of columns, unless that
// is 0.
func (s Screen) render(b *strings.Builder, l Line, columns int) {
	left := columns
	for _, span := range l {
		text := Safe(span.Text)
		if columns > 0 {
			text = runewidth.Truncate(text, left, "")
			left -= runewidth.StringWidth(text)
		}
		switch {
		case text == "":
		case s.Color && span.Style != Plain:
			b.WriteString("\x1b[" + string(span.Style) + "m" + text + "\x1b[0m")
		default:
			b.WriteString(text)
		}
	}
}
