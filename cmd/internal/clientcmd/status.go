package clientcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) status() *cobra.Command {
	cmd := t.command("status [NODE...]", "Show the status of the cluster",
		func(ctx context.Context, r *run, args []string) error {
			c, err := r.connectAll(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			extended, err := r.speaksOperations(ctx, c)
			if err != nil {
				return err
			}
			s, err := r.requestStatus(ctx, c, extended)
			if err == nil {
				s, err = r.selectStatus(ctx, c, s, args)
			}
			if err == nil && extended {
				addDisks(s, r.requestDisks(ctx, c))
			}
			if err != nil {
				return err
			}
			err = r.present(newStatusView(s), func() []terminal.Line { return statusLines(r.screen, s, extended, time.Now()) })
			if err == nil && r.tool.flags.strictExit && len(s.Troubles()) > 0 {
				return &ExitError{Code: Attention}
			}
			return err
		})
	cmd.Long = cmd.Short + `: the controller, instances and nodes, the
time of their last change, their last errors, the last deployment and the last
rolling restart.

Zeek's controller provides only part of this: connected agents, states of nodes,
and configurations.

With --strict-exit, the exit code is 3 if an agent is missing, a second agent
with its name is refused, a node is not running, the controller cannot store
changes, or the last deployment was rolled back or did not reach all agents. A
deployment that was refused changed nothing and does not count. If nodes are
selected, the others, and instances without any, are left out.` + statusHelp + jsonHelp
	t.addSelection(cmd)
	return cmd
}

// speaksOperations reports whether the controller speaks the dialect of package
// operations, as zeekwire's does.
func (r *run) speaksOperations(ctx context.Context, c *client.Client) (bool, error) {
	_, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (struct{}, error) {
		return struct{}{}, c.Probe(ctx)
	})
	if errors.Is(err, client.ErrUnsupported) {
		return false, nil
	}
	return err == nil, err
}

// requestStatus returns the status, sorted by name. For Zeek's controller, extended
// is false, and the status has only the information that it provides.
func (r *run) requestStatus(ctx context.Context, c *client.Client, extended bool) (zeekapi.Status, error) {
	ask := assembleStatus
	if extended {
		ask = func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) }
	}
	s, err := askOn(ctx, r, c, ask)
	if err != nil {
		return s, requestError(err, "status")
	}
	if !s.AsOf.IsZero() {
		r.answered(zeekapi.StoredAnswer{Controller: s.Controller.Name, AsOf: s.AsOf})
	}
	return sortedStatus(s), nil
}

// disks are the measured directories of agents, by instance.
type disks map[string][]zeekapi.DirectorySpace

// disksAge is the maximum age of the measurements that a status shows. Agents measure disks
// every minute.
const disksAge = time.Minute

// requestDisks returns the measured directories, none if the controller does not provide them.
func (r *run) requestDisks(ctx context.Context, c *client.Client) disks {
	f, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Figures, error) { return c.Figures(ctx, disksAge) })
	if err != nil {
		return nil // the client may see the status, but not this; df reports the error
	}
	d := make(disks, len(f.Instances))
	for _, i := range f.Instances {
		d[i.Instance] = i.Directories
	}
	return d
}

// addDisks adds the directories of instances to a status.
func addDisks(s zeekapi.Status, d disks) {
	for i := range s.Instances {
		s.Instances[i].Directories = d[s.Instances[i].Instance.Name]
	}
}

// sortedStatus sorts a status by the names of instances and nodes.
func sortedStatus(s zeekapi.Status) zeekapi.Status {
	for _, i := range s.Instances {
		slices.SortFunc(i.Nodes, func(a, b zeekapi.NodeDetail) int { return cmp.Compare(a.Status.Node, b.Status.Node) })
	}
	slices.SortFunc(s.Instances, func(a, b zeekapi.InstanceStatus) int {
		return cmp.Compare(a.Instance.Name, b.Instance.Name)
	})
	return s
}

// assembleStatus returns a status that is assembled from requests that Zeek's
// controllers support.
func assembleStatus(ctx context.Context, c *client.Client) (zeekapi.Status, error) {
	var a statusAssembly
	for _, add := range []func(context.Context, *client.Client) error{a.addConfigurations, a.addInstances, a.addNodes} {
		if err := add(ctx, c); err != nil {
			return a.status, err
		}
	}
	return a.status, nil
}

// statusAssembly collects a status from several responses.
type statusAssembly struct{ status zeekapi.Status }

// instance returns the entry of an instance, and adds it if it is missing. The
// pointer is valid until the next call.
func (a *statusAssembly) instance(name string) *zeekapi.InstanceStatus {
	all := a.status.Instances
	for i := range all {
		if all[i].Instance.Name == name {
			return &all[i]
		}
	}
	a.status.Instances = append(all, zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: name}})
	return &a.status.Instances[len(all)]
}

