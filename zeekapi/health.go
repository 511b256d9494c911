package zeekapi

import (
	"fmt"
	"strings"
	"time"
)

// Trouble is a reason why a cluster is unhealthy.
type Trouble struct {
	Instance string // "" if it concerns the controller or the last deployment
	Node     string // "" if it does not concern a single node
	Text     string
	Since    time.Time // zero: unknown
}

// Troubles returns the reasons why the cluster is unhealthy: changes cannot be stored, an
// agent is missing, a second agent with its name is refused, a node that should run does
// not, or the last deployment was rolled back or did not reach all agents. A deployment
// that was refused changed nothing and does not count.
func (s Status) Troubles() []Trouble {
	var all []Trouble
	if s.Storage != "" {
		all = append(all, Trouble{Text: "the controller cannot store changes, and refuses them: " + s.Storage})
	}
	if text := s.lastTrouble(); text != "" {
		all = append(all, Trouble{Text: fmt.Sprintf("deployment %d %s", s.Last.Number, text), Since: s.Last.Ended})
	}
	for _, i := range s.Instances {
		all = append(all, i.troubles()...)
	}
	return all
}

// lastTrouble returns the problem of the last deployment, "" if it has none. A deployment
// with a timeout or a failure has none as soon as all agents run the target.
func (s Status) lastTrouble() string {
	if s.Last == nil {
		return ""
	}
	switch s.Last.Outcome {
	case OutcomeDeployed, OutcomePending, OutcomeRefused:
		return ""
	case OutcomeRolledBack:
		return "was rolled back"
	}
	if s.Deployed == s.Target {
		return ""
	}
	return fmt.Sprintf("has not reached all agents (%s)", s.Last.Outcome)
}

func (i InstanceStatus) troubles() []Trouble {
	var all []Trouble
	add := func(node, text string, since time.Time) {
		all = append(all, Trouble{Instance: i.Instance.Name, Node: node, Text: text, Since: since})
	}
	switch {
	case i.Wanted && !i.Connected && i.Since.IsZero():
		add("", "the agent has never connected", i.Since)
	case i.Wanted && !i.Connected:
		add("", "the agent is not connected", i.Since)
	}
	if len(i.Refused) > 0 {
		add("", "another agent with this name is refused: "+strings.Join(i.Refused, ", "), time.Time{})
	}
	for _, n := range i.Nodes {
		if n.Fails() {
			text := "is " + strings.ToLower(string(n.Status.State))
			if n.LastError != "" {
				text += ": " + n.LastError
			}
			add(n.Status.Node, text, n.Since)
		}
	}
	return all
}

// Fails reports whether the node should run and does not.
func (n NodeDetail) Fails() bool { return n.Status.State != StateRunning && n.StoppedBy == "" }
