package clientcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) drain() *cobra.Command {
	cmd := t.drainCommand("drain INSTANCE", "Stop the nodes of an instance until it is undrained",
		"Draining", "Drained %s: no node is running.", (*client.Client).Drain)
	cmd.Long = cmd.Short + `.

The configuration of the cluster does not change. The command ends when all
nodes have stopped. After 15 seconds it ends with an error that names the nodes
that are still stopping; run drain again to wait for them. An instance that is
not connected gets no nodes when it returns, or when it joins the cluster, so
that a deployment need not wait for it. The output is the same as for deploy.`
	return cmd
}

func (t *Tool) undrain() *cobra.Command {
	cmd := t.drainCommand("undrain INSTANCE", "Start the nodes of a drained instance again",
		"Undraining", "%s had no nodes to start.", (*client.Client).Undrain)
	cmd.Long = cmd.Short + `.

The output is the same as for deploy.`
	return cmd
}

// drainCommand returns a command that makes a call for one instance and shows
// the resulting deployment. The note is printed if no node had to start.
func (t *Tool) drainCommand(use, short, title, note string,
	call func(*client.Client, context.Context, string) (client.DeployResult, error),
) *cobra.Command {
	return t.command(use, short, func(ctx context.Context, r *run, args []string) error {
		c, err := r.connectExtended(ctx, "draining instances")
		if err != nil {
			return err
		}
		defer c.Close()
		return r.deployWith(ctx, c, title, fmt.Sprintf(note, args[0]), func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
			return call(c, ctx, args[0])
		})
	})
}
