package terminal

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

const (
	gap = "  " // between columns

	// To fit a screen, columns are narrowed to comfortableWidth. If that is not
	// enough, Spare columns are omitted, and the others are narrowed to minWidth.
	comfortableWidth = 20
	minWidth         = 6
)

// Table is a table with a header. The zero value has no columns.
type Table struct {
	Header []string
	Right  []bool // columns to align on the right
	Spare  []int  // columns to omit on a narrow screen, the first one first
	rows   [][]Span
}

// Add adds a row. Missing cells at the end are empty.
func (t *Table) Add(cells ...Span) { t.rows = append(t.rows, cells) }

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Lines returns the lines of the table for a screen. It omits columns without text in
// any row. If the table is too wide, it narrows the widest columns and omits Spare
// ones.
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
		shrink(widths, columns, comfortableWidth)
		for _, spare := range t.Spare {
			if total(widths) > columns {
				widths[spare] = 0
			}
		}
		shrink(widths, columns, minWidth)
	}
	lines := []Line{t.line(header, widths)}
	for _, row := range t.rows {
		lines = append(lines, t.line(row, widths))
	}
	return lines
}

// total returns the width of a table with columns of these widths.
func total(widths []int) int {
	sum := -len(gap)
	for _, w := range widths {
		if w > 0 {
			sum += w + len(gap)
		}
	}
	return sum
}

// shrink narrows the widest columns until the table fits, or no column is wider than
// the floor.
func shrink(widths []int, columns, floor int) {
	for total(widths) > columns {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= floor {
			return
		}
		widths[widest]--
	}
}

// cut shortens a text to a width. It cuts a name, a text without spaces, in the middle,
// because the ends of names differ.
func cut(text string, width int) string {
	if strings.Contains(text, " ") || runewidth.StringWidth(text) <= width {
		return runewidth.Truncate(text, width, "…")
	}
	head := runewidth.Truncate(text, width/2, "")
	rest := width - 1 - runewidth.StringWidth(head)
	return head + runewidth.TruncateLeft(text, runewidth.StringWidth(text)-rest, "…")
}

// line returns the line of a row. It omits columns of width 0.
func (t *Table) line(cells []Span, widths []int) Line {
	var line Line
	blank := "" // written before the next text, so that lines do not end with blanks
	for i, w := range widths {
		if w == 0 {
			continue
		}
		var cell Span
		if i < len(cells) {
			cell = cells[i]
		}
		text := cut(Safe(cell.Text), w)
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
