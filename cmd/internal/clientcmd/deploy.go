package clientcmd

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// defaultWait is the default of --wait. It is longer than nodes may take to start.
const defaultWait = 10 * time.Minute

// deployOptions are the options of deployments that zeek-client does not have.
type deployOptions struct {
	dryRun, check bool
	teardown      bool                  // accept a configuration without nodes
	wait          time.Duration         // for the end of a deployment that takes longer than the request
	sent          zeekapi.DeployOptions // to the controller
}

// changesNothing reports whether the command only shows what a deployment would do.
func (o deployOptions) changesNothing() bool { return o.dryRun || o.check }

// tolerant reports whether the deployment begins although it cannot succeed.
func (o deployOptions) tolerant() bool { return o.sent.Force || o.sent.Partial }

// deployHelp describes deployments in the help of commands that begin one.
const deployHelp = `

Before anything changes, zeekwire's controller has the agents check the
configuration: scripts, interfaces, CPUs and ports. If there is any problem, it
refuses the deployment and lists all problems. If nodes that ran before do not
come up, it deploys the previous configuration again. Zeek's own controller does
neither. For 12 s after the controller has started, or has lost an agent, the
command waits for agents that are not connected.

Nodes that are still starting have not failed. The command waits for the end of
the deployment, at most for the time of --wait. If it is interrupted, the
controller continues.`

// resultHelp describes the JSON output of deployments and checks.
const resultHelp = `

The JSON has the keys errors, a list, and results, with id (of the deployed
configuration), nodes (by name, each with success, instance, error, stdout and
stderr), remarks (a list with instance and text), edited (a list of the nodes
that restarted because their scripts had changed) and deployment (keys as for
history, only if the command waited longer than one request). Keys without a
value are missing.

The exit code is 1 if the deployment is refused, is rolled back or does not end
in time, and if some nodes do not run. With --check, it is 1 if there is any
problem.`

func (t *Tool) deployConfig() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy-config FILE", "Upload a cluster configuration and deploy it",
		func(ctx context.Context, r *run, args []string) error { return r.deployFile(ctx, o, args[0]) })
	cmd.Long = cmd.Short + "." + fileHelp
	t.addDeployFlags(cmd, &o)
	t.addSiteFlag(cmd)
	t.addTeardownFlag(cmd, &o.teardown)
	t.addDeployHelp(cmd)
	return cmd
}

func (t *Tool) deploy() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy", "Deploy the staged cluster configuration",
		func(ctx context.Context, r *run, _ []string) error { return r.deployStaged(ctx, o) })
	t.addDeployFlags(cmd, &o)
	t.addDeployHelp(cmd)
	return cmd
}

func (t *Tool) check() *cobra.Command {
	cmd := t.command("check [FILE]", "Have agents check a configuration (default: the staged one)",
		func(ctx context.Context, r *run, args []string) error {
			if len(args) == 0 {
				return r.deployStaged(ctx, deployOptions{check: true})
			}
			return r.deployFile(ctx, deployOptions{check: true}, args[0])
		})
	cmd.Long = "Have agents check a configuration, the staged one unless FILE is given." + fileHelp + `

The agents check scripts, interfaces, CPUs and ports, as before a deployment.
Nothing changes: the command does what deploy --check and deploy-config --check
do. Zeek's own controller cannot check. Without a controller, use check-config.

The output is that of deploy. The exit code is 1 if there is any problem.`
	t.addSiteFlag(cmd)
	return cmd
}

// deployFile stages the configuration in a file and deploys it, or only shows what a
// deployment would do.
func (r *run) deployFile(ctx context.Context, o deployOptions, path string) error {
	if err := r.checkWait(o); err != nil {
		return err
	}
	config, err := r.readConfig(ctx, path, o.teardown || o.changesNothing())
	if err != nil {
		return err
	}
	d, err := r.connectToDeployConfig(ctx, o, config)
	if err != nil {
		return err
	}
	defer d.close()
	switch {
	case o.dryRun:
		return r.dryRun(ctx, d.client, config)
	case o.check:
		return d.check(ctx, config, true)
	}
	if err := d.preflight(ctx, config); err != nil {
		return err
	}
	return d.upload(ctx, config)
}

