package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// follow waits for the end of a deployment that the controller continues after its
// response, and replaces the response by the outcome. The ID is that of the
// configuration, "" if it is not known. The channel reports that a deployment ended.
func (d *deployer) follow(ctx context.Context, shown *deploymentOutput, id string, ended <-chan struct{}) error {
	over := time.After(d.wait)
	entry, err := d.entry(ctx, 0)
	for err == nil && entry.Outcome == zeekapi.OutcomePending && (id == "" || entry.Config == id) {
		select {
		case <-ended:
		case <-time.After(pollPause):
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			shown.Errors = append(shown.Errors, fmt.Sprintf("deployment %d is still pending after %s; see status, or wait longer with --wait", entry.Number, d.wait))
			shown.entry = &entry
			return nil
		}
		entry, err = d.entry(ctx, entry.Number)
	}
	switch _, refused := refusal(err); {
	case refused || err == nil && id != "" && entry.Config != id:
		return nil // the history tells nothing about it
	case err != nil:
		return d.lostSight(ctx, err)
	}
	shown.entry = &entry
	shown.DeployResult, err = d.outcome(ctx, shown.DeployResult, entry)
	return err
}

// recover reconnects after the connection was lost before there was a response. If the
// controller has begun the deployment, the response is that it continues. The ID is that
// of the configuration, "" if it is not known, and before the number of the last
// deployment before.
func (d *deployer) recover(ctx context.Context, shown *deploymentOutput, id string, before uint64, lost error) error {
	if err := d.reconnect(ctx, lost); err != nil {
		return err
	}
	last, err := askAgain(ctx, d.session, func(ctx context.Context, c *client.Client) ([]zeekapi.Deployment, error) {
		return c.History(ctx, 1)
	})
	switch {
	case err != nil:
		return err
	case len(last) == 0 || last[0].Number <= before || id != "" && last[0].Config != id:
		return fmt.Errorf("%w; the controller had not begun the deployment, run the command again", lost)
	}
	shown.Continues = true
	return nil
}

// lostSight returns the error of a command that cannot follow its deployment.
func (d *deployer) lostSight(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		d.error("stopped waiting; the controller continues the deployment, see history")
	}
	return err
}

// entry returns an entry of the history, the last one if the number is 0.
func (d *deployer) entry(ctx context.Context, number uint64) (zeekapi.Deployment, error) {
	for limit := uint64(1); ; limit = 0 {
		all, err := askAgain(ctx, d.session, func(ctx context.Context, c *client.Client) ([]zeekapi.Deployment, error) {
			return c.History(ctx, limit)
		})
		if err != nil {
			return zeekapi.Deployment{}, err
		}
		i := slices.IndexFunc(all, func(x zeekapi.Deployment) bool { return number == 0 || x.Number == number })
		switch {
		case i >= 0:
			return all[i], nil
		case limit == 0:
			return zeekapi.Deployment{}, fmt.Errorf("deployment %d is no longer in the history", number)
		}
	}
}

// outcome returns the result of a deployment that has ended.
func (d *deployer) outcome(ctx context.Context, first client.DeployResult, entry zeekapi.Deployment) (client.DeployResult, error) {
	result := client.DeployResult{
		Remarks: first.Remarks, Errors: entry.Errors,
		Failed: entry.Outcome != zeekapi.OutcomeDeployed, Refused: entry.Outcome == zeekapi.OutcomeRefused,
	}
	switch entry.Outcome {
	case zeekapi.OutcomeDeployed, zeekapi.OutcomeFailed:
		result.ID = entry.Config
		var err error
		result.Nodes, err = d.deployedNodes(ctx)
		return result, err
	case zeekapi.OutcomeSuperseded:
		result.Errors = append(result.Errors, "a newer deployment has taken its place")
	case zeekapi.OutcomeLost:
		if len(result.Errors) == 0 {
			result.Errors = []string{"the controller ended before the deployment, see status"}
		}
	}
	return result, nil
}

// deployedNodes returns the nodes of the cluster as those of a deployment.
func (d *deployer) deployedNodes(ctx context.Context) ([]client.DeployedNode, error) {
	status, err := askAgain(ctx, d.session, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
	if err != nil {
		return nil, requestError(err, "status")
	}
	var nodes []client.DeployedNode
	for _, i := range sortedStatus(status).Instances {
		if i.Wanted && !i.Drained {
			nodes = append(nodes, deployedNodesOf(i)...)
		}
	}
	return nodes, nil
}

// deployedNodesOf returns the nodes of an instance as those of a deployment, without those
// that stay stopped.
func deployedNodesOf(i zeekapi.InstanceStatus) []client.DeployedNode {
	var nodes []client.DeployedNode
	for _, n := range i.Nodes {
		if n.StoppedBy == "" {
			nodes = append(nodes, client.DeployedNode{
				Node: n.Status.Node, Instance: i.Instance.Name, Success: n.Status.State == zeekapi.StateRunning, Error: n.LastError,
			})
		}
	}
	return nodes
}

// stillStarting is what agents of zeekwire report about a node that has failed only
// because it took too long to start.
const stillStarting = "still starting"

// printHint prints how to proceed after a deployment that was refused, or whose nodes
// took too long to start.
func (d *deployer) printHint(result client.DeployResult) {
	slow := slices.ContainsFunc(result.Errors, func(text string) bool { return strings.Contains(text, stillStarting) }) ||
		slices.ContainsFunc(result.Nodes, func(n client.DeployedNode) bool {
			return n.Error == stillStarting || n.Outputs != nil && n.Outputs.Stderr == stillStarting
		})
	switch {
	case !d.tool.Extended:
	case result.Refused && !d.sent.Partial:
		d.log(showErrors, "hint", "--partial deploys what passes the check, --force skips the check")
	case !slow:
	case !d.ours:
		d.log(showErrors, "hint", "nodes are still starting; raise the request timeouts of the controller and of the agents, and client.request_timeout_secs")
	case !result.Continues:
		d.log(showErrors, "hint", "nodes have taken longer to start than the controller allows; raise its setting start-limit")
	}
}
