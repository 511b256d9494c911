package clientcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) status() *cobra.Command {
	cmd := t.command("status", "Show the status of the cluster",
		func(ctx context.Context, r *run, _ []string) error {
			c, err := r.connectAll(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			ours, err := r.isOurs(ctx, c)
			if err != nil {
				return err
			}
			s, err := r.askStatus(ctx, c, ours)
			if err != nil {
				return err
			}
			err = r.present(newStatusView(s), func() []terminal.Line { return statusLines(r.screen, s, ours, time.Now()) })
			if err == nil && r.tool.flags.strictExit && !well(s) {
				return &ExitError{Code: Attention}
			}
			return err
		})
	cmd.Long = cmd.Short + `: the controller, instances and nodes, the
time of their last change, their last errors, the last deployment and the last
rolling restart.

Zeek's controller provides only part of this: connected agents, states of nodes,
and configurations.

With --strict-exit, the exit code is 3 if an agent is missing, a node is not
running, or the last deployment failed.` + statusHelp + jsonHelp
	return cmd
}

// isOurs finds out whether the controller speaks the dialect of package
// operations.
func (r *run) isOurs(ctx context.Context, c *client.Client) (bool, error) {
	_, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (struct{}, error) {
		return struct{}{}, c.Probe(ctx)
	})
	if errors.Is(err, client.ErrUnsupported) {
		return false, nil
	}
	return err == nil, err
}

// askStatus returns the status, or what Zeek's controller can say about it.
func (r *run) askStatus(ctx context.Context, c *client.Client, ours bool) (zeekapi.Status, error) {
	ask := piecedStatus
	if ours {
		ask = func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) }
	}
	s, err := askOn(ctx, r, c, ask)
	if err != nil {
		return s, plain(err, "status")
	}
	for _, i := range s.Instances {
		slices.SortFunc(i.Nodes, func(a, b zeekapi.NodeDetail) int { return cmp.Compare(a.Status.Node, b.Status.Node) })
	}
	slices.SortFunc(s.Instances, func(a, b zeekapi.InstanceStatus) int {
		return cmp.Compare(a.Instance.Name, b.Instance.Name)
	})
	return s, nil
}

// piecedStatus makes a status of what every controller answers.
func piecedStatus(ctx context.Context, c *client.Client) (zeekapi.Status, error) {
	var s zeekapi.Status
	find := func(name string) *zeekapi.InstanceStatus {
		for i := range s.Instances {
			if s.Instances[i].Instance.Name == name {
				return &s.Instances[i]
			}
		}
		s.Instances = append(s.Instances, zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: name}})
		return &s.Instances[len(s.Instances)-1]
	}
	// The controller refuses to show a configuration that it does not have.
	var refused *client.RefusedError
	for _, deployed := range []bool{false, true} {
		if !c.Has(zeekapi.GetConfigurationRequest{}) {
			break // so old is the controller
		}
		config, err := c.GetConfiguration(ctx, deployed)
		switch {
		case errors.As(err, &refused):
		case err != nil:
			return s, err
		case !deployed:
			s.Staged = config.ID
		default:
			s.Deployed, s.Target = config.ID, config.ID
			for _, i := range config.Instances {
				in := find(i.Name)
				in.Instance, in.Wanted = i, true
			}
		}
	}
	instances, err := c.GetInstances(ctx)
	if err != nil {
		return s, err
	}
	for _, i := range instances {
		in := find(i.Name)
		in.Instance, in.Connected = i, true
	}
	if !c.Has(zeekapi.GetNodesRequest{}) {
		return s, nil
	}
	all, err := c.GetNodes(ctx)
	if err != nil && !errors.As(err, &refused) {
		return s, err
	}
	for _, a := range all {
		var nodes []zeekapi.NodeDetail
		for _, n := range a.Nodes {
			// The controller and the agents are in the answer, too.
			if n.ClusterRole != zeekapi.RoleNone {
				nodes = append(nodes, zeekapi.NodeDetail{Status: n})
			}
		}
		if a.Instance == "" || len(nodes) == 0 && a.Err == nil {
			continue
		}
		in := find(a.Instance)
		in.Nodes = nodes
		if text, ok := refusal(a.Err); ok {
			in.LastError = text
		} else if a.Err != nil {
			in.LastError = a.Err.Error()
		}
	}
	return s, nil
}