// deployStaged deploys the staged configuration, or only shows what a deployment would do.
func (r *run) deployStaged(ctx context.Context, o deployOptions) error {
	if err := r.checkWait(o); err != nil {
		return err
	}
	d, err := r.connectToDeploy(ctx, o)
	if err != nil {
		return err
	}
	defer d.close()
	if o.dryRun {
		return r.dryRunStaged(ctx, d.client)
	}
	config, err := d.staged(ctx)
	switch {
	case err != nil:
		return err
	case o.check:
		return d.check(ctx, config, false)
	}
	if err := d.preflight(ctx, config); err != nil {
		return err
	}
	return d.deployStaged(ctx, config)
}

func (t *Tool) rollback() *cobra.Command {
	var o deployOptions
	cmd := t.command("rollback [NUMBER]", "Deploy an earlier configuration again",
		func(ctx context.Context, r *run, args []string) error {
			var number uint64
			if len(args) > 0 {
				var err error
				if number, err = strconv.ParseUint(args[0], 10, 64); err != nil || number == 0 {
					return r.misuse("%q is not the number of a deployment, see history", args[0])
				}
			}
			if err := r.checkWait(o); err != nil {
				return err
			}
			c, err := r.connectExtended(ctx, "rolling back")
			if err != nil {
				return err
			}
			d := r.newDeployer(o)
			d.client = c
			defer d.close()
			config, err := d.past(ctx, number)
			if err != nil {
				return err
			}
			if err := d.preflight(ctx, config); err != nil {
				return err
			}
			return d.deploy(ctx, "Rolling back", noNode, zeekapi.Configuration{}, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
				return c.Rollback(ctx, number, o.sent)
			})
		})
	cmd.Long = cmd.Short + `.

NUMBER is the number of a deployment in the history. The default is the last
deployed configuration that differs from the current target. The staged
configuration does not change. The output is the same as for deploy.`
	t.addOptionFlags(cmd, &o)
	return cmd
}

// addDeployFlags adds the flags of deploy and deploy-config.
func (t *Tool) addDeployFlags(cmd *cobra.Command, o *deployOptions) {
	if !t.Extended {
		return
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show the changes, as diff does, and deploy nothing")
	cmd.Flags().BoolVar(&o.check, "check", false, "have the agents check the configuration, and deploy nothing")
	t.addOptionFlags(cmd, o)
	for _, name := range []string{"force", "partial", "no-rollback", "wait"} {
		usage.Exclude(cmd, "dry-run", "check", name)
	}
}

// addOptionFlags adds the flags of commands that deploy.
func (t *Tool) addOptionFlags(cmd *cobra.Command, o *deployOptions) {
	cmd.Flags().BoolVar(&o.sent.Force, "force", false, "skip the check, and restart all nodes, including unchanged ones")
	cmd.Flags().BoolVar(&o.sent.Partial, "partial", false, "deploy what passes the check, on the instances whose agents are connected")
	cmd.Flags().BoolVar(&o.sent.NoRollback, "no-rollback", false, "leave a deployment whose nodes do not come up as it is")
	addWaitFlag(cmd, o)
	usage.Exclude(cmd, "force", "partial")
}

func addWaitFlag(cmd *cobra.Command, o *deployOptions) {
	cmd.Flags().DurationVar(&o.wait, "wait", defaultWait, "longest `TIME` to wait for the end of the deployment; 0 waits only for the response to the request")
}

// checkWait checks the value of --wait.
func (r *run) checkWait(o deployOptions) error {
	if o.wait < 0 {
		return r.misuse("--wait %v: want 0 or more", o.wait)
	}
	return nil
}

func (t *Tool) addDeployHelp(cmd *cobra.Command) {
	if t.Extended {
		cmd.Long = cmp.Or(cmd.Long, cmd.Short+".") + deployHelp + resultHelp
	}
}