// addConfigurations adds the IDs of the staged and the deployed configuration, and
// the instances of the deployed one.
func (a *statusAssembly) addConfigurations(ctx context.Context, c *client.Client) error {
	if !c.Has(zeekapi.GetConfigurationRequest{}) {
		return nil // the controller speaks ClusterController::API
	}
	staged, err := configurationIfAny(ctx, c, false)
	if err != nil {
		return err
	}
	a.status.Staged = staged.ID
	deployed, err := configurationIfAny(ctx, c, true)
	if err != nil {
		return err
	}
	a.status.Deployed, a.status.Target = deployed.ID, deployed.ID
	for _, i := range deployed.Instances {
		in := a.instance(i.Name)
		in.Instance, in.Wanted = i, true
	}
	return nil
}

// configurationIfAny returns the deployed or the staged configuration, or the zero
// value if there is none: a controller refuses the request in that case.
func configurationIfAny(ctx context.Context, c *client.Client, deployed bool) (zeekapi.Configuration, error) {
	config, err := c.GetConfiguration(ctx, deployed)
	if errors.As(err, new(*client.RefusedError)) {
		return zeekapi.Configuration{}, nil
	}
	return config, err
}

// addInstances adds the instances whose agents are connected.
func (a *statusAssembly) addInstances(ctx context.Context, c *client.Client) error {
	instances, err := c.GetInstances(ctx)
	if err != nil {
		return err
	}
	for _, i := range instances {
		in := a.instance(i.Name)
		in.Instance, in.Connected = i, true
	}
	return nil
}

// addNodes adds the nodes of the cluster, and the errors of instances that did not
// return their nodes.
func (a *statusAssembly) addNodes(ctx context.Context, c *client.Client) error {
	if !c.Has(zeekapi.GetNodesRequest{}) {
		return nil
	}
	all, err := c.GetNodes(ctx)
	if err != nil && !errors.As(err, new(*client.RefusedError)) {
		return err
	}
	for _, from := range all {
		var nodes []zeekapi.NodeDetail
		for _, n := range from.Nodes {
			// The response also has the controller and the agents.
			if n.ClusterRole != zeekapi.RoleNone {
				nodes = append(nodes, zeekapi.NodeDetail{Status: n})
			}
		}
		if from.Instance == "" || len(nodes) == 0 && from.Err == nil {
			continue
		}
		in := a.instance(from.Instance)
		in.Nodes = nodes
		if text, ok := refusal(from.Err); ok {
			in.LastError = text
		} else if from.Err != nil {
			in.LastError = from.Err.Error()
		}
	}
	return nil
}

// statusLines returns a status as lines.
func statusLines(screen terminal.Screen, s zeekapi.Status, extended bool, now time.Time) []terminal.Line {
	lines := summaryLines(s, extended, now)
	if len(s.Instances) == 0 {
		return append(lines, terminal.Line{}, terminal.Text("No instances: no agent is connected, and nothing is deployed."))
	}
	add := func(section []terminal.Line) {
		if len(section) > 0 {
			lines = append(append(lines, terminal.Line{}), section...)
		}
	}
	add(instanceStatusTable(s.Instances, extended, now).Lines(screen))
	if nodes := nodesOf(s); len(nodes) > 0 {
		add(nodeStatusTable(nodes, now).Lines(screen))
	}
	add(slices.Concat(currentErrors(s, extended), pastErrors(s, extended, now)))
	add(stoppedLines(stoppedIn(s), now))
	add(slices.Concat(figureWarnings(s), editedIn(s).lines()))
	return lines
}

// summaryLines returns the lines about the whole cluster.
func summaryLines(s zeekapi.Status, extended bool, now time.Time) []terminal.Line {
	var lines []terminal.Line
	add := func(key string, value ...terminal.Span) {
		lines = append(lines, append(terminal.Line{{Text: fmt.Sprintf("%-12s", key), Style: terminal.Strong}}, value...))
	}
	if extended {
		p := s.Controller
		add("Controller", cell(fmt.Sprintf("%s, %s, up %s", orNone(p.Name), orNone(p.Version), since(p.Started, now))))
	} else {
		add("Controller", cell("Zeek's own, which tells no versions, times, errors, history or jobs"))
	}
	lines = append(lines, memberLines(s, now)...)
	if s.Storage != "" {
		add("Storage", terminal.Span{Text: "changes are refused: " + s.Storage, Style: terminal.Bad})
	}
	if open := openToOthers(s.Exposure); len(open) > 0 {
		add("Open", terminal.Span{Text: "anybody who reaches " + strings.Join(open, " or ") + " may command it", Style: terminal.Warn})
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
	if t := trafficOf(nodesOf(s)); t.Rates != nil {
		add("Traffic", cell(fmt.Sprintf("%s packets/s, %s Mbit/s, loss ", perSecond(t.Rates.Received), megabits(t.Rates.Bytes))), lossCell(t.Rates.DropShare(), defaultLoss))
	}
	return lines
}

// openToOthers returns the addresses at which anybody on other machines may command
// the controller.
func openToOthers(e *zeekapi.Exposure) []string {
	if e == nil {
		return nil
	}
	return slices.DeleteFunc(e.Open(), func(address string) bool {
		host, _, err := net.SplitHostPort(address)
		return err == nil && isLoopback(host)
	})
}

// since returns the time since t, or "" for the zero time.
func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t))
}

