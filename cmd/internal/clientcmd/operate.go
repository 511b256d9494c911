package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// operations returns the commands that zeek-client does not have.
func (t *Tool) operations() []*cobra.Command {
	return []*cobra.Command{
		t.status(), t.watch(), t.diff(), t.history(), t.rollback(), t.rollingRestart(),
		t.drain(), t.undrain(), t.logs(), t.events(),
	}
}

// connectAll returns a client that also speaks the dialect of package
// operations and hears events. The caller must close it.
func (r *run) connectAll(ctx context.Context) (*client.Client, error) {
	return r.connect(ctx, operations.Dialect(operations.DefaultTopics))
}

// operate is connectAll to a controller that must be able to do something that
// Zeek's cannot.
func (r *run) operate(ctx context.Context, what string) (*client.Client, error) {
	c, err := r.connectAll(ctx)
	if err != nil {
		return nil, err
	}
	_, err = askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (struct{}, error) {
		return struct{}{}, c.Probe(ctx)
	})
	if err == nil {
		return c, nil
	}
	c.Close()
	if errors.Is(err, client.ErrUnsupported) {
		return nil, r.fail("the controller %s knows nothing of %s: it is Zeek's own, or an old one of zeekwire", r.remote(), what)
	}
	return nil, err
}

// askOperation connects, makes one call that only zeekwire's controller knows,
// and disconnects.
func askOperation[T any](ctx context.Context, r *run, what string, call func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := r.operate(ctx, what)
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	v, err := askOn(ctx, r, c, call)
	if err != nil {
		err = plain(err, what)
	}
	return v, err
}

// deployOptions are how deploy and deploy-config of zeekwire differ from those
// of zeek-client.
type deployOptions struct {
	dryRun, check bool
	options       zeekapi.DeployOptions
}

func (t *Tool) addDeployFlags(cmd *cobra.Command, o *deployOptions) {
	if !t.People {
		return
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show the changes, as diff does, and deploy nothing")
	cmd.Flags().BoolVar(&o.options.Force, "force", false, "restart all nodes, including unchanged ones")
	usage.Exclude(cmd, "dry-run", "force")
}

// connectToDeploy returns the client that a deployment or a restart needs.
func (r *run) connectToDeploy(ctx context.Context, o deployOptions) (*client.Client, error) {
	switch {
	case o.dryRun:
		return r.operate(ctx, "dry runs")
	case o.options != (zeekapi.DeployOptions{}):
		return r.operate(ctx, "such options of deployments")
	case r.progress != nil:
		return r.connectAll(ctx) // for the events, if there are any
	}
	return r.connect(ctx)
}

// noNode is what people are told of a deployment that changed no node.
const noNode = "No node had to start."

// deployStaged deploys the staged configuration.
func (r *run) deployStaged(ctx context.Context, c *client.Client, o deployOptions) error {
	var nodes []zeekapi.Node
	if r.progress != nil {
		if config, err := askOn(ctx, r, c, getConfiguration(false)); err == nil {
			nodes = config.Nodes
		}
	}
	call := (*client.Client).Deploy
	if o.options != (zeekapi.DeployOptions{}) {
		call = func(c *client.Client, ctx context.Context) (client.DeployResult, error) {
			return c.DeployStaged(ctx, o.options)
		}
	}
	return r.deployWith(ctx, c, "Deploying", noNode, nodes, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
		return call(c, ctx)
	})
}

func getConfiguration(deployed bool) func(context.Context, *client.Client) (zeekapi.Configuration, error) {
	return func(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
		return c.GetConfiguration(ctx, deployed)
	}
}

// deployWith makes a call that deploys, shows its progress and its outcome. The
// note is for people if all went well and no node had to start.
func (r *run) deployWith(ctx context.Context, c *client.Client, title, note string, nodes []zeekapi.Node,
	call func(context.Context, *client.Client) (client.DeployResult, error),
) error {
	stop := r.follow(ctx, c, title, nodes)
	d, err := askOn(ctx, r, c, call)
	stop()
	r.sayInterrupted(ctx)
	if err != nil {
		return plain(err, "deployment")
	}
	return r.showDeployment(d, note)
}

// sayInterrupted tells people that what was asked for goes on although nobody
// waits for it any longer, if that is so.
func (r *run) sayInterrupted(ctx context.Context) {
	if ctx.Err() != nil && r.tool.People {
		r.error("stopped waiting; the controller continues the request, see status")
	}
}

func (t *Tool) rollback() *cobra.Command {
	cmd := t.command("rollback [NUMBER]", "Deploy an earlier configuration again",
		func(ctx context.Context, r *run, args []string) error {
			var number uint64
			if len(args) > 0 {
				var err error
				if number, err = strconv.ParseUint(args[0], 10, 64); err != nil || number == 0 {
					return r.misuse("%q is not the number of a deployment, see history", args[0])
				}
			}
			c, err := r.operate(ctx, "rolling back")
			if err != nil {
				return err
			}
			defer c.Close()
			return r.deployWith(ctx, c, "Rolling back", noNode, nil, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
				return c.Rollback(ctx, number, zeekapi.DeployOptions{})
			})
		})
	cmd.Long = cmd.Short + `.

NUMBER is the number of a deployment in the history. The default is the last
deployed configuration that differs from the current target. The staged
configuration does not change. The output is the same as for deploy.`
	return cmd
}

func (t *Tool) drain() *cobra.Command {
	cmd := t.drainCommand("drain INSTANCE", "Stop the nodes of an instance until it is undrained",
		"Draining", "Drained %s: no node is running.", (*client.Client).Drain)
	cmd.Long = cmd.Short + `.

The configuration of the cluster does not change. The command ends when all
nodes have stopped. After 15 seconds it ends with an error that names the nodes
that are still stopping; run drain again to wait for them. The output is the
same as for deploy.`
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
		c, err := r.operate(ctx, "draining instances")
		if err != nil {
			return err
		}
		defer c.Close()
		return r.deployWith(ctx, c, title, fmt.Sprintf(note, args[0]), nil, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
			return call(c, ctx, args[0])
		})
	})
}
