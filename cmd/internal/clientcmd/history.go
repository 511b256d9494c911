package clientcmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) history() *cobra.Command {
	var limit uint64
	cmd := t.command("history", "Show recent deployments",
		func(ctx context.Context, r *run, _ []string) error {
			all, err := askOperation(ctx, r, "a history", func(ctx context.Context, c *client.Client) ([]zeekapi.Deployment, error) {
				return c.History(ctx, limit)
			})
			if err != nil {
				return err
			}
			view := struct {
				Deployments []deploymentView `json:"deployments"`
				ageView
			}{list(all, newDeploymentView), r.age()}
			return r.present(view, func() []terminal.Line { return r.historyTable(all) })
		})
	cmd.Long = cmd.Short + `, the newest first.

"get-config --number NUMBER" retrieves the configuration of a deployment,
"rollback NUMBER" deploys it again.

The JSON has the key deployments, a list with
` + deploymentHelp + "." + ageHelp + jsonHelp
	cmd.Flags().Uint64VarP(&limit, "limit", "n", 20, "maximum `NUMBER` of deployments, 0 for all in the history")
	return cmd
}

// deploymentDuration returns the duration of a deployment, or "" if it is unknown:
// if the deployment has not ended, or if the clock was set back before it ended.
func deploymentDuration(d zeekapi.Deployment) string {
	if d.Ended.Before(d.Started) {
		return ""
	}
	return fmt.Sprintf("%.1fs", d.Ended.Sub(d.Started).Seconds())
}

func (r *run) historyTable(all []zeekapi.Deployment) []terminal.Line {
	if len(all) == 0 {
		return []terminal.Line{terminal.Text("Nothing was deployed yet.")}
	}
	t := &terminal.Table{
		Header: []string{"NUMBER", "STARTED", "TOOK", "ACTION", "BY", "CONFIGURATION", "OUTCOME"},
		Right:  []bool{0: true, 2: true},
		Spare:  []int{5, 2, 4},
	}
	var errorLines []terminal.Line
	for _, d := range all {
		for _, text := range d.Errors {
			errorLines = append(errorLines, labeledError(fmt.Sprint(d.Number), text)...)
		}
		t.Add(number(d.Number), cell(localTime(d.Started)), cell(deploymentDuration(d)), cell(d.Action), cell(d.By), cell(shortID(d.Config)), outcomeCell(d.Outcome))
	}
	lines := t.Lines(r.screen)
	if len(errorLines) > 0 {
		lines = append(append(lines, terminal.Line{}), errorLines...)
	}
	return lines
}

// shortID returns the first part of a UUID, which is enough to distinguish a few
// configurations. It returns any other ID unchanged.
func shortID(id string) string {
	if uuid.Validate(id) == nil {
		id, _, _ = strings.Cut(id, "-")
	}
	return id
}

// localTime formats a time in the local time zone. It returns "" for the zero time.
func localTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// pastConfiguration returns the configuration of a deployment in the history.
func (r *run) pastConfiguration(ctx context.Context, number uint64) (zeekapi.Configuration, error) {
	return askOperation(ctx, r, "a history", func(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
		return c.PastConfiguration(ctx, number)
	})
}

func (t *Tool) events() *cobra.Command {
	var limit, after uint64
	cmd := t.command("events", "Show recent cluster events",
		func(ctx context.Context, r *run, _ []string) error {
			all, err := askOperation(ctx, r, "events", func(ctx context.Context, c *client.Client) ([]zeekapi.ClusterEvent, error) {
				return c.Events(ctx, after, limit)
			})
			if err != nil {
				return err
			}
			view := struct {
				Events []eventView `json:"events"`
				ageView
			}{list(all, newEventView), r.age()}
			return r.present(view, func() []terminal.Line {
				if len(all) == 0 {
					return []terminal.Line{terminal.Text("Nothing happened.")}
				}
				return list(all, eventLine)
			})
		})
	cmd.Long = cmd.Short + `, the oldest first: agents that
connected or disconnected, state changes of nodes, errors, deployments,
problems, and notifications of operators.

"watch" shows events as they occur.

The JSON has the key events, a list with
` + eventHelp + "." + ageHelp + jsonHelp
	cmd.Flags().Uint64VarP(&limit, "limit", "n", 50, "maximum `NUMBER` of events, 0 for all that the controller keeps")
	cmd.Flags().Uint64Var(&after, "after", 0, "`NUMBER` of the event after which to start")
	return cmd
}

// eventLine formats a cluster event as a line.
func eventLine(n zeekapi.ClusterEvent) terminal.Line {
	text := cell(inOneLine(n.Text))
	switch n.Kind {
	case zeekapi.EventState:
		text = stateCell(zeekapi.State(n.Text))
	case zeekapi.EventError, zeekapi.EventLost, zeekapi.EventProblem, zeekapi.EventAlert:
		text.Style = terminal.Bad
	}
	line := terminal.Line{{Text: localTime(n.Time) + "  ", Style: terminal.Faint}, cell(fmt.Sprintf("%-9s  ", n.Kind))}
	switch {
	case n.Node != "" && n.Instance != "":
		line = append(line, terminal.Span{Text: n.Node + " (" + n.Instance + "): ", Style: terminal.Strong})
	case n.Node+n.Instance != "":
		line = append(line, terminal.Span{Text: n.Node + n.Instance + ": ", Style: terminal.Strong})
	}
	return append(line, text)
}