// ago returns the time since t for use in a sentence.
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
	case zeekapi.OutcomePending, zeekapi.OutcomeSuperseded, zeekapi.OutcomeRefused:
		style = terminal.Warn
	}
	return terminal.Span{Text: string(o), Style: style}
}

func deploymentSpans(d zeekapi.Deployment, now time.Time) terminal.Line {
	line := terminal.Line{cell(fmt.Sprintf("%s %d", actionText(d.Action), d.Number)), cell(byText(d.By))}
	if d.Outcome == zeekapi.OutcomePending && !d.Started.IsZero() {
		return append(line, cell(" is "), outcomeCell(d.Outcome), cell(" for "+since(d.Started, now)))
	}
	line = append(line, cell(", "+ago(d.Started, now)+": "), outcomeCell(d.Outcome))
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
	case "partial":
		return "partial deployment"
	}
	return action
}

func byText(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
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

func instanceStatusTable(instances []zeekapi.InstanceStatus, extended bool, now time.Time) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"INSTANCE", "AGENT", "SINCE", "HOST", "NODES", "VERSION", "ZEEK", "DISK"},
		Spare:  []int{5, 6, 3, 2, 7},
	}
	for _, i := range instances {
		host := ""
		if i.Instance.Host.IsValid() && !i.Instance.Host.IsUnspecified() {
			host = i.Host().String()
		}
		t.Add(cell(i.Instance.Name), agentCell(i, extended), cell(since(i.Since, now)), cell(host), runningCell(i), cell(i.Agent.Version), cell(i.Zeek), diskCell(i))
	}
	return t
}

// diskCell returns the used share of the fullest disk of an instance, as in df.
func diskCell(i zeekapi.InstanceStatus) terminal.Span {
	var fullest zeekapi.DirectorySpace
	for _, d := range i.Directories {
		if d.Error == "" && useOf(d) >= useOf(fullest) {
			fullest = d
		}
	}
	return space{DirectorySpace: fullest}.useCell()
}

// agentCell returns the state of the agent of an instance.
func agentCell(i zeekapi.InstanceStatus, extended bool) terminal.Span {
	switch {
	case !i.Connected && i.Drained:
		return terminal.Span{Text: "drained, away", Style: terminal.Warn}
	case !i.Connected && i.Since.IsZero() && extended:
		return terminal.Span{Text: "never came", Style: terminal.Bad}
	case !i.Connected:
		return terminal.Span{Text: "missing", Style: terminal.Bad}
	case i.Drained:
		return terminal.Span{Text: "drained", Style: terminal.Warn}
	case !i.Wanted:
		return terminal.Span{Text: "not in use", Style: terminal.Faint}
	case !i.Ready && extended:
		return terminal.Span{Text: "not ready", Style: terminal.Warn}
	}
	return terminal.Span{Text: "connected", Style: terminal.Good}
}

// runningCell returns the number of running nodes and of all nodes of an instance, or
// that it is drained.
func runningCell(i zeekapi.InstanceStatus) terminal.Span {
	if len(i.Nodes) == 0 && i.Drained {
		return terminal.Span{Text: "drained", Style: terminal.Warn}
	}
	running, stopped := 0, 0
	for _, n := range i.Nodes {
		switch {
		case n.StoppedBy != "":
			stopped++
		case n.Status.State == zeekapi.StateRunning:
			running++
		}
	}
	span := cell(fmt.Sprintf("%d/%d", running, len(i.Nodes)))
	switch {
	case running+stopped < len(i.Nodes):
		span.Style = terminal.Bad
	case stopped > 0:
		span.Style = terminal.Warn
	}
	return span
}

// placedNode is a node with the name of its instance.
type placedNode struct {
	zeekapi.NodeDetail
	instance string
}

// nodesOf returns all nodes of a status, in its order.
func nodesOf(s zeekapi.Status) []placedNode {
	var nodes []placedNode
	for _, i := range s.Instances {
		for _, n := range i.Nodes {
			nodes = append(nodes, placedNode{n, i.Instance.Name})
		}
	}
	return nodes
}

