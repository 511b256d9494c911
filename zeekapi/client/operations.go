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

// ErrUnsupported is wrapped by errors of Probe: the controller answers, but
// does not speak the dialect of package operations. It is Zeek's own, or an
// old one of ours.
var ErrUnsupported = errors.New("the controller does not know this request")

// probeGrace is how long Probe waits for an answer before it asks something
// that every controller knows. Ours answers at once.
const probeGrace = 200 * time.Millisecond

// Probe finds out whether the controller speaks the dialect of package
// operations. Controllers of Zeek before 8.0.3 are silent when they do not
// understand; as controllers answer in order, one that answers a later request
// has not understood the earlier one.
func (c *Client) Probe(ctx context.Context) error {
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
	if err == nil || errors.As(err, &refused) {
		err = ErrUnsupported
	}
	cancel(err) // unless it is answered by now, the request never will
	return supported(<-answered)
}

// supported interprets the outcome of a request that the controller may not
// know.
func supported(err error) error {
	var refused *RefusedError
	var complaint jsonv1.Error // of Zeek 8.0.3 and later
	switch {
	case errors.As(err, &refused): // by a controller that understood it
		return nil
	case errors.Is(err, ErrUnsupported),
		errors.As(err, &complaint) && complaint.Code == jsonv1.CodeDeserializationFailed:
		return fmt.Errorf("client: %w", ErrUnsupported)
	}
	return err
}

// Status returns the cluster in one view.
func (c *Client) Status(ctx context.Context) (zeekapi.Status, error) {
	resp, err := call[zeekapi.StatusResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.StatusRequest{ReqID: id}
	})
	if err != nil {
		return zeekapi.Status{}, err
	}
	return single[zeekapi.Status](resp.Result)
}

// DryRun returns what deploying a configuration would change. A *RefusedError
// says what is wrong with it.
func (c *Client) DryRun(ctx context.Context, config zeekapi.Configuration) (zeekapi.Diff, error) {
	resp, err := call[zeekapi.DryRunResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.DryRunRequest{ReqID: id, Config: config}
	})
	if err != nil {
		return zeekapi.Diff{}, err
	}
	var refused RefusedError
	for _, r := range resp.Results {
		if !r.Success {
			refused.Texts = append(refused.Texts, r.Error)
		}
	}
	switch {
	case len(refused.Texts) > 0:
		return zeekapi.Diff{}, &refused
	case len(resp.Results) != 1:
		return zeekapi.Diff{}, fmt.Errorf("client: dry run: want one result, got %d", len(resp.Results))
	}
	return single[zeekapi.Diff](resp.Results[0])
}

// ForceDeploy is Deploy that starts all nodes anew, also those that run what
// they should.
func (c *Client) ForceDeploy(ctx context.Context) (DeployResult, error) {
	resp, err := call[zeekapi.ForceDeployResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.ForceDeployRequest{ReqID: id}
	})
	if err != nil {
		return DeployResult{}, err
	}
	return newDeployResult(resp.Results)
}

// History returns the last deployments, the newest first: at most limit, or as
// many as the controller keeps if that is 0.
func (c *Client) History(ctx context.Context, limit uint64) ([]zeekapi.Deployment, error) {
	resp, err := call[zeekapi.HistoryResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.HistoryRequest{ReqID: id, Limit: limit}
	})
	if err != nil {
		return nil, err
	}
	return single[[]zeekapi.Deployment](resp.Result)
}

// PastConfiguration returns the configuration of a deployment.
func (c *Client) PastConfiguration(ctx context.Context, number uint64) (zeekapi.Configuration, error) {
	resp, err := call[zeekapi.GetPastResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.GetPastRequest{ReqID: id, Number: number}
	})
	if err != nil {
		return zeekapi.Configuration{}, err
	}
	return single[zeekapi.Configuration](resp.Result)
}

// Rollback deploys the configuration of an earlier deployment; 0 stands for the
// last one that differs from what should run now.
func (c *Client) Rollback(ctx context.Context, number uint64) (DeployResult, error) {
	resp, err := call[zeekapi.RollbackResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.RollbackRequest{ReqID: id, Number: number}
	})
	if err != nil {
		return DeployResult{}, err
	}
	return newDeployResult(resp.Results)
}

// Drain has an instance run nothing and waits until its nodes are gone, or with
// drain false has it run what it should again.
func (c *Client) Drain(ctx context.Context, instance string, drain bool) (DeployResult, error) {
	resp, err := call[zeekapi.DrainResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: id, Instance: instance, Drain: drain}
	})
	if err != nil {
		return DeployResult{}, err
	}
	return newDeployResult(resp.Results)
}

// RollingRestart begins to restart nodes, all if none is named, those of some
// roles if there are any, so many at once. It returns when the controller has
// begun.
func (c *Client) RollingRestart(ctx context.Context, nodes []string, roles []zeekapi.ClusterRole, atOnce uint64) (zeekapi.Job, error) {
	resp, err := call[zeekapi.RollingRestartResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.RollingRestartRequest{ReqID: id, Nodes: nodes, Roles: roles, AtOnce: atOnce}
	})
	if err != nil {
		return zeekapi.Job{}, err
	}
	return single[zeekapi.Job](resp.Result)
}

// CancelJob ends the job under way after the nodes that it is at.
func (c *Client) CancelJob(ctx context.Context) (zeekapi.Job, error) {
	resp, err := call[zeekapi.CancelJobResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.CancelJobRequest{ReqID: id}
	})
	if err != nil {
		return zeekapi.Job{}, err
	}
	return single[zeekapi.Job](resp.Result)
}

// Events returns events that the controller kept, the oldest first: those
// after a number, and of these at most the last limit, or all if that is 0.
func (c *Client) Events(ctx context.Context, after, limit uint64) ([]zeekapi.ClusterEvent, error) {
	resp, err := call[zeekapi.EventsResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.EventsRequest{ReqID: id, After: after, Limit: limit}
	})
	if err != nil {
		return nil, err
	}
	return single[[]zeekapi.ClusterEvent](resp.Result)
}

// Logs is what a node wrote.
type Logs struct {
	zeekapi.NodeOutputs

	// Remark says what is special about it, such as that the node does not run
	// because its instance is drained; mostly "".
	Remark string
}

// Logs returns the ends of what a node wrote, at most so many bytes of its
// standard output and as many of its standard error. 0 is as the agent likes.
// There may be some of a node that does not run.
func (c *Client) Logs(ctx context.Context, node string, bytes uint64) (Logs, error) {
	resp, err := call[zeekapi.LogsResponse](ctx, c, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.LogsRequest{ReqID: id, Node: node, Bytes: bytes}
	})
	if err != nil {
		return Logs{}, err
	}
	outputs, err := single[zeekapi.NodeOutputs](resp.Result)
	return Logs{NodeOutputs: outputs, Remark: resp.Result.Error}, err
}
