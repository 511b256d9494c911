package clientcmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// This file has the terminal output of the commands that zeek-client has, too.

func cell(text string) terminal.Span { return terminal.Span{Text: text} }

// number returns a cell with a number, or an empty cell for 0.
func number[T int64 | uint16 | uint64](n T) terminal.Span {
	if n == 0 {
		return terminal.Span{}
	}
	return cell(fmt.Sprint(n))
}

// count returns a cell with a number, also for 0.
func count(n uint64) terminal.Span { return cell(fmt.Sprint(n)) }

func stateCell(s zeekapi.State) terminal.Span {
	style := terminal.Warn
	switch s {
	case zeekapi.StateRunning:
		style = terminal.Good
	case zeekapi.StateFailed, zeekapi.StateCrashed:
		style = terminal.Bad
	case zeekapi.StateUnknown:
		style = terminal.Faint
	}
	return terminal.Span{Text: string(s), Style: style}
}

// roleText returns the cluster role of a node, or else its management role, in
// lower case.
func roleText(n zeekapi.NodeStatus) string {
	switch {
	case n.ClusterRole != zeekapi.RoleNone && n.ClusterRole != "":
		return strings.ToLower(string(n.ClusterRole))
	case n.ManagementRole != zeekapi.ManagementNone:
		return strings.ToLower(string(n.ManagementRole))
	}
	return ""
}

// errorLine returns a line in the style of errors.
func errorLine(format string, args ...any) terminal.Line {
	return terminal.Line{{Text: fmt.Sprintf(format, args...), Style: terminal.Bad}}
}

// reportErrorLines returns the errors of a report as lines.
func reportErrorLines(out *report) []terminal.Line {
	var lines []terminal.Line
	for _, e := range out.Errors {
		text, source := fmt.Sprint(e), ""
		if fields, ok := e.(map[string]any); ok {
			text = noReason
			switch e := fields["error"].(type) {
			case string:
				text = e
			case *string:
				if e != nil {
					text = *e
				}
			}
			if s, ok := fields["source"].(*string); ok && s != nil {
				source = *s + ": "
			}
		}
		lines = append(lines, errorLine("error: %s%s", source, inOneLine(text)))
	}
	return lines
}

func (r *run) instanceTable(instances []zeekapi.Instance) []terminal.Line {
	if len(instances) == 0 {
		return []terminal.Line{terminal.Text("No agent is connected.")}
	}
	t := &terminal.Table{Header: []string{"INSTANCE", "HOST", "PORT", "CONNECTION"}, Right: []bool{2: true}}
	for _, i := range instances {
		host, connection := i.Host.String(), "from the controller"
		if i.Connects() {
			connection = "from the agent"
			if i.Host.IsUnspecified() {
				host = ""
			}
		}
		t.Add(cell(i.Name), cell(host), number(i.Port.Number), cell(connection))
	}
	return t.Lines(r.screen)
}

func (r *run) nodeTable(instances []client.InstanceNodes, out *report) []terminal.Line {
	t := &terminal.Table{
		Header: []string{"INSTANCE", "NODE", "ROLE", "STATE", "PID", "PORT", "METRICS"},
		Right:  []bool{4: true, 5: true, 6: true},
		Spare:  []int{6, 4, 5, 2},
	}
	for _, in := range instances {
		for _, n := range in.Nodes {
			t.Add(cell(in.Instance), cell(n.Node), cell(roleText(n)), stateCell(n.State),
				number(n.PID), number(n.Port.Number), number(n.MetricsPort.Number))
		}
	}
	lines := reportErrorLines(out)
	switch {
	case t.Len() > 0:
		lines = append(t.Lines(r.screen), lines...)
	case len(lines) == 0:
		lines = []terminal.Line{terminal.Text("No nodes.")}
	}
	return lines
}