func nodeStatusTable(nodes []placedNode, now time.Time) *terminal.Table {
	t := &terminal.Table{
		Header: []string{"NODE", "INSTANCE", "ROLE", "STATE", "SINCE", "RESTARTS", "PID", "PORT", "CPU", "MEMORY", "PKTS/S", "LOSS", "SCRIPTS"},
		Right:  []bool{5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true},
		Spare:  []int{6, 7, 10, 9, 8, 2, 4, 5, 11},
	}
	for _, n := range nodes {
		var packets, loss terminal.Span
		if r := ratesOf(n.Traffic); r != nil && reads(n) {
			packets, loss = cell(perSecond(r.Received)), lossCell(r.DropShare(), defaultLoss)
		}
		t.Add(cell(n.Status.Node), cell(n.instance), cell(roleText(n.Status)), stateCell(n.Status.State), cell(since(n.Since, now)),
			number(n.Restarts), number(n.Status.PID), number(n.Status.Port.Number), cell(cpuText(n.CPU)), cell(memoryText(n.Memory)), packets, loss, editedCell(n.NodeDetail))
	}
	return t
}

// impaired reports whether something is wrong with an instance now.
func impaired(i zeekapi.InstanceStatus, extended bool) bool {
	if i.Wanted && !i.Drained && (!i.Connected || !i.Ready && extended) {
		return true
	}
	return slices.ContainsFunc(i.Nodes, zeekapi.NodeDetail.Fails)
}

// currentErrors returns the last errors of the instances and nodes with which something
// is wrong now.
func currentErrors(s zeekapi.Status, extended bool) []terminal.Line {
	var lines []terminal.Line
	for _, i := range s.Instances {
		if i.LastError != "" && impaired(i, extended) {
			lines = append(lines, labeledError(i.Instance.Name, i.LastError)...)
		}
		if len(i.Refused) > 0 {
			lines = append(lines, labeledError(i.Instance.Name, refusedText(i.Refused))...)
		}
		for _, p := range i.Problems {
			name := i.Instance.Name
			if p.Node != "" {
				name = p.Node
			}
			lines = append(lines, labeledError(name, p.Text)...)
		}
		for _, n := range i.Nodes {
			if n.LastError != "" && n.Status.State != zeekapi.StateRunning {
				lines = append(lines, labeledError(n.Status.Node, n.LastError)...)
			}
		}
	}
	return lines
}

// pastErrors returns the last errors of the instances and nodes with which nothing is
// wrong now.
func pastErrors(s zeekapi.Status, extended bool, now time.Time) []terminal.Line {
	var lines []terminal.Line
	add := func(name, earlier, text string) {
		lines = append(lines, terminal.Line{{Text: name + ": ", Style: terminal.Strong}, cell(earlier), {Text: inOneLine(text), Style: terminal.Faint}})
	}
	for _, i := range s.Instances {
		if i.LastError != "" && !impaired(i, extended) {
			add(i.Instance.Name, "earlier: ", i.LastError)
		}
		for _, n := range i.Nodes {
			if n.LastError != "" && n.Status.State == zeekapi.StateRunning {
				add(n.Status.Node, revival(n, now)+"; earlier: ", n.LastError)
			}
		}
	}
	return lines
}

// revival tells how long a node that failed before has been running.
func revival(n zeekapi.NodeDetail, now time.Time) string {
	text := "running"
	if !n.Since.IsZero() {
		text += " for " + since(n.Since, now)
	}
	if n.Restarts > 0 {
		text += " after " + plural(int(n.Restarts), "restart")
	}
	return text
}

// refusedText says which other agents claim the name of an instance.
func refusedText(addresses []string) string {
	return "refused other agents with this name, because the first one answers: " + strings.Join(addresses, ", ")
}

// labeledError returns an error text, which may have several lines, after the name
// to which it belongs.
func labeledError(name, text string) []terminal.Line {
	var lines []terminal.Line
	first := terminal.Span{Text: name + ": ", Style: terminal.Strong}
	for line := range strings.Lines(text) {
		lines = append(lines, terminal.Line{first, {Text: strings.TrimRight(line, "\r\n"), Style: terminal.Bad}})
		first = terminal.Span{Text: strings.Repeat(" ", terminal.Width(first.Text))}
	}
	return lines
}

// inOneLine replaces the line breaks of a text by semicolons.
func inOneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' }), "; ")
}

// cpuText formats a number of processors in use as a percentage of one processor.
func cpuText(cpu float64) string {
	if cpu == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", cpu*100)
}

// memoryText formats a number of bytes with a binary unit.
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
