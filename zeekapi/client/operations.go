package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The calls in this file need a client that has the dialect of package
// operations, which only zeekwire's controller speaks.

// ErrUnsupported is wrapped by errors of Probe and of the calls for sites: the
// controller answers, but
// does not speak the dialect of package operations. It is Zeek's own, or an
// old one of ours.
var ErrUnsupported = errors.New("the controller does not know this request")

// probeGrace is how long Probe waits for an answer before it asks something
// that every controller knows. Ours answers at once.
const probeGrace = 200 * time.Millisecond

// Probe finds out whether the controller speaks the dialect of package
// operations. Controllers of Zeek before 8.0.3 are silent when they do not
// understand; as controllers answer in order, one that answers a later request
// has not understood the earlier one. Over HTTP, there is no order, but every
// controller with an HTTP API speaks the dialect, as does every one that stands by.
func (c *Client) Probe(ctx context.Context) error {
	at := c.link.Load()
	if at.extended {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Events(ctx, 0, 1)
		answered <- err
	}()
	select {
	case err := <-answered:
		return supported(err)
	case <-time.After(probeGrace):
	}
	_, err := c.GetInstances(ctx)
	var refused *RefusedError
	switch {
	case c.link.Load() != at: // the controller stood by
		return nil
	case err == nil || errors.As(err, &refused):
		err = ErrUnsupported
	}
	cancel(err) // unless it is answered by now, the request never will
	return supported(<-answered)
}

// supported interprets the outcome of a request that the controller may not
// know.
func supported(err error) error {
	var refused *RefusedError
	switch {
	case errors.As(err, &refused): // by a controller that understood it
		return nil
	case errors.Is(err, ErrUnsupported):
		return fmt.Errorf("client: %w", ErrUnsupported)
	}
	return unsupported(err)
}

// unsupported returns an error that wraps ErrUnsupported if err is the complaint of
// a server about a request that it does not know, and err otherwise.
func unsupported(err error) error {
	var complaint jsonv1.Error // of Zeek 8.0.3 and later
	if errors.As(err, &complaint) && complaint.Code == jsonv1.CodeDeserializationFailed {
		return fmt.Errorf("client: %w", ErrUnsupported)
	}
	return err
}

// Status returns the cluster in one view.
func (c *Client) Status(ctx context.Context) (zeekapi.Status, error) {
	return data[zeekapi.Status](ctx, c, zeekapi.StatusCall, zeekapi.StatusRequest{})
}

// DryRun returns what deploying a configuration would change. A *RefusedError
// has the errors in it.
func (c *Client) DryRun(ctx context.Context, config zeekapi.Configuration) (zeekapi.Diff, error) {
	return data[zeekapi.Diff](ctx, c, zeekapi.DryRunCall, zeekapi.DryRunRequest{Config: config})
}

// DeployStaged is Deploy with options.
func (c *Client) DeployStaged(ctx context.Context, o zeekapi.DeployOptions) (DeployResult, error) {
	return c.DeployConfiguration(ctx, "", o)
}

// DeployConfiguration is DeployStaged for the configuration with the given ID. The
// controller refuses to deploy another, which someone else may have staged since; it
// does not if the ID is empty, or if the server says that the controller does not know
// IDs: then it is a development version before 0.9.
func (c *Client) DeployConfiguration(ctx context.Context, id string, o zeekapi.DeployOptions) (DeployResult, error) {
	r, err := deploy(ctx, c, zeekapi.DeployStagedCall, zeekapi.DeployStagedRequest{DeployOptions: o, Config: id})
	if id != "" && errors.Is(unsupported(err), ErrUnsupported) {
		return c.DeployStaged(ctx, o)
	}
	return r, err
}

// CheckTimeout is a timeout for Check. The controller limits checks to two minutes.
const CheckTimeout = 150 * time.Second

// Check asks the agents whether a configuration could run, the staged one if
// config is nil. Nothing changes. See CheckTimeout.
func (c *Client) Check(ctx context.Context, config *zeekapi.Configuration) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.CheckCall, zeekapi.CheckRequest{Config: config})
}

