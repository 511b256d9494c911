package clientcmd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// fitStatus returns a status as lines for the bottom of a terminal, after an empty one.
// If they do not fit, what has problems comes first, and the rest is counted.
func fitStatus(screen terminal.Screen, s zeekapi.Status, extended bool, now time.Time) []terminal.Line {
	lines := statusLines(screen, s, extended, now)
	const spared = 2 // the empty line, and the one of the cursor
	if rows := screen.Rows() - spared; screen.Rows() > 0 && len(lines) > rows {
		lines = compactLines(screen, s, extended, now, rows)
	}
	return slices.Insert(lines, 0, terminal.Line{})
}

// compactLines returns a status in at most the given number of lines, unless that is too
// small for the summary.
func compactLines(screen terminal.Screen, s zeekapi.Status, extended bool, now time.Time, rows int) []terminal.Line {
	lines := append(summaryLines(s, extended, now), countLines(s)...)
	left := rows - len(lines)

	var bad []zeekapi.InstanceStatus
	for _, i := range s.Instances {
		if impaired(i, extended) {
			bad = append(bad, i)
		}
	}
	var instances []terminal.Line
	if len(bad) > 0 {
		instances = shorten(instanceStatusTable(bad, extended, now).Lines(screen), max(left/3, 4), "more instances with problems")
	}
	errors := shorten(currentErrors(s, extended), max(left/4, 3), "more lines of errors")
	left -= len(instances) + len(errors)
	return slices.Concat(lines, instances, nodeLines(screen, nodesOf(s), now, left), errors)
}

// shorten returns at most the given number of lines: an empty one, and as many as there
// is room for. If that is not all, the last one tells how many are left out.
func shorten(lines []terminal.Line, most int, left string) []terminal.Line {
	switch {
	case len(lines) == 0 || most < 3:
		return nil
	case len(lines) < most:
		return slices.Insert(slices.Clone(lines), 0, terminal.Line{})
	}
	shown := most - 2
	return slices.Concat([]terminal.Line{{}}, lines[:shown], []terminal.Line{faint("… %d %s", len(lines)-shown, left)})
}

// nodeLines returns the table of nodes in at most the given number of lines, nodes with
// problems first.
func nodeLines(screen terminal.Screen, nodes []placedNode, now time.Time, most int) []terminal.Line {
	const frame = 3 // an empty line, the header, and the line about what is left out
	if len(nodes) == 0 || most <= frame {
		return nil
	}
	slices.SortStableFunc(nodes, func(a, b placedNode) int { return cmp.Compare(severity(b), severity(a)) })
	shown := min(len(nodes), most-frame)
	lines := append([]terminal.Line{{}}, nodeStatusTable(nodes[:shown], now).Lines(screen)...)
	if rest := nodes[shown:]; len(rest) > 0 {
		lines = append(lines, faint("… %d more nodes: %s", len(rest), stateCounts(rest)))
	}
	return lines
}

// severity orders nodes by their need for attention: those that failed, others that do
// not run, those that were stopped or run again, and the rest.
func severity(n placedNode) int {
	switch s := n.Status.State; {
	case n.StoppedBy != "":
		return 1
	case s == zeekapi.StateFailed || s == zeekapi.StateCrashed:
		return 3
	case s != zeekapi.StateRunning:
		return 2
	case n.Restarts > 0:
		return 1
	}
	return 0
}

// countLines returns the numbers of instances and nodes by their states.
func countLines(s zeekapi.Status) []terminal.Line {
	var connected, away, drained int
	for _, i := range s.Instances {
		switch {
		case i.Drained:
			drained++
		case i.Connected:
			connected++
		default:
			away++
		}
	}
	instances := terminal.Line{{Text: fmt.Sprintf("%-12s", "Instances"), Style: terminal.Strong}, cell(fmt.Sprintf("%d: %d connected", len(s.Instances), connected))}
	if away > 0 {
		instances = append(instances, cell(", "), terminal.Span{Text: fmt.Sprintf("%d missing", away), Style: terminal.Bad})
	}
	if drained > 0 {
		instances = append(instances, cell(", "), terminal.Span{Text: fmt.Sprintf("%d drained", drained), Style: terminal.Warn})
	}
	nodes := nodesOf(s)
	style := terminal.Plain
	if slices.ContainsFunc(nodes, func(n placedNode) bool { return n.Fails() }) {
		style = terminal.Bad
	}
	return []terminal.Line{instances, {
		{Text: fmt.Sprintf("%-12s", "Nodes"), Style: terminal.Strong}, cell(fmt.Sprintf("%d: ", len(nodes))), {Text: stateCounts(nodes), Style: style},
	}}
}

// stateCounts returns the numbers of nodes by their states, the most severe first.
func stateCounts(nodes []placedNode) string {
	count := map[zeekapi.State]int{}
	for _, n := range nodes {
		count[n.Status.State]++
	}
	var parts []string
	for _, state := range []zeekapi.State{
		zeekapi.StateFailed, zeekapi.StateCrashed, zeekapi.StatePending, zeekapi.StateStopped, zeekapi.StateUnknown, zeekapi.StateRunning,
	} {
		if count[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[state], strings.ToLower(string(state))))
		}
	}
	return strings.Join(parts, ", ")
}

// faint formats a line in the faint style.
func faint(format string, args ...any) terminal.Line {
	return terminal.Line{{Text: fmt.Sprintf(format, args...), Style: terminal.Faint}}
}