func (r *run) valueTable(out *report) []terminal.Line {
	var lines []terminal.Line
	for _, node := range slices.Sorted(maps.Keys(out.Results)) {
		text, err := formatJSON(out.Results[node], r.prettyJSON)
		if err != nil {
			text = []byte(err.Error())
		}
		first := terminal.Line{{Text: node + ": ", Style: terminal.Strong}}
		for line := range strings.Lines(string(text)) {
			lines = append(lines, append(first, cell(strings.TrimSuffix(line, "\n"))))
			first = nil
		}
	}
	return append(lines, reportErrorLines(out)...)
}

func (r *run) restartTable(results []zeekapi.Result, out *report) []terminal.Line {
	t := &terminal.Table{Header: []string{"INSTANCE", "NODE", "RESTART"}}
	for _, res := range results {
		if res.Node != "" && (res.Success || res.Instance != "") {
			t.Add(cell(res.Instance), cell(res.Node), successCell(res.Success, res.Error))
		}
	}
	lines := reportErrorLines(out)
	if t.Len() > 0 {
		lines = append(t.Lines(r.screen), lines...)
	} else if len(lines) == 0 {
		lines = append(lines, terminal.Text("There are no nodes to restart."))
	}
	return lines
}

func successCell(success bool, text string) terminal.Span {
	switch {
	case success:
		return terminal.Span{Text: "ok", Style: terminal.Good}
	case text == "":
		text = "failed"
	default:
		text = "failed: " + inOneLine(text)
	}
	return terminal.Span{Text: text, Style: terminal.Bad}
}

// outputLines limits the lines that are shown of each output of a failed node.
const outputLines = 20

// deploymentTable returns the result of a deployment, or of a check. After a check
// that found problems, no node has written anything: the outputs are those of the
// check.
func (r *run) deploymentTable(d deploymentOutput, out *report) []terminal.Line {
	t := &terminal.Table{Header: []string{"INSTANCE", "NODE", "RESULT"}}
	var tails []terminal.Line
	unchanged := d.check || d.Refused
	nodes := slices.SortedFunc(slices.Values(d.Nodes), func(a, b client.DeployedNode) int {
		return strings.Compare(a.Instance+"\x00"+a.Node, b.Instance+"\x00"+b.Node)
	})
	for _, n := range nodes {
		result := successCell(n.Success, "")
		if unchanged && !n.Success {
			result.Text = "problem"
		}
		t.Add(cell(n.Instance), cell(n.Node), result)
		if n.Outputs != nil && !unchanged {
			tails = append(tails, tail(n.Node+" wrote to standard output:", n.Outputs.Stdout)...)
			tails = append(tails, tail(n.Node+" wrote to standard error:", n.Outputs.Stderr)...)
		}
	}
	var lines []terminal.Line
	if t.Len() > 0 {
		lines = t.Lines(r.screen)
	}
	if unchanged {
		tails = r.problemsOf(nodes)
	}
	lines = append(lines, tails...)
	lines = append(lines, reportErrorLines(out)...)
	lines = append(lines, remarkLines(d.DeployResult)...)
	if d.check {
		return append(lines, checkLine(d.DeployResult))
	}
	if len(d.Nodes) == 0 && !d.Failed && (len(d.Remarks) == 0 || d.ID != "") { // a remark is all there is to say of a drain
		lines = append(lines, terminal.Text("%s", d.note))
	}
	if len(d.edited) > 0 {
		lines = append(lines, terminal.Text("Restarted because their scripts had changed: %s", strings.Join(d.edited, ", ")))
	}
	switch {
	case d.ID != "" && d.Failed:
		lines = append(lines, terminal.Text("Deployed configuration %s, but not all is well.", d.ID))
	case d.ID != "":
		lines = append(lines, terminal.Text("Deployed configuration %s.", d.ID))
	}
	return lines
}

// tail returns a title and the last lines of a node's output, or nil if the output
// is empty.
func tail(title, text string) []terminal.Line {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return nil
	}
	lines := []terminal.Line{{{Text: title, Style: terminal.Strong}}}
	all := strings.Split(text, "\n")
	for _, line := range all[max(0, len(all)-outputLines):] {
		lines = append(lines, terminal.Text("  %s", strings.TrimSuffix(line, "\r")))
	}
	return lines
}
