package terminal

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// To fit a terminal, columns are cut to comfortable. If that is not enough, some
// columns are left out, and then the rest is cut to columnFloor.
const (
	gap         = "  "
	comfortable = 20
	columnFloor = 6
)

// Table is rows of cells below a header.
type Table struct {
	Header []string
	Right  []bool // columns to align on the right
	Spare  []int  // columns that a narrow screen can do without, in that order
	rows   [][]Span
}

// Add adds a row. Missing cells are empty.
func (t *Table) Add(cells ...Span) { t.rows = append(t.rows, cells) }

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Lines returns the table for a screen. Columns in which no row has anything
// are left out. If the rest is too wide, the widest are cut, and Spare ones left
// out.
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
		shrink(widths, columns, comfortable)
		for _, spare := range t.Spare {
			if total(widths) > columns {
				widths[spare] = 0
			}
		}
		shrink(widths, columns, columnFloor)
	}
	lines := []Line{t.line(header, widths)}
	for _, row := range t.rows {
		lines = append(lines, t.line(row, widths))
	}
	return lines
}

// total returns the width of a table.
func total(widths []int) int {
	sum := -len(gap)
	for _, w := range widths {
		if w > 0 {
			sum += w + len(gap)
		}
	}
	return sum
}

// shrink makes the widest columns narrower until all fit, or none is wider than
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

// cut makes a text fit a width. Of a name it leaves the end, where names differ.
func cut(text string, width int) string {
	if strings.Contains(text, " ") || runewidth.StringWidth(text) <= width {
		return runewidth.Truncate(text, width, "…")
	}
	head := runewidth.Truncate(text, width/2, "")
	rest := width - 1 - runewidth.StringWidth(head)
	return head + runewidth.TruncateLeft(text, runewidth.StringWidth(text)-rest, "…")
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