// History returns the last deployments, the newest first: at most limit, or as
// many as the controller keeps if that is 0.
func (c *Client) History(ctx context.Context, limit uint64) ([]zeekapi.Deployment, error) {
	return data[[]zeekapi.Deployment](ctx, c, zeekapi.HistoryCall, zeekapi.HistoryRequest{Limit: limit})
}

// PastConfiguration returns the configuration of a deployment.
func (c *Client) PastConfiguration(ctx context.Context, number uint64) (zeekapi.Configuration, error) {
	return data[zeekapi.Configuration](ctx, c, zeekapi.GetPastCall, zeekapi.GetPastRequest{Number: number})
}

// Rollback deploys the configuration of an earlier deployment; 0 stands for the
// last one that differs from what should run now.
func (c *Client) Rollback(ctx context.Context, number uint64, o zeekapi.DeployOptions) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.RollbackCall, zeekapi.RollbackRequest{Number: number, DeployOptions: o})
}

// Drain stops the nodes of an instance and waits until they have stopped. They
// stay stopped until Undrain. The configuration does not change.
func (c *Client) Drain(ctx context.Context, instance string) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.DrainCall, zeekapi.DrainRequest{Instance: instance, Drain: true})
}

// Undrain starts the nodes of a drained instance again.
func (c *Client) Undrain(ctx context.Context, instance string) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.DrainCall, zeekapi.DrainRequest{Instance: instance})
}

// Stop stops nodes and waits until they have stopped. They stay stopped until Start. There
// is a result for each node.
func (c *Client) Stop(ctx context.Context, nodes ...string) ([]zeekapi.Result, error) {
	return c.stop(ctx, zeekapi.StopRequest{Nodes: nodes, Stop: true})
}

// StopAll is Stop for all nodes.
func (c *Client) StopAll(ctx context.Context) ([]zeekapi.Result, error) {
	return c.stop(ctx, zeekapi.StopRequest{All: true, Stop: true})
}

// Start starts nodes that were stopped and waits until they run. There is a result for
// each node.
func (c *Client) Start(ctx context.Context, nodes ...string) ([]zeekapi.Result, error) {
	return c.stop(ctx, zeekapi.StopRequest{Nodes: nodes})
}

// StartAll is Start for all nodes that are stopped.
func (c *Client) StartAll(ctx context.Context) ([]zeekapi.Result, error) {
	return c.stop(ctx, zeekapi.StopRequest{All: true})
}

func (c *Client) stop(ctx context.Context, req zeekapi.StopRequest) ([]zeekapi.Result, error) {
	all, err := results(ctx, c, zeekapi.StopCall, req)
	return sortedResults(all), unsupported(err)
}

// RollingRestart begins to restart nodes, all if none is named, those of some
// roles if there are any, so many at once. It returns when the controller has
// begun.
func (c *Client) RollingRestart(ctx context.Context, nodes []string, roles []zeekapi.ClusterRole, atOnce uint64) (zeekapi.Job, error) {
	return data[zeekapi.Job](ctx, c, zeekapi.RollingRestartCall, zeekapi.RollingRestartRequest{Nodes: nodes, Roles: roles, AtOnce: atOnce})
}

// CancelJob ends the current job after the nodes that it is restarting.
func (c *Client) CancelJob(ctx context.Context) (zeekapi.Job, error) {
	return data[zeekapi.Job](ctx, c, zeekapi.CancelJobCall, zeekapi.CancelJobRequest{})
}

// Events returns events that the controller kept, the oldest first: those
// after a number, and of these at most the last limit, or all if that is 0.
func (c *Client) Events(ctx context.Context, after, limit uint64) ([]zeekapi.ClusterEvent, error) {
	return data[[]zeekapi.ClusterEvent](ctx, c, zeekapi.EventsCall, zeekapi.EventsRequest{After: after, Limit: limit})
}

