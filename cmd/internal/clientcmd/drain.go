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
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

func (t *Tool) drain() *cobra.Command {
	cmd := t.drainCommand("drain [INSTANCE...]", "Stop the nodes of instances until they are undrained",
		"Draining", "Drained %s: no node is running.", true)
	cmd.Long = cmd.Short + `.
` + instancesHelp + `

The configuration of the cluster does not change. The command ends when all
nodes have stopped. After 15 seconds it ends with an error that names the nodes
that are still stopping; run drain again to wait for them. An instance that is
not connected gets no nodes when it returns, or when it joins the cluster, so
that a deployment need not wait for it. The output is the same as for deploy.` + reconnectHelp
	return cmd
}

func (t *Tool) undrain() *cobra.Command {
	cmd := t.drainCommand("undrain [INSTANCE...]", "Start the nodes of drained instances again",
		"Undraining", "%s had no nodes to start.", false)
	cmd.Long = cmd.Short + `.
` + instancesHelp + `

The output is the same as for deploy.` + reconnectHelp
	return cmd
}

// instancesHelp describes the arguments of drain and undrain.
const instancesHelp = `
INSTANCE is the name of an instance, a glob such as 'sensor-*', or a pattern
such as 'sensor-[01-40]'. With --group, the command applies to the instances
whose nodes are all in the group. It handles one instance at a time, and ends at
the first one that fails.`

// reconnectHelp describes what commands do that wait for the controller.
const reconnectHelp = `

If the connection is lost, or the controller is restarted, the command
reconnects and shows the outcome.`

// drainCommand returns a command that drains or undrains instances and shows the
// nodes like a deployment. The note is printed if no node had to start.
func (t *Tool) drainCommand(use, short, title, note string, drain bool) *cobra.Command {
	var groups []string
	cmd := t.command(use, short, func(ctx context.Context, r *run, args []string) error {
		if len(args)+len(groups) == 0 {
			return r.misuse("name an instance, or a group with --group")
		}
		c, err := r.connectExtended(ctx, "draining instances")
		if err != nil {
			return err
		}
		d := &drainer{session: &session{run: r, client: c, limit: r.timeout}, drain: drain}
		defer d.close()
		instances, err := r.selectInstances(ctx, c, args, groups)
		if err != nil {
			return err
		}
		stop := d.show(ctx, newProgress(title, nil), nil)
		result, err := d.all(ctx, instances, title)
		stop()
		r.reportInterrupted(ctx)
		if err != nil {
			return requestError(err, "deployment")
		}
		if err := r.showDeployment(deploymentOutput{DeployResult: result, note: fmt.Sprintf(note, strings.Join(instances, ", "))}); err != nil {
			return err
		}
		return failIf(result.Failed)
	})
	cmd.Flags().StringSliceVar(&groups, "group", nil, "the instances of the group `NAME`, see [group NAME] in a cluster file; may be repeated")
	return cmd
}

// selectInstances returns the instances that the arguments of drain and undrain select. If
// they are only names, it returns them unchanged, and the controller decides whether they
// exist.
func (r *run) selectInstances(ctx context.Context, c *client.Client, words, groups []string) ([]string, error) {
	isName := func(word string) bool { return !selection.IsGlob(word) && !selection.IsPattern(word) }
	if len(groups) == 0 && !slices.ContainsFunc(words, func(word string) bool { return !isName(word) }) {
		return words, nil
	}
	matcher, err := selection.NewMatcher(words)
	if err != nil {
		return nil, r.misuse("%v", err)
	}
	config, err := askOn(ctx, r, c, currentConfiguration)
	if err != nil {
		return nil, requestError(err, "configuration")
	}
	var all, chosen []string
	for _, i := range config.Instances {
		all = append(all, i.Name)
		if matcher.Match(i.Name) {
			chosen = append(chosen, i.Name)
		}
	}
	if unused := matcher.Unused(); len(unused) > 0 {
		return nil, withSuggestion(&selection.NotFoundError{Kind: "instance", Word: unused[0], Known: all})
	}
	for _, group := range groups {
		of, err := instancesOf(config, group)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, of...)
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
}

// instancesOf returns the instances of the nodes in a group. It returns an error if another
// node is on one of them, because it would stop, too.
func instancesOf(config zeekapi.Configuration, group string) (instances []string, err error) {
	in := func(n zeekapi.Node) bool { return slices.Contains(n.Groups(), group) }
	for _, n := range config.Nodes {
		if in(n) && !slices.Contains(instances, n.Instance) {
			instances = append(instances, n.Instance)
		}
	}
	if len(instances) == 0 {
		return nil, fmt.Errorf("no node is in the group %q", group)
	}
	for _, n := range config.Nodes {
		if !in(n) && slices.Contains(instances, n.Instance) {
			return nil, fmt.Errorf("%s also has the node %s, which is not in the group %s; name the instances instead", n.Instance, n.Name, group)
		}
	}
	return instances, nil
}

// drainer drains or undrains an instance.
type drainer struct {
	*session
	instance string
	drain    bool
}

// all drains or undrains instances, one after the other, until one fails.
func (d *drainer) all(ctx context.Context, instances []string, title string) (all client.DeployResult, err error) {
	for _, name := range instances {
		d.instance, d.work = name, fmt.Sprintf("the %s of %s", strings.ToLower(title), name)
		result, err := d.result(ctx)
		result.Nodes = slices.Concat(all.Nodes, result.Nodes)
		result.Remarks = slices.Concat(all.Remarks, result.Remarks)
		if all = result; err != nil || result.Failed {
			return all, err
		}
	}
	return all, nil
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
