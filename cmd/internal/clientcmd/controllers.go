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

// stepDownWait is the longest time to wait for a new leader.
const stepDownWait = time.Minute

func (t *Tool) stepDown() *cobra.Command {
	cmd := t.command("step-down", "Let another controller lead",
		func(ctx context.Context, r *run, _ []string) error {
			c, err := r.connectExtended(ctx, "several controllers")
			if err != nil {
				return err
			}
			defer c.Close()
			before, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
			if err == nil {
				_, err = askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]zeekapi.ControllerMember, error) {
					return c.StepDown(ctx)
				})
			}
			if err != nil {
				return requestError(err, "a change of the leader")
			}
			after, err := r.awaitLeader(ctx, c, before.Term)
			if err != nil {
				return err
			}
			view := struct {
				Leader controllerView `json:"leader"`
				Term   uint64         `json:"term"`
			}{newControllerView(after.Controllers[0]), after.Term}
			return r.present(view, func() []terminal.Line {
				return []terminal.Line{terminal.Text("%s leads.", controllerName(after.Controllers[0]))}
			})
		})
	cmd.Long = cmd.Short + `, of several that share their state in etcd.

The leader hands over at once, for example before its machine is restarted.
Nodes keep running, and a deployment or rolling restart continues under the new
leader. The command ends when another controller leads. It fails if no other
controller stands by.

The JSON has the keys leader (name, version, clients, agents and http, which are
addresses, leads, since and behind) and term.` + jsonHelp
	return cmd
}

// awaitLeader waits for the leader of a later term.
func (r *run) awaitLeader(ctx context.Context, c *client.Client, term uint64) (zeekapi.Status, error) {
	deadline := time.Now().Add(stepDownWait)
	for {
		s, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
		switch {
		case err == nil && s.Term > term && len(s.Controllers) > 0 && s.Controllers[0].Leads:
			return s, nil
		case ctx.Err() != nil:
			return s, ctx.Err()
		case time.Now().After(deadline):
			return s, r.fail("no other controller leads after %s; see status", stepDownWait)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// controllerView is the JSON of one of several controllers.
type controllerView struct {
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Clients *string    `json:"clients"`
	Agents  *string    `json:"agents"`
	Leads   bool       `json:"leads"`
	Since   *time.Time `json:"since"`
	Behind  uint64     `json:"behind"`
	HTTP    *string    `json:"http"`
}

func newControllerView(m zeekapi.ControllerMember) controllerView {
	return controllerView{m.Name, m.Version, orNull(m.Clients), orNull(m.Agents), m.Leads, orNullTime(m.Since), m.Behind, orNull(m.HTTP)}
}

// controllerName returns the name of one of several controllers, with its address.
func controllerName(m zeekapi.ControllerMember) string {
	if m.Clients == "" {
		return m.Name
	}
	return m.Name + " at " + m.Clients
}

// memberLines describes several controllers, one a line.
func memberLines(s zeekapi.Status, now time.Time) []terminal.Line {
	var lines []terminal.Line
	for _, m := range s.Controllers {
		key, text := "Stands by", controllerName(m)
		if m.Leads {
			key = "Leads"
		}
		if !m.Since.IsZero() {
			text += ", for " + since(m.Since, now)
		}
		if m.Behind > 0 {
			text += fmt.Sprintf(", %s behind", plural(int(m.Behind), "change"))
		}
		lines = append(lines, terminal.Line{{Text: fmt.Sprintf("%-12s", key), Style: terminal.Strong}, cell(text)})
	}
	if !s.AsOf.IsZero() {
		text := fmt.Sprintf("the stored state, as of %s, because this controller stands by; the states of nodes are unknown", ago(s.AsOf, now))
		lines = append(lines, terminal.Line{{Text: fmt.Sprintf("%-12s", "Shown"), Style: terminal.Strong}, {Text: text, Style: terminal.Warn}})
	}
	return lines
}
