package terminal

import (
	"fmt"
	"io"
	"strings"
)

// Live writes lines that stay, and below them some that change. On a screen
// where lines cannot be written again it only writes those that stay. It is
// not for concurrent use.
type Live struct {
	w      io.Writer
	screen Screen
	shown  []Line // those that change
	drawn  int    // lines of them that are on the screen
}

// NewLive returns a Live without lines.
func NewLive(w io.Writer, s Screen) *Live { return &Live{w: w, screen: s} }

// Print adds lines that stay.
func (l *Live) Print(lines ...Line) error { return l.draw(lines, l.shown) }

// Update changes the lines that change. Those that do not fit are cut.
func (l *Live) Update(lines ...Line) error {
	if !l.screen.Moves {
		return nil
	}
	return l.draw(nil, lines)
}

// Clear takes away the lines that change.
func (l *Live) Clear() error { return l.Update() }

// Leave leaves the lines on the screen and ends their updates.
func (l *Live) Leave() { l.shown, l.drawn = nil, 0 }

// draw makes a single write, so that no partial state is visible.
func (l *Live) draw(stay, change []Line) error {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	if l.drawn > 0 || len(change) > 0 {
		b.WriteString("\r\x1b[J")
	}
	for _, line := range stay {
		l.screen.render(&b, line, 0)
		b.WriteByte('\n')
	}
	columns, rows := l.screen.size()
	l.shown, l.drawn = change, len(change)
	if rows > 0 {
		l.drawn = min(l.drawn, rows-1) // the cursor needs a line, too
	}
	for _, line := range change[:l.drawn] {
		l.screen.render(&b, line, columns)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}
