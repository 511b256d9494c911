package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// verdict says in one line and one colour how the cluster is.
type verdict struct {
	Level string // good, warn, bad or none
	Text  string
}

// overviewView is the first page.
type overviewView struct {
	Stale     *staleness
	Verdict   verdict
	Troubles  []zeekapi.Trouble
	More      int // further troubles
	Notes     []note
	MoreNotes int
	Status    zeekapi.Status
	Running   int // nodes
	Total     int

	Query, Show string
	Filtered    bool
	Machines    []machineRow
	Matches     int // machines
	Pages       pager
}

// note is something to know that is no trouble.
type note struct {
	Text, Machine, Node string
	Since               time.Time
}

// staleness tells that the controller has not responded.
type staleness struct {
	Error string
	Since time.Time // when it began
	At    time.Time // of what is shown; zero: nothing is
}

// machineRow is a machine with its nodes.
type machineRow struct {
	zeekapi.InstanceStatus
	Agent   verdict // of the agent
	Running int
	Rows    []nodeRow
	Hidden  int // nodes that the filter leaves out
}

// nodeRow is a node with its charts.
type nodeRow struct {
	zeekapi.NodeDetail
	Level   string
	State   string
	CPULine []string
	Packets []string
	Lossy   bool
}

// The sizes of the small charts, in pixels.
const (
	sparkWidth  = 72
	sparkHeight = 18
)

// lossShare is the share of dropped packets from which on it is marked.
const lossShare = 0.01

// maxListed limits the listed problems, and the listed warnings.
const maxListed = 8

// rowsPerPage is about the number of rows of a page.
const rowsPerPage = 80

func (c *Console) overview(r *http.Request, _ Visitor) (view, error) {
	s, _ := c.watch.get()
	q := r.URL.Query()
	o := overviewView{
		Stale: stale(s), Status: s.Status, Query: strings.TrimSpace(q.Get("q")), Show: q.Get("show"),
	}
	o.Verdict, o.Troubles = judge(s)
	o.Notes = notes(s.Status)
	if more := len(o.Troubles) - maxListed; more > 0 {
		o.Troubles, o.More = o.Troubles[:maxListed], more
	}
	if more := len(o.Notes) - maxListed; more > 0 {
		o.Notes, o.MoreNotes = o.Notes[:maxListed], more
	}
	o.Filtered = o.Query != "" || o.Show != ""
	var machines []machineRow
	for _, i := range s.Status.Instances {
		m := newMachine(i)
		o.Running, o.Total = o.Running+m.Running, o.Total+len(i.Nodes)
		if m.filter(o.Query, o.Show) {
			machines = append(machines, m)
		}
	}
	o.Matches = len(machines)
	o.Machines, o.Pages = paged(machines, q)
	for k := range o.Machines {
		o.Machines[k].draw(s.charts)
	}
	return view{Name: "overview", Title: "Overview", Data: o}, nil
}

// stale returns nil if the controller has responded.
func stale(s snapshot) *staleness {
	switch {
	case s.Failed != nil:
		return &staleness{errorText(s.Failed), s.Since, s.At}
	case s.At.IsZero():
		return &staleness{Error: "waiting for the first response"}
	}
	return nil
}

// judge says whether all is well, and otherwise why not.
func judge(s snapshot) (verdict, []zeekapi.Trouble) {
	if s.At.IsZero() {
		return verdict{"none", "The state of the cluster is not known yet."}, nil
	}
	troubles := s.Status.Troubles()
	nodes, machines, stopped, away := 0, 0, 0, 0
	for _, i := range s.Status.Instances {
		nodes += len(i.Nodes)
		if i.Wanted {
			machines++
		}
		if i.Drained {
			away++
		}
		for _, n := range i.Nodes {
			if n.StoppedBy != "" {
				stopped++
			}
		}
	}
	problems := len(notes(s.Status))
	switch {
	case s.Failed != nil:
		return verdict{"bad", "The controller does not respond. This is what it said last."}, troubles
	case len(troubles) > 0:
		return verdict{"bad", fmt.Sprintf("%s need attention.", countText(len(troubles), "problem"))}.singular(len(troubles)), troubles
	case s.Status.Last != nil && s.Status.Last.Outcome == zeekapi.OutcomePending:
		return verdict{"warn", fmt.Sprintf("Deployment %d is under way.", s.Status.Last.Number)}, nil
	case s.Status.Target == "":
		return verdict{"none", fmt.Sprintf("Nothing is deployed yet. %s connected.", countText(len(s.Status.Instances), "agent")+" "+are(len(s.Status.Instances)))}, nil
	case problems > 0:
		return verdict{"warn", fmt.Sprintf("All nodes run, but %s.", warnings(problems))}, nil
	case stopped+away > 0:
		return verdict{"warn", fmt.Sprintf("All nodes run that should: %s stopped, %s drained.", countText(stopped, "node")+" "+are(stopped), countText(away, "machine"))}, nil
	}
	return verdict{"good", fmt.Sprintf("All is well: %s on %s.", countText(nodes, "node")+" "+runs(nodes), countText(machines, "machine"))}, nil
}