// StepDown makes the leader of several controllers hand over, and returns the controllers
// before that. It returns when the controller begins to do so.
func (c *Client) StepDown(ctx context.Context) ([]zeekapi.ControllerMember, error) {
	return data[[]zeekapi.ControllerMember](ctx, c, zeekapi.StepDownCall, zeekapi.StepDownRequest{})
}

// Alerts returns the present alerts, and the channels of the controller.
func (c *Client) Alerts(ctx context.Context) (zeekapi.Alerts, error) {
	return data[zeekapi.Alerts](ctx, c, zeekapi.AlertsCall, zeekapi.AlertsRequest{})
}

// TestAlerts makes the controller send a test notification by each channel, and returns a
// result for each.
func (c *Client) TestAlerts(ctx context.Context) ([]zeekapi.Result, error) {
	return results(ctx, c, zeekapi.TestAlertsCall, zeekapi.TestAlertsRequest{})
}

// Logs returns the ends of a node's standard output and standard error, at most so
// many bytes of each. With 0, the agent's default limits them. A node that does not
// run may have outputs, too.
func (c *Client) Logs(ctx context.Context, node string, bytes uint64) (zeekapi.NodeLogs, error) {
	return data[zeekapi.NodeLogs](ctx, c, zeekapi.LogsCall, zeekapi.LogsRequest{Node: node, Bytes: bytes})
}

// Diagnose returns the diagnosis of a node by its agent, with at most so many bytes of each
// output and file. With 0, the agent's default limits them.
func (c *Client) Diagnose(ctx context.Context, node string, bytes uint64) (zeekapi.Diagnosis, error) {
	d, err := data[zeekapi.Diagnosis](ctx, c, zeekapi.DiagnoseCall, zeekapi.DiagnoseRequest{Node: node, Bytes: bytes})
	return d, unsupported(err)
}

// Figures returns the measurements of nodes and machines. Those of nodes are not older than
// maxAge, or else the nodes are asked, at most once a second.
func (c *Client) Figures(ctx context.Context, maxAge time.Duration) (zeekapi.Figures, error) {
	return data[zeekapi.Figures](ctx, c, zeekapi.FiguresCall, zeekapi.FiguresRequest{MaxAge: maxAge})
}

// NodeScripts are the scripts that a node has loaded.
type NodeScripts struct {
	Node     string // "" if an instance or the controller answers in its place
	Instance string // "" if the controller answers
	zeekapi.NodeScripts
	Err error // a *RefusedError, or why the answer makes no sense
}

// Scripts returns the scripts that running nodes have loaded: the given nodes, or all if
// none is given. Those of the Zeek installation are left out unless all is set.
func (c *Client) Scripts(ctx context.Context, all bool, nodes ...string) ([]NodeScripts, error) {
	resp, err := Do(ctx, c, zeekapi.ScriptsCall, zeekapi.ScriptsRequest{Nodes: nodes, All: all})
	if err != nil {
		return nil, err
	}
	var list []NodeScripts
	for _, r := range sortedResults(resp.Results) {
		s := NodeScripts{Node: r.Node, Instance: r.Instance}
		s.NodeScripts, s.Err = single[zeekapi.NodeScripts](r)
		list = append(list, s)
	}
	return list, nil
}

// InstanceLeftovers are the leftovers of an instance.
type InstanceLeftovers struct {
	Instance  string
	Leftovers []zeekapi.Leftover
	Err       error // a *RefusedError, or why the answer makes no sense
}

// Cleanup removes the leftovers of the agents of instances, or of all connected agents if
// no instance is named, and returns them. With dryRun it only returns them.
func (c *Client) Cleanup(ctx context.Context, dryRun bool, instances ...string) ([]InstanceLeftovers, error) {
	resp, err := Do(ctx, c, zeekapi.CleanupCall, zeekapi.CleanupRequest{Instances: instances, DryRun: dryRun})
	if err != nil {
		return nil, unsupported(err)
	}
	var all []InstanceLeftovers
	for _, r := range sortedResults(resp.Results) {
		in := InstanceLeftovers{Instance: r.Instance}
		in.Leftovers, in.Err = single[[]zeekapi.Leftover](r)
		all = append(all, in)
	}
	return all, nil
}