// well reports whether all is as it should be.
func well(s zeekapi.Status) bool {
	if s.Last != nil && s.Last.Outcome != zeekapi.OutcomeDeployed && s.Last.Outcome != zeekapi.OutcomePending {
		return false
	}
	for _, i := range s.Instances {
		if i.Wanted && !i.Connected {
			return false
		}
		for _, n := range i.Nodes {
			if n.Status.State != zeekapi.StateRunning {
				return false
			}
		}
	}
	return true
}

// statusLines shows a status to people.
func statusLines(screen terminal.Screen, s zeekapi.Status, ours bool, now time.Time) []terminal.Line {
	lines := headLines(s, ours, now)
	instances := instanceStatusTable(s, ours, now)
	if instances.Len() == 0 {
		return append(lines, terminal.Line{}, terminal.Text("No instances: no agent is connected, and nothing is deployed."))
	}
	lines = append(append(lines, terminal.Line{}), instances.Lines(screen)...)
	nodes, wrongs := nodeStatusTable(s, now)
	if nodes.Len() > 0 {
		lines = append(append(lines, terminal.Line{}), nodes.Lines(screen)...)
	}
	if len(wrongs) > 0 {
		lines = append(append(lines, terminal.Line{}), wrongs...)
	}
	return lines
}

// headLines are about the cluster as a whole.
func headLines(s zeekapi.Status, ours bool, now time.Time) []terminal.Line {
	var lines []terminal.Line
	add := func(key string, value ...terminal.Span) {
		lines = append(lines, append(terminal.Line{{Text: fmt.Sprintf("%-12s", key), Style: terminal.Strong}}, value...))
	}
	if ours {
		p := s.Controller
		add("Controller", cell(fmt.Sprintf("%s, %s, up %s", orNothing(p.Name), orNothing(p.Version), since(p.Started, now))))
	} else {
		add("Controller", cell("Zeek's own, which tells no versions, times, errors, history or jobs"))
	}
	switch {
	case s.Target == "":
		add("Deployed", cell("nothing yet"))
	case s.Target == s.Deployed:
		add("Deployed", cell(s.Deployed))
	default:
		add("Deployed", terminal.Span{Text: s.Target + ", not by all agents", Style: terminal.Warn})
	}
	if s.Staged != "" && s.Staged != s.Target {
		add("Staged", terminal.Span{Text: s.Staged, Style: terminal.Warn})
	}
	if s.Last != nil {
		add("Last", deploymentSpans(*s.Last, now)...)
	}
	if s.Job != nil {
		add("Job", jobSpans(*s.Job, now)...)
	}
	return lines
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t))
}

// ago is since for sentences.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return age(now.Sub(t)) + " ago"
}

func outcomeCell(o zeekapi.Outcome) terminal.Span {
	style := terminal.Bad
	switch o {
	case zeekapi.OutcomeDeployed:
		style = terminal.Good
	case zeekapi.OutcomePending, zeekapi.OutcomeSuperseded:
		style = terminal.Warn
	}
	return terminal.Span{Text: string(o), Style: style}
}

func deploymentSpans(d zeekapi.Deployment, now time.Time) terminal.Line {
	line := terminal.Line{
		cell(fmt.Sprintf("%s %d", actionText(d.Action), d.Number)), cell(byText(d.By)), cell(", " + ago(d.Started, now) + ": "), outcomeCell(d.Outcome),
	}
	switch n := len(d.Errors); n {
	case 0:
	case 1:
		line = append(line, cell(" (1 error, see history)"))
	default:
		line = append(line, cell(fmt.Sprintf(" (%d errors, see history)", n)))
	}
	return line
}

func actionText(action string) string {
	switch action {
	case "deploy", "set-configuration":
		return "deployment"
	case "force":
		return "forced deployment"
	}
	return action
}