func (v verdict) singular(n int) verdict {
	if n == 1 {
		v.Text = strings.Replace(v.Text, " need ", " needs ", 1)
	}
	return v
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func runs(n int) string {
	if n == 1 {
		return "runs"
	}
	return "run"
}

func warnings(n int) string {
	if n == 1 {
		return "there is a warning"
	}
	return fmt.Sprintf("there are %d warnings", n)
}

// notes returns the warnings of agents, the nodes that lose packets, and those whose
// scripts have changed.
func notes(s zeekapi.Status) []note {
	var all []note
	for _, i := range s.Instances {
		for _, p := range i.Problems {
			all = append(all, note{Text: p.Text, Machine: i.Instance.Name, Node: p.Node, Since: p.Since})
		}
		for _, n := range i.Nodes {
			if lossy(n) {
				all = append(all, note{Text: fmt.Sprintf("drops more than %s of its packets", percentText(lossShare)), Machine: i.Instance.Name, Node: n.Status.Node})
			}
			if len(n.Edited) > 0 {
				all = append(all, note{Text: "runs scripts that have changed since", Machine: i.Instance.Name, Node: n.Status.Node, Since: n.Started})
			}
		}
	}
	return all
}

func newMachine(i zeekapi.InstanceStatus) machineRow {
	m := machineRow{InstanceStatus: i, Agent: agentVerdict(i)}
	for _, n := range i.Nodes {
		if n.Status.State == zeekapi.StateRunning {
			m.Running++
		}
		m.Rows = append(m.Rows, newNodeRow(n))
	}
	return m
}

// agentVerdict returns the state of an agent.
func agentVerdict(i zeekapi.InstanceStatus) verdict {
	switch {
	case !i.Connected && i.Drained:
		return verdict{"warn", "drained, not connected"}
	case !i.Connected && i.Since.IsZero():
		return verdict{"bad", "never connected"}
	case !i.Connected:
		return verdict{"bad", "not connected"}
	case i.Drained:
		return verdict{"warn", "drained"}
	case !i.Wanted:
		return verdict{"none", "not in use"}
	case !i.Ready:
		return verdict{"warn", "not ready"}
	}
	return verdict{"good", "connected"}
}

func newNodeRow(n zeekapi.NodeDetail) nodeRow {
	row := nodeRow{NodeDetail: n, Level: "good", State: strings.ToLower(string(n.Status.State))}
	switch {
	case n.StoppedBy != "":
		row.Level, row.State = "warn", "stopped"
	case n.Status.State == zeekapi.StatePending:
		row.Level, row.State = "warn", "starting"
	case n.Fails():
		row.Level = "bad"
	}
	row.Lossy = lossy(n)
	return row
}

// lossy reports whether a node loses packets.
func lossy(n zeekapi.NodeDetail) bool {
	return n.Traffic != nil && n.Traffic.Rates != nil && n.Traffic.Rates.DropShare() >= lossShare
}

func (m *machineRow) draw(c *charts) {
	for k := range m.Rows {
		n := &m.Rows[k]
		cpu, packets, _ := c.get(n.Status.Node)
		n.CPULine = line(cpu, sparkWidth, sparkHeight, 0.1)
		n.Packets = line(packets, sparkWidth, sparkHeight, 1)
	}
}

// Reads reports whether the node reads packets.
func (n nodeRow) Reads() bool { return n.Interface != "" }

// Rates returns the rates of the traffic, nil if they are not known.
func (n nodeRow) Rates() *zeekapi.TrafficRates {
	if n.Traffic == nil {
		return nil
	}
	return n.Traffic.Rates
}

// filter reduces the machine to the nodes that match, and reports whether any does. The words
// of a query must all occur in the name, the role, the state, the interface or the machine.
func (m *machineRow) filter(query, show string) bool {
	words := strings.Fields(strings.ToLower(query))
	machine := strings.ToLower(m.Instance.Name + " " + m.Instance.Host.String() + " " + m.Agent.Text)
	all := len(m.Rows)
	m.Rows = slices.DeleteFunc(m.Rows, func(n nodeRow) bool {
		text := machine + " " + strings.ToLower(strings.Join([]string{n.Status.Node, string(n.Status.ClusterRole), n.State, n.Interface}, " "))
		for _, word := range words {
			if !strings.Contains(text, word) {
				return true
			}
		}
		switch show {
		case "problems":
			return n.Level == "good" && !n.Lossy
		case "stopped":
			return n.StoppedBy == ""
		}
		return false
	})
	m.Hidden = all - len(m.Rows)
	switch {
	case len(m.Rows) > 0:
		return true
	case show == "problems":
		return containsAll(machine, words) && (m.Agent.Level == "bad" || m.Agent.Level == "warn" || len(m.Problems) > 0)
	case show != "":
		return false
	}
	return containsAll(machine, words)
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// pager leads to other pages of a list.
type pager struct {
	Page, Last     int
	Previous, Next string // addresses; "" at the ends
	First, End     int    // numbers of the shown machines, from 1
	Of             int
}

// paged returns the machines of the page in q, which has about rowsPerPage rows.
func paged(all []machineRow, q url.Values) ([]machineRow, pager) {
	starts, rows := []int{0}, 0
	for k, m := range all {
		if rows > 0 && rows+1+len(m.Rows) > rowsPerPage {
			starts, rows = append(starts, k), 0
		}
		rows += 1 + len(m.Rows)
	}
	number, _ := strconv.Atoi(q.Get("page")) // an error is page 1
	number = min(max(1, number), len(starts))
	begin, end := starts[number-1], len(all)
	if number < len(starts) {
		end = starts[number]
	}
	p := pager{Page: number, Last: len(starts), First: begin + 1, End: end, Of: len(all)}
	if number > 1 {
		p.Previous = withPage(q, number-1)
	}
	if number < len(starts) {
		p.Next = withPage(q, number+1)
	}
	return all[begin:end], p
}

func withPage(q url.Values, number int) string {
	next := url.Values{}
	for _, key := range []string{"q", "show"} {
		if v := q.Get(key); v != "" {
			next.Set(key, v)
		}
	}
	next.Set("page", strconv.Itoa(number))
	return "?" + next.Encode()
}
