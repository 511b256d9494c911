package terminal

import (
	"fmt"
	"io"
	"strings"
)

// Live writes permanent lines, and below them lines that are updated. If the screen
// cannot update lines, Live writes only the permanent ones. A Live must not be used
// concurrently.
type Live struct {
	w      io.Writer
	screen Screen
	shown  []Line // the lines that are updated
	drawn  int    // number of these lines that fit the screen
}

// NewLive returns a Live without lines.
func NewLive(w io.Writer, s Screen) *Live { return &Live{w: w, screen: s} }

// Print writes permanent lines above the lines that are updated.
func (l *Live) Print(lines ...Line) error { return l.draw(lines, l.shown) }

// Update replaces the lines that are updated. It cuts lines that are too wide, and
// omits lines that exceed the height of the screen.
func (l *Live) Update(lines ...Line) error {
	if !l.screen.Moves {
		return nil
	}
	return l.draw(nil, lines)
}

// Clear removes the lines that are updated.
func (l *Live) Clear() error { return l.Update() }

// Leave makes the current lines permanent.
func (l *Live) Leave() { l.shown, l.drawn = nil, 0 }

// draw writes permanent lines and replaces the updated ones, in a single write, so
// that no partial state is visible.
func (l *Live) draw(permanent, updated []Line) error {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	if l.drawn > 0 || len(updated) > 0 {
		b.WriteString("\r\x1b[J")
	}
	for _, line := range permanent {
		l.screen.render(&b, line, 0)
		b.WriteByte('\n')
	}
	columns, rows := l.screen.size()
	l.shown, l.drawn = updated, len(updated)
	if rows > 0 {
		l.drawn = min(l.drawn, rows-1) // the last line is for the cursor
	}
	for _, line := range updated[:l.drawn] {
		l.screen.render(&b, line, columns)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}
