package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) drain() *cobra.Command {
	cmd := t.drainCommand("drain INSTANCE", "Stop the nodes of an instance until it is undrained",
		"Draining", "Drained %s: no node is running.", true)
	cmd.Long = cmd.Short + `.

The configuration of the cluster does not change. The command ends when all
nodes have stopped. After 15 seconds it ends with an error that names the nodes
that are still stopping; run drain again to wait for them. An instance that is
not connected gets no nodes when it returns, or when it joins the cluster, so
that a deployment need not wait for it. The output is the same as for deploy.` + reconnectHelp
	return cmd
}

func (t *Tool) undrain() *cobra.Command {
	cmd := t.drainCommand("undrain INSTANCE", "Start the nodes of a drained instance again",
		"Undraining", "%s had no nodes to start.", false)
	cmd.Long = cmd.Short + `.

The output is the same as for deploy.` + reconnectHelp
	return cmd
}

// reconnectHelp describes what commands do that wait for the controller.
const reconnectHelp = `

If the connection is lost, or the controller is restarted, the command
reconnects and shows the outcome.`

// drainCommand returns a command that drains or undrains an instance and shows the
// nodes like a deployment. The note is printed if no node had to start.
func (t *Tool) drainCommand(use, short, title, note string, drain bool) *cobra.Command {
	return t.command(use, short, func(ctx context.Context, r *run, args []string) error {
		c, err := r.connectExtended(ctx, "draining instances")
		if err != nil {
			return err
		}
		d := &drainer{
			session:  &session{run: r, client: c, work: fmt.Sprintf("the %s of %s", strings.ToLower(title), args[0]), limit: r.timeout},
			instance: args[0], drain: drain,
		}
		defer d.close()
		stop := d.show(ctx, newProgress(title, nil), nil)
		result, err := d.result(ctx)
		stop()
		r.reportInterrupted(ctx)
		if err != nil {
			return requestError(err, "deployment")
		}
		if err := r.showDeployment(deploymentOutput{DeployResult: result, note: fmt.Sprintf(note, args[0])}); err != nil {
			return err
		}
		return failIf(result.Failed)
	})
}

// drainer drains or undrains an instance.
type drainer struct {
	*session
	instance string
	drain    bool
}

// result makes the request. After a lost connection it makes the request again, unless
// the instance is undrained already, as soon as the agent is connected again: only then
// does the controller know which nodes run.
func (d *drainer) result(ctx context.Context) (client.DeployResult, error) {
	for {
		result, err := askOn(ctx, d.run, d.client, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
			if d.drain {
				return c.Drain(ctx, d.instance)
			}
			return c.Undrain(ctx, d.instance)
		})
		if !isLost(err) || ctx.Err() != nil {
			return result, err
		}
		if err := d.reconnect(ctx, err); err != nil {
			return result, err
		}
		if undrained, err := d.settle(ctx); undrained != nil || err != nil {
			return *undrained, err
		}
	}
}

// settle waits for the agent, at most for the timeout of a request. It returns the result
// of an undrain that the controller has begun, and nil if the request has to be repeated.
func (d *drainer) settle(ctx context.Context) (*client.DeployResult, error) {
	for end := time.Now().Add(d.timeout); ; {
		status, err := askAgain(ctx, d.session, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
		if err != nil {
			return new(client.DeployResult), err
		}
		over := !time.Now().Before(end)
		i := slices.IndexFunc(status.Instances, func(i zeekapi.InstanceStatus) bool { return i.Instance.Name == d.instance })
		switch {
		case i < 0, d.drain || status.Instances[i].Drained:
			if over || i >= 0 && status.Instances[i].Connected {
				return nil, nil
			}
		default:
			result := undrained(status.Instances[i])
			if over || !result.Failed && len(result.Nodes) > 0 {
				return &result, nil
			}
		}
		if !sleep(ctx, pollPause) {
			return new(client.DeployResult), context.Cause(ctx)
		}
	}
}

// undrained returns the result of an undrain.
func undrained(i zeekapi.InstanceStatus) client.DeployResult {
	result := client.DeployResult{Nodes: deployedNodesOf(i)}
	if !i.Connected {
		result.Errors = []string{"agent not connected, the instance gets its nodes when it returns"}
	}
	result.Failed = !i.Connected || slices.ContainsFunc(result.Nodes, func(n client.DeployedNode) bool { return !n.Success })
	return result
}