func byText(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func jobSpans(j zeekapi.Job, now time.Time) terminal.Line {
	line := terminal.Line{cell(fmt.Sprintf("rolling restart %d%s, %s: %d of %d done",
		j.Number, byText(j.By), ago(j.Started, now), len(j.Done), len(j.Done)+len(j.Now)+len(j.Next)))}
	switch {
	case j.Error != "":
		line = append(line, terminal.Span{Text: ", ended: " + inOneLine(j.Error), Style: terminal.Bad})
	case j.Ended.IsZero():
		line = append(line, terminal.Span{Text: ", now " + strings.Join(j.Now, ", "), Style: terminal.Warn})
	}
	return line
}

func instanceStatusTable(s zeekapi.Status, ours bool, now time.Time) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"INSTANCE", "AGENT", "SINCE", "HOST", "NODES", "VERSION", "ZEEK"},
		Spare:  []int{5, 6, 3, 2},
	}
	for _, i := range s.Instances {
		agent := terminal.Span{Text: "connected", Style: terminal.Good}
		switch {
		case !i.Connected && i.Since.IsZero() && ours:
			agent = terminal.Span{Text: "never came", Style: terminal.Bad}
		case !i.Connected:
			agent = terminal.Span{Text: "missing", Style: terminal.Bad}
		case i.Drained:
			agent = terminal.Span{Text: "drained", Style: terminal.Warn}
		case !i.Wanted:
			agent = terminal.Span{Text: "not in use", Style: terminal.Faint}
		case !i.Ready && ours:
			agent = terminal.Span{Text: "not ready", Style: terminal.Warn}
		}
		host := ""
		if i.Instance.Host.IsValid() && !i.Instance.Host.IsUnspecified() {
			host = i.Instance.Host.String()
		}
		t.Add(cell(i.Instance.Name), agent, cell(since(i.Since, now)), cell(host), runningCell(i.Nodes), cell(i.Agent.Version), cell(i.Zeek))
	}
	return t
}

// runningCell says how many nodes run.
func runningCell(nodes []zeekapi.NodeDetail) terminal.Span {
	running := 0
	for _, n := range nodes {
		if n.Status.State == zeekapi.StateRunning {
			running++
		}
	}
	span := cell(fmt.Sprintf("%d/%d", running, len(nodes)))
	if running < len(nodes) {
		span.Style = terminal.Bad
	}
	return span
}

// nodeStatusTable returns all nodes, and what was last wrong with anything.
func nodeStatusTable(s zeekapi.Status, now time.Time) (*terminal.Table, []terminal.Line) {
	t := &terminal.Table{
		Header: []string{"NODE", "INSTANCE", "ROLE", "STATE", "SINCE", "RESTARTS", "PID", "PORT", "CPU", "MEMORY"},
		Right:  []bool{5: true, 6: true, 7: true, 8: true, 9: true},
		Spare:  []int{6, 7, 9, 8, 2, 4, 5},
	}
	var wrongs []terminal.Line
	say := func(who, text string) {
		if text != "" {
			wrongs = append(wrongs, saying(who, text)...)
		}
	}
	for _, i := range s.Instances {
		say(i.Instance.Name, i.LastError)
		for _, n := range i.Nodes {
			say(n.Status.Node, n.LastError)
			t.Add(cell(n.Status.Node), cell(i.Instance.Name), cell(roleText(n.Status)), stateCell(n.Status.State), cell(since(n.Since, now)),
				number(n.Restarts), number(n.Status.PID), number(n.Status.Port.Number), cell(cpuText(n.CPU)), cell(memoryText(n.Memory)))
		}
	}
	return t, wrongs
}

// saying returns a text after the name of whom it is about, which may have
// several lines.
func saying(who, text string) []terminal.Line {
	var lines []terminal.Line
	first := terminal.Span{Text: who + ": ", Style: terminal.Strong}
	for line := range strings.Lines(text) {
		lines = append(lines, terminal.Line{first, {Text: strings.TrimRight(line, "\r\n"), Style: terminal.Bad}})
		first = terminal.Span{Text: strings.Repeat(" ", terminal.Width(first.Text))}
	}
	return lines
}

// inOneLine returns a text without line breaks.
func inOneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' }), "; ")
}

// cpuText returns processors in use as a percentage of one.
func cpuText(cpu float64) string {
	if cpu == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", cpu*100)
}

func memoryText(bytes uint64) string {
	switch {
	case bytes == 0:
		return ""
	case bytes < 1<<20:
		return fmt.Sprintf("%dK", bytes>>10)
	case bytes < 10<<30:
		return fmt.Sprintf("%dM", bytes>>20)
	}
	return fmt.Sprintf("%dG", bytes>>30)
}
