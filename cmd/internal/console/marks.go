package console

import (
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// marks collects the problems of a file by line.
type marks struct {
	file             *clusterFile
	places           *configcheck.Locator
	lines            map[int][]problem
	general          []problem
	errors, warnings int
}

func newMarks(f *clusterFile) *marks {
	return &marks{file: f, places: configcheck.NewLocator(f.Name, []byte(f.Text), true), lines: make(map[int][]problem)}
}

func (m *marks) add(line int, p problem) {
	if p.Severity == configcheck.Error {
		m.errors++
	} else {
		m.warnings++
	}
	if line <= 0 {
		m.general = append(m.general, p)
		return
	}
	m.lines[line] = append(m.lines[line], p)
}

// addText adds an error of the controller.
func (m *marks) addText(text string) {
	m.add(m.places.LocateText(text).Line, problem{Severity: configcheck.Error, Text: text})
}

// addResult adds the problems that a check on the machines found. Nodes with the same
// problem at the same line are named together.
func (m *marks) addResult(d client.DeployResult) {
	for _, text := range d.Errors {
		if text != zeekapi.ErrorRefused {
			m.addText(text)
		}
	}
	type kind struct {
		line int
		text string
	}
	var order []kind
	nodes := map[kind][]string{}
	for _, n := range d.Nodes {
		if n.Success {
			continue
		}
		k := kind{m.places.Places.Node(n.Node, ""), n.Problem()}
		if nodes[k] == nil {
			order = append(order, k)
		}
		nodes[k] = append(nodes[k], n.Node)
	}
	for _, k := range order {
		m.add(k.line, problem{Severity: configcheck.Error, Where: someOf(nodes[k]), Text: k.text})
	}
	for _, r := range d.Remarks {
		m.add(m.places.Places.Instance(r.Instance), problem{Severity: configcheck.Warning, Where: r.Instance, Text: r.Text})
	}
	if d.Failed && m.errors == 0 {
		m.add(0, problem{Severity: configcheck.Error, Text: "The check failed."})
	}
}

// someOf returns the first names of a list, and how many there are besides.
func someOf(names []string) string {
	const most = 6
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += " and " + countText(more, "more node")
	}
	return text
}

// context is the number of lines that are shown before and after one with a problem.
const contextLines = 2

// maxLine limits the length of a shown line, in characters.
const maxLine = 300

// into puts the problems into a review.
func (m *marks) into(r *review) *review {
	r.Errors, r.Warnings, r.General = m.errors, m.warnings, m.general
	all := strings.Split(m.file.Text, "\n")
	last := 0
	for number, text := range all {
		number++
		near := false
		for k := number - contextLines; k <= number+contextLines; k++ {
			near = near || len(m.lines[k]) > 0
		}
		if !near {
			continue
		}
		if last != number-1 && last > 0 {
			r.Excerpt = append(r.Excerpt, sourceLine{})
		}
		last = number
		if runes := []rune(text); len(runes) > maxLine {
			text = string(runes[:maxLine]) + "…"
		}
		r.Excerpt = append(r.Excerpt, sourceLine{number, strings.TrimSuffix(text, "\r"), m.lines[number]})
	}
	return r
}

// diffView is what deploying a configuration would change.
type diffView struct {
	zeekapi.Diff
	Changed   []changeRow
	Added     int // nodes
	Removed   int
	Restarted int
	Kept      int
}

// changeRow is a changed node or instance.
type changeRow struct {
	zeekapi.Change
	What string // "node" or "machine"
	Line int    // in the file; 0: unknown
}

// newDiffView returns a view of a diff. The places may be nil.
func newDiffView(d zeekapi.Diff, places *configcheck.Locator) *diffView {
	v := &diffView{Diff: d}
	for _, x := range d.Instances {
		if x.Kind != "kept" {
			v.Changed = append(v.Changed, changeRow{x, "machine", 0})
		}
	}
	for _, x := range d.Nodes {
		switch x.Kind {
		case "kept":
			v.Kept++
			continue
		case "added":
			v.Added++
		case "removed":
			v.Removed++
		default:
			v.Restarted++
		}
		v.Changed = append(v.Changed, changeRow{x, "node", 0})
	}
	for k := range v.Changed {
		if x := &v.Changed[k]; places != nil && x.Kind != "removed" && x.What == "node" {
			x.Line = places.Places.Node(x.Name, "")
		}
	}
	return v
}

// Effect names what a deployment does to nodes.
func (v diffView) Effect() string {
	var parts []string
	for _, x := range []struct {
		n    int
		verb string
	}{{v.Restarted, "restarts"}, {v.Added, "starts"}, {v.Removed, "stops and removes"}} {
		if x.n > 0 {
			parts = append(parts, x.verb+" "+countText(x.n, "node"))
		}
	}
	if len(parts) == 0 {
		return "changes no node"
	}
	text := strings.Join(parts, ", ")
	if v.Kept > 0 {
		text += "; " + countText(v.Kept, "other node") + " " + keeps(v.Kept) + " running"
	}
	return text
}

func keeps(n int) string {
	if n == 1 {
		return "keeps"
	}
	return "keep"
}

// Names returns the names of the nodes with a kind of change.
func (v diffView) Names(kind string) string {
	var names []string
	for _, x := range v.Changed {
		if x.What == "node" && x.Kind == kind {
			names = append(names, x.Name)
		}
	}
	return someOf(slices.Clip(names))
}
