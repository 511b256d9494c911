package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Colors says when to use colours.
type Colors string

// The choices.
const (
	ColorAuto   Colors = "auto" // on terminals that have them, unless NO_COLOR is set
	ColorAlways Colors = "always"
	ColorNever  Colors = "never"
)

// ParseColors returns the choice of that name.
func ParseColors(name string) (Colors, error) {
	switch c := Colors(name); c {
	case ColorAuto, ColorAlways, ColorNever:
		return c, nil
	}
	return "", fmt.Errorf("colours %q: want auto, always or never", name)
}

// Screen says what can be shown where a command writes to.
type Screen struct {
	Terminal bool // a person may be watching
	Color    bool
	Moves    bool // lines can be written again

	// Size returns the columns and rows, 0 where there is no limit. Nil says
	// that there is none.
	Size func() (columns, rows int)
}

// Look finds out about w. getenv is os.Getenv or like it.
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

func (s Screen) size() (columns, rows int) {
	if s.Size == nil {
		return 0, 0
	}
	return s.Size()
}

// Style is how a span looks, if there are colours: parameters of the sequence
// "select graphic rendition" of ECMA-48.
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

// Span is text in one style. It may hold anything; it is shown safely.
type Span struct {
	Text  string
	Style Style
}

// Line is a line on the screen.
type Line []Span

// Text returns a plain line.
func Text(format string, args ...any) Line { return Line{{Text: fmt.Sprintf(format, args...)}} }

// Width returns how many columns a text takes once it is safe.
func Width(s string) int { return runewidth.StringWidth(Safe(s)) }

// Write writes lines, in full: the terminal wraps those that do not fit.
func (s Screen) Write(w io.Writer, lines ...Line) error {
	var b strings.Builder
	for _, l := range lines {
		s.render(&b, l, 0)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// render adds a line, and cuts it to a number of columns unless that is 0.
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
