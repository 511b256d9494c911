package clientcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) alerts() *cobra.Command {
	cmd := t.command("alerts", "Show the present alerts",
		func(ctx context.Context, r *run, _ []string) error {
			all, err := askOperation(ctx, r, "alerts", func(ctx context.Context, c *client.Client) (zeekapi.Alerts, error) {
				return c.Alerts(ctx)
			})
			if err != nil {
				return err
			}
			return r.present(newAlertsView(all), func() []terminal.Line { return r.alertsTable(all, time.Now()) })
		})
	cmd.Long = cmd.Short + `, and the channels by which the controller notifies
operators: a command, a webhook or mail. They are settings of the controller.

"events" has the history of notifications.

The JSON has the keys alerts, a list with rule, instance, node, subject, text
and since, and channels, a list with name, to, sent, failed and queued (numbers
of notifications), error (of the last attempt) and last (its time).` + jsonHelp
	cmd.AddCommand(t.testAlerts())
	return cmd
}

func (t *Tool) testAlerts() *cobra.Command {
	cmd := t.command("test", "Send a test notification by each channel",
		func(ctx context.Context, r *run, _ []string) error {
			results, err := askOperation(ctx, r, "alerts", func(ctx context.Context, c *client.Client) ([]zeekapi.Result, error) {
				return c.TestAlerts(ctx)
			})
			if err != nil {
				return err
			}
			return r.showTestedAlerts(results)
		})
	cmd.Long = cmd.Short + `, and show whether it was
accepted. The exit code is 1 if a channel failed.

The JSON has the keys sent and errors, two lists of texts.`
	return cmd
}

// showTestedAlerts shows the results of a test. It returns an error if a channel failed.
func (r *run) showTestedAlerts(results []zeekapi.Result) error {
	view := struct {
		Sent   []string `json:"sent"`
		Errors []string `json:"errors"`
	}{[]string{}, []string{}}
	for _, res := range results {
		if name, _ := res.Data.Text(); res.Success {
			view.Sent = append(view.Sent, name)
		} else {
			view.Errors = append(view.Errors, res.Error)
		}
	}
	err := r.present(view, func() []terminal.Line {
		var lines []terminal.Line
		for _, name := range view.Sent {
			lines = append(lines, terminal.Line{{Text: "sent: ", Style: terminal.Good}, cell(inOneLine(name))})
		}
		for _, text := range view.Errors {
			lines = append(lines, terminal.Line{{Text: "failed: ", Style: terminal.Bad}, cell(inOneLine(text))})
		}
		return lines
	})
	if err != nil {
		return err
	}
	return failIf(len(view.Errors) > 0)
}

type alertsView struct {
	Alerts   []alertView        `json:"alerts"`
	Channels []alertChannelView `json:"channels"`
}

type alertView struct {
	Rule     string     `json:"rule"`
	Instance *string    `json:"instance"`
	Node     *string    `json:"node"`
	Subject  *string    `json:"subject"`
	Text     string     `json:"text"`
	Since    *time.Time `json:"since"`
}

type alertChannelView struct {
	Name   string     `json:"name"`
	To     string     `json:"to"`
	Sent   uint64     `json:"sent"`
	Failed uint64     `json:"failed"`
	Queued uint64     `json:"queued"`
	Error  *string    `json:"error"`
	Last   *time.Time `json:"last"`
}

func newAlertsView(all zeekapi.Alerts) alertsView {
	return alertsView{
		Alerts: list(all.Present, func(a zeekapi.Alert) alertView {
			return alertView{a.Rule, orNull(a.Instance), orNull(a.Node), orNull(a.Subject), a.Text, orNullTime(a.Since)}
		}),
		Channels: list(all.Channels, func(c zeekapi.AlertChannel) alertChannelView {
			return alertChannelView{c.Name, c.To, c.Sent, c.Failed, c.Queued, orNull(c.Error), orNullTime(c.Last)}
		}),
	}
}

func (r *run) alertsTable(all zeekapi.Alerts, now time.Time) []terminal.Line {
	lines := []terminal.Line{terminal.Text("There are no alerts.")}
	if len(all.Present) > 0 {
		t := &terminal.Table{Header: []string{"ALERT", "SINCE", "TEXT"}, Spare: []int{2}}
		for _, a := range all.Present {
			t.Add(terminal.Span{Text: a.Rule, Style: terminal.Bad}, cell(since(a.Since, now)), cell(inOneLine(a.Text)))
		}
		lines = t.Lines(r.screen)
	}
	lines = append(lines, terminal.Line{})
	if len(all.Channels) == 0 {
		return append(lines, terminal.Text("No notifications are sent: the controller has no alert-command, alert-webhook or alert-mail-to."))
	}
	t := &terminal.Table{Header: []string{"CHANNEL", "TO", "SENT", "FAILED", "QUEUED", "LAST"}, Right: []bool{2: true, 3: true, 4: true}, Spare: []int{1, 5}}
	for _, c := range all.Channels {
		last := cell(fmt.Sprintf("ok, %s", ago(c.Last, now)))
		switch {
		case c.Last.IsZero():
			last = cell("")
		case c.Error != "":
			last = terminal.Span{Text: inOneLine(c.Error), Style: terminal.Bad}
		}
		t.Add(cell(c.Name), cell(c.To), number(c.Sent), number(c.Failed), number(c.Queued), last)
	}
	return append(lines, t.Lines(r.screen)...)
}
