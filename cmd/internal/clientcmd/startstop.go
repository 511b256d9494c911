package clientcmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// nodeResultHelp describes the JSON of stop and start.
const nodeResultHelp = `

The JSON has the keys errors, a list, and results, by node, each with success,
instance and error. The exit code is 1 if a node is not as requested.`

func (t *Tool) stop() *cobra.Command {
	cmd := t.stopCommand("stop [NODE...]", "Stop nodes until they are started", "Stopping", true)
	cmd.Long = cmd.Short + `.

The configuration of the cluster does not change. A stopped node stays stopped
after deployments, also of a changed configuration, and after restarts of its
agent and of the controller. Rolling restarts and restarts leave it out. status
shows the client that stopped it, and the time. A deployment of a configuration
without the node ends this state. A node whose agent is not connected stops when
the agent reconnects.

The command ends when the nodes have stopped. After 15 seconds it ends with an
error for those that are still stopping; run stop again to wait for them. Nodes
cannot be stopped during a deployment, or if their agent is Zeek's own.` + nodeResultHelp + reconnectHelp + jsonHelp
	t.addSelection(cmd)
	return cmd
}

func (t *Tool) start() *cobra.Command {
	cmd := t.stopCommand("start [NODE...]", "Start nodes that were stopped", "Starting", false)
	cmd.Long = cmd.Short + `.

With --all, those that are not stopped are left out. The command ends when the
nodes run, with an error for those that fail. After 15 seconds it ends with an
error for those that are still starting; run start again to wait for them.` + nodeResultHelp + reconnectHelp + jsonHelp
	t.addSelection(cmd)
	return cmd
}

// stopCommand returns a command that stops or starts nodes.
func (t *Tool) stopCommand(use, short, title string, stop bool) *cobra.Command {
	var all bool
	cmd := t.command(use, short, func(ctx context.Context, r *run, args []string) error {
		q, err := t.query(args)
		switch {
		case err != nil:
			return r.misuse("%v", err)
		case all != q.All():
			return r.misuse("want either nodes or --all")
		}
		c, selected, err := r.connectForNodes(ctx, "stopping single nodes", args)
		if err != nil {
			return err
		}
		s := &session{run: r, client: c, work: "the request", limit: r.timeout}
		defer s.close()
		p := newProgress(title, withNames(selected))
		p.stops = stop
		end := r.showProgress(ctx, c, p, nil)
		results, err := askAgain(ctx, s, func(ctx context.Context, c *client.Client) ([]zeekapi.Result, error) {
			switch {
			case stop && all:
				return c.StopAll(ctx)
			case stop:
				return c.Stop(ctx, selected...)
			case all:
				return c.StartAll(ctx)
			}
			return c.Start(ctx, selected...)
		})
		end()
		r.reportInterrupted(ctx)
		if err != nil {
			return err
		}
		return r.showNodeResults(results, strings.ToUpper(use[:strings.IndexByte(use, ' ')]))
	})
	cmd.Flags().BoolVar(&all, "all", false, "all nodes of the cluster")
	return cmd
}

// showNodeResults prints results of nodes, and returns the error of the command.
func (r *run) showNodeResults(results []zeekapi.Result, title string) error {
	type shown struct {
		Success  bool    `json:"success"`
		Instance *string `json:"instance"`
		Error    *string `json:"error"`
	}
	out := newReport()
	t := &terminal.Table{Header: []string{"INSTANCE", "NODE", title}}
	failed := false
	for _, res := range results {
		failed = failed || !res.Success
		if res.Node == "" {
			out.addError(res.Instance, res.Error)
			continue
		}
		out.Results[res.Node] = shown{res.Success, orNull(res.Instance), orNull(res.Error)}
		t.Add(cell(res.Instance), cell(res.Node), successCell(res.Success, res.Error))
	}
	err := r.present(out, func() []terminal.Line {
		lines := reportErrorLines(out)
		if t.Len() > 0 {
			return append(t.Lines(r.screen), lines...)
		}
		if len(lines) == 0 {
			return []terminal.Line{terminal.Text("No node is stopped.")}
		}
		return lines
	})
	if err != nil {
		return err
	}
	return failIf(failed)
}
