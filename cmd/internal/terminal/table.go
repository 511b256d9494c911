package terminal

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

const (
	gap         = "  "
	columnFloor = 6 // columns get no narrower than this to fit a terminal
)

// Table is rows of cells below a header.
type Table struct {
	Header []string
	Right  []bool // columns to align on the right
	rows   [][]Span
}

// Add adds a row. Missing cells are empty.
func (t *Table) Add(cells ...Span) { t.rows = append(t.rows, cells) }

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Lines returns the table for a screen. Columns in which no row has anything
// are left out, and if the rest is too wide, the widest are cut.
func (t *Table) Lines(s Screen) []Line {
	header := make([]Span, len(t.Header))
	for i, h := range t.Header {
		header[i] = Span{h, Strong}
	}
	widths := make([]int, len(header))
	for i := range header {
		for _, row := range t.rows {
			if i < len(row) {
				widths[i] = max(widths[i], Width(row[i].Text))
			}
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], Width(header[i].Text))
		}
	}
	if columns, _ := s.size(); columns > 0 {
		shrink(widths, columns)
	}
	lines := []Line{t.line(header, widths)}
	for _, row := range t.rows {
		lines = append(lines, t.line(row, widths))
	}
	return lines
}

// shrink makes the widest columns narrower until all fit, as far as possible.
func shrink(widths []int, columns int) {
	for {
		total := -len(gap)
		for _, w := range widths {
			if w > 0 {
				total += w + len(gap)
			}
		}
		widest := slices.Index(widths, slices.Max(widths))
		if total <= columns || widths[widest] <= columnFloor {
			return
		}
		widths[widest]--
	}
}

func (t *Table) line(cells []Span, widths []int) Line {
	var line Line
	blank := "" // not yet written, so that no line ends with it
	for i, w := range widths {
		if w == 0 {
			continue
		}
		var cell Span
		if i < len(cells) {
			cell = cells[i]
		}
		text := runewidth.Truncate(Safe(cell.Text), w, "…")
		fill := strings.Repeat(" ", max(0, w-runewidth.StringWidth(text)))
		if i < len(t.Right) && t.Right[i] {
			blank, fill = blank+fill, ""
		}
		if text != "" {
			if blank != "" {
				line = append(line, Span{Text: blank})
			}
			line = append(line, Span{text, cell.Style})
			blank = ""
		}
		blank += fill + gap
	}
	return line
}
