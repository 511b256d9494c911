package clientcmd

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) deployConfig() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy-config FILE", "Upload a cluster configuration and deploy it",
		func(ctx context.Context, r *run, args []string) error {
			config, err := r.readConfig(ctx, args[0], o.teardown || o.dryRun)
			if err != nil {
				return err
			}
			c, err := r.connectToDeployConfig(ctx, o, config)
			if err != nil {
				return err
			}
			defer c.Close()
			if o.dryRun {
				return r.dryRun(ctx, c, config)
			}
			if err := r.preflight(ctx, c, config, o.options.Force); err != nil {
				return err
			}
			return r.upload(ctx, c, config, o)
		})
	cmd.Long = cmd.Short + "." + fileHelp
	t.addDeployFlags(cmd, &o)
	t.addSiteFlag(cmd)
	t.addTeardownFlag(cmd, &o.teardown)
	return cmd
}

// upload uploads a configuration and deploys it.
func (r *run) upload(ctx context.Context, c *client.Client, config zeekapi.Configuration, o deployOptions) error {
	if !c.Has(zeekapi.StageConfigurationRequest{}) {
		// In this dialect, one request uploads and deploys.
		return r.deployWith(ctx, c, "Deploying", noteFor(config), config.Nodes, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
			return c.SetConfiguration(ctx, config)
		})
	}
	staged, err := r.stage(ctx, c, config)
	if err != nil {
		return err
	}
	if len(staged.Errors) > 0 {
		if err := r.showStaged(staged); err != nil {
			return err
		}
		return &ExitError{Code: 1}
	}
	return r.deployStaged(ctx, c, config, o)
}

// noteFor returns the note of showDeployment for a configuration.
func noteFor(config zeekapi.Configuration) string {
	if len(config.Nodes) == 0 {
		return noCluster
	}
	return noNode
}

func (t *Tool) deploy() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy", "Deploy the staged cluster configuration",
		func(ctx context.Context, r *run, _ []string) error {
			c, err := r.connectToDeploy(ctx, o)
			if err != nil {
				return err
			}
			defer c.Close()
			if o.dryRun {
				return r.dryRunStaged(ctx, c)
			}
			var config zeekapi.Configuration
			if t.Extended && c.Has(zeekapi.GetConfigurationRequest{}) {
				config, err = askOn(ctx, r, c, getConfiguration(false))
				if _, none := refusal(err); err != nil && !none {
					return requestError(err, "configuration")
				}
				if err := r.preflight(ctx, c, config, o.options.Force); err != nil {
					return err
				}
			}
			return r.deployStaged(ctx, c, config, o)
		})
	t.addDeployFlags(cmd, &o)
	return cmd
}

// deployOptions are the options of deploy and deploy-config that zeek-client does
// not have.
type deployOptions struct {
	dryRun, check bool
	teardown      bool // accept a configuration without nodes
	options       zeekapi.DeployOptions
}

func (t *Tool) addDeployFlags(cmd *cobra.Command, o *deployOptions) {
	if !t.Extended {
		return
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show the changes, as diff does, and deploy nothing")
	cmd.Flags().BoolVar(&o.options.Force, "force", false, "restart all nodes, including unchanged ones")
	usage.Exclude(cmd, "dry-run", "force")
}

// connectToDeploy returns a client for a deployment or a restart.
func (r *run) connectToDeploy(ctx context.Context, o deployOptions) (*client.Client, error) {
	switch {
	case o.dryRun:
		return r.connectExtended(ctx, "dry runs")
	case o.options != (zeekapi.DeployOptions{}):
		return r.connectExtended(ctx, "such options of deployments")
	case r.tool.Extended:
		return r.connectAll(ctx) // for the status and the events of zeekwire's controller
	}
	return r.connect(ctx)
}

// connectToDeployConfig is connectToDeploy for a configuration from a file, whose
// site it uploads, except for a dry run.
func (r *run) connectToDeployConfig(ctx context.Context, o deployOptions, config zeekapi.Configuration) (*client.Client, error) {
	connect := func() (*client.Client, error) { return r.connectToDeploy(ctx, o) }
	if o.dryRun {
		return connect()
	}
	return r.connectFor(ctx, config, connect)
}

// noNode describes a successful deployment that started no node.
const noNode = "No node had to start."

// deployStaged deploys the staged configuration, which is config or not known.
func (r *run) deployStaged(ctx context.Context, c *client.Client, config zeekapi.Configuration, o deployOptions) error {
	call := (*client.Client).Deploy
	if o.options != (zeekapi.DeployOptions{}) {
		call = func(c *client.Client, ctx context.Context) (client.DeployResult, error) {
			return c.DeployStaged(ctx, o.options)
		}
	}
	return r.deployWith(ctx, c, "Deploying", noteFor(config), config.Nodes, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
		return call(c, ctx)
	})
}

// getConfiguration returns a call for the deployed or the staged configuration.
func getConfiguration(deployed bool) func(context.Context, *client.Client) (zeekapi.Configuration, error) {
	return func(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
		return c.GetConfiguration(ctx, deployed)
	}
}

// deployWith makes a call that deploys, and shows its progress and its result. The
// title and the nodes are those of showProgress, the note is that of showDeployment.
func (r *run) deployWith(ctx context.Context, c *client.Client, title, note string, nodes []zeekapi.Node,
	call func(context.Context, *client.Client) (client.DeployResult, error),
) error {
	stop := r.showProgress(ctx, c, title, nodes)
	d, err := askOn(ctx, r, c, call)
	stop()
	r.reportInterrupted(ctx)
	if err != nil {
		return requestError(err, "deployment")
	}
	return r.showDeployment(d, note)
}

// reportInterrupted reports, after an interrupt, that the controller continues the
// request.
func (r *run) reportInterrupted(ctx context.Context) {
	if ctx.Err() != nil && r.tool.Extended {
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
			c, err := r.connectExtended(ctx, "rolling back")
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

// showDeployment prints the result of a deployment. In place of an empty table, the
// note describes a successful deployment that started no node.
func (r *run) showDeployment(d client.DeployResult, note string) error {
	for _, result := range d.Strange {
		r.warning("skipping unexpected response (success %t, error %q, node %q)", result.Success, result.Error, result.Node)
	}
	type shown struct {
		Success  bool    `json:"success"`
		Instance string  `json:"instance"`
		Stdout   *string `json:"stdout,omitempty"`
		Stderr   *string `json:"stderr,omitempty"`
	}
	out := newReport()
	for _, text := range d.Errors {
		out.Errors = append(out.Errors, text)
	}
	if d.ID != "" {
		out.Results["id"] = d.ID
	}
	if len(d.Nodes) > 0 {
		nodes := map[string]shown{}
		for _, n := range d.Nodes {
			s := shown{Success: n.Success, Instance: n.Instance}
			if n.Outputs != nil {
				s.Stdout, s.Stderr = &n.Outputs.Stdout, &n.Outputs.Stderr
			}
			nodes[n.Node] = s
		}
		out.Results["nodes"] = nodes
	}
	if len(d.Remarks) > 0 && r.tool.Extended {
		out.Results["remarks"] = remarkViews(d)
	}
	if err := r.present(out, func() []terminal.Line { return r.deploymentTable(d, out, note) }); err != nil {
		return err
	}
	return failIf(d.Failed)
}
