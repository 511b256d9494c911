package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// A call returns an error if there was no response, or none that made sense.
// What a response says about a part of the cluster that failed is in the
// returned values. The calls whose answer is one thing or nothing, instances
// or a configuration, also return a *RefusedError.

// RefusedError is the controller's answer to a request that failed as a whole.
type RefusedError struct {
	Texts []string // in the controller's words; a text may be empty
}

// Error returns the texts in one line.
func (e *RefusedError) Error() string {
	return "client: controller refuses: " + strings.Join(e.Texts, "; ")
}

// GetInstances returns the instances whose agents the controller knows, sorted
// by name.
func (c *Client) GetInstances(ctx context.Context) ([]zeekapi.Instance, error) {
	resp, err := Do(ctx, c, zeekapi.GetInstancesCall, zeekapi.GetInstancesRequest{})
	if err != nil {
		return nil, err
	}
	instances, err := single[[]zeekapi.Instance](resp.Result)
	slices.SortStableFunc(instances, func(a, b zeekapi.Instance) int { return strings.Compare(a.Name, b.Name) })
	return instances, err
}

// Stage uploads a configuration for a later Deploy and returns the ID under
// which the controller has it. A *RefusedError has the errors in it.
func (c *Client) Stage(ctx context.Context, config zeekapi.Configuration) (id string, err error) {
	resp, err := Do(ctx, c, zeekapi.StageConfigurationCall, zeekapi.StageConfigurationRequest{Config: config})
	if err != nil {
		return "", err
	}
	for _, r := range resp.Results {
		if r.Success && !r.Data.IsNone() {
			if err := record.Unmarshal(r.Data, &id); err != nil {
				return "", fmt.Errorf("client: ID of the staged configuration: %w", err)
			}
		}
	}
	return id, refusal(resp.Results)
}

// GetConfiguration returns the configuration as deployed, with the addresses
// and ports that the controller filled in, or else as staged.
func (c *Client) GetConfiguration(ctx context.Context, deployed bool) (zeekapi.Configuration, error) {
	return data[zeekapi.Configuration](ctx, c, zeekapi.GetConfigurationCall, zeekapi.GetConfigurationRequest{Deployed: deployed})
}

// refusal returns a *RefusedError with the errors of the failures among results,
// and nil if there are none.
func refusal(results []zeekapi.Result) error {
	var refused RefusedError
	for _, r := range results {
		if !r.Success {
			refused.Texts = append(refused.Texts, r.Error)
		}
	}
	if len(refused.Texts) == 0 {
		return nil
	}
	return &refused
}

// ErrNoData is wrapped by errors about results that say success and hold
// nothing.
var ErrNoData = errors.New("result without data")

// single returns the data of the only result of a response.
func single[T any](r zeekapi.Result) (data T, err error) {
	switch {
	case !r.Success:
		return data, &RefusedError{Texts: []string{r.Error}}
	case r.Data.IsNone():
		return data, fmt.Errorf("client: %w", ErrNoData)
	}
	if err := record.Unmarshal(r.Data, &data); err != nil {
		return data, fmt.Errorf("client: result: %w", err)
	}
	return data, nil
}

// DeployResult is the outcome of deploying a configuration.
type DeployResult struct {
	// ID is the configuration's, "" if not all agents have answered.
	ID string

	// Nodes are those that agents started, or failed to.
	Nodes []DeployedNode

	// Errors are failures that are not a single node's: of the controller or
	// of agents.
	Errors []string

	// Remarks are what the controller says about instances without being asked,
	// such as that one is away.
	Remarks []Remark

	// Failed says that some result is a failure.
	Failed bool

	// Continues reports whether zeekwire's controller continues the deployment
	// although the request timed out. The history then has its outcome.
	Continues bool

	// Refused reports whether the check of zeekwire's controller found problems,
	// so that nothing has changed.
	Refused bool

	// Strange are results that are neither of the above.
	Strange []zeekapi.Result
}

// Remark is a text about an instance.
type Remark struct{ Instance, Text string }

// DeployedNode is what became of a node.
type DeployedNode struct {
	Node, Instance string
	Success        bool
	Error          string               // reason of a failure; "" if unknown
	Outputs        *zeekapi.NodeOutputs // output of a failed node; nil: unknown
}

// Problem returns the reason why a node has failed, followed by its standard error. It is ""
// if both are unknown.
func (n DeployedNode) Problem() string {
	var parts []string
	if n.Error != "" {
		parts = append(parts, n.Error)
	}
	if n.Outputs != nil {
		if text := strings.TrimSpace(n.Outputs.Stderr); text != "" && text != n.Error {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "\n")
}

// Deploy makes the staged configuration true.
func (c *Client) Deploy(ctx context.Context) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.DeployCall, zeekapi.DeployRequest{})
}

// SetConfiguration deploys a configuration without staging it, which only
// controllers of the ClusterController dialect can do.
func (c *Client) SetConfiguration(ctx context.Context, config zeekapi.Configuration) (DeployResult, error) {
	return deploy(ctx, c, zeekapi.SetConfigurationCall, zeekapi.SetConfigurationRequest{Config: config})
}

// NewDeployResult tells the kinds of results of a deployment apart, as zeek-client does.
func NewDeployResult(results []zeekapi.Result) (DeployResult, error) {
	var d DeployResult
	timeout := false
	for _, r := range results {
		d.Failed = d.Failed || !r.Success
		switch {
		case !r.Success && r.Node == "" && r.Error != "":
			d.Errors = append(d.Errors, r.Error)
			if r.Instance == "" {
				d.Refused = d.Refused || r.Error == zeekapi.ErrorRefused
				timeout = timeout || r.Error == zeekapi.ErrorTimeout
				d.Continues = d.Continues || timeout && strings.Contains(r.Error, " "+zeekapi.ErrorContinues+", ")
			}
		case r.Success && r.Node == "" && r.Instance == "" && !r.Data.IsNone():
			if err := record.Unmarshal(r.Data, &d.ID); err != nil {
				return d, fmt.Errorf("client: ID of the deployed configuration: %w", err)
			}
		case r.Instance == "":
			d.Strange = append(d.Strange, r)
		case r.Node == "":
			// An agent that had no nodes to deploy.
			if text, ok := r.Data.Text(); ok && r.Success {
				d.Remarks = append(d.Remarks, Remark{r.Instance, text})
			}
		default:
			n := DeployedNode{Node: r.Node, Instance: r.Instance, Success: r.Success, Error: r.Error}
			if !r.Data.IsNone() {
				n.Outputs = new(zeekapi.NodeOutputs)
				if err := record.Unmarshal(r.Data, n.Outputs); err != nil {
					return d, fmt.Errorf("client: outputs of node %q: %w", r.Node, err)
				}
			}
			d.Nodes = append(d.Nodes, n)
		}
	}
	return d, nil
}

// InstanceNodes are the processes of an instance.
type InstanceNodes struct {
	Instance string // "" if the controller answers in its own name
	Nodes    []zeekapi.NodeStatus
	Err      error // a *RefusedError, or why the answer makes no sense
}

// GetNodes returns the processes of all instances, sorted by name.
func (c *Client) GetNodes(ctx context.Context) ([]InstanceNodes, error) {
	resp, err := Do(ctx, c, zeekapi.GetNodesCall, zeekapi.GetNodesRequest{})
	if err != nil {
		return nil, err
	}
	var all []InstanceNodes
	for _, r := range sortedResults(resp.Results) {
		in := InstanceNodes{Instance: r.Instance}
		in.Nodes, in.Err = single[[]zeekapi.NodeStatus](r)
		slices.SortStableFunc(in.Nodes, func(a, b zeekapi.NodeStatus) int { return strings.Compare(a.Node, b.Node) })
		all = append(all, in)
	}
	return all, nil
}

// NodeValue is the value of a global on a node.
type NodeValue struct {
	Node  string          // "" if an instance or the controller answers in its place
	Value json.RawMessage // as Zeek's to_json has it
	Err   error           // a *RefusedError, or why the answer makes no sense
}

// GetIDValue returns the value of a global identifier on the given nodes, or
// on all if none is given.
func (c *Client) GetIDValue(ctx context.Context, identifier string, nodes ...string) ([]NodeValue, error) {
	resp, err := Do(ctx, c, zeekapi.GetIDValueCall, zeekapi.GetIDValueRequest{Identifier: identifier, Nodes: nodes})
	if err != nil {
		return nil, err
	}
	var all []NodeValue
	for _, r := range sortedResults(resp.Results) {
		v := NodeValue{Node: r.Node}
		text, err := single[string](r)
		if err == nil {
			err = json.Unmarshal([]byte(text), &v.Value)
		}
		v.Err = err
		all = append(all, v)
	}
	return all, nil
}

// Restart restarts the given nodes, or all if none is given. There is one
// result per node, and results without a node for failures of other kinds.
func (c *Client) Restart(ctx context.Context, nodes ...string) ([]zeekapi.Result, error) {
	resp, err := Do(ctx, c, zeekapi.RestartCall, zeekapi.RestartRequest{Nodes: nodes})
	if err != nil {
		return nil, err
	}
	return sortedResults(resp.Results), nil
}

// TestTimeout makes the controller let a request time out. With state it then
// says so in the result, without it never answers.
func (c *Client) TestTimeout(ctx context.Context, withState bool) (zeekapi.Result, error) {
	resp, err := Do(ctx, c, zeekapi.TestTimeoutCall, zeekapi.TestTimeoutRequest{WithState: withState})
	return resp.Result, err
}

// sortedResults puts results in zeek-client's order: by instance, those
// without one last, and then by node, if both have one.
func sortedResults(results []zeekapi.Result) []zeekapi.Result {
	return slices.SortedStableFunc(slices.Values(results), func(a, b zeekapi.Result) int {
		switch {
		case a.Instance == b.Instance && a.Node != "" && b.Node != "":
			return strings.Compare(a.Node, b.Node)
		case a.Instance == "" && b.Instance != "":
			return 1
		case a.Instance != "" && b.Instance == "":
			return -1
		}
		return strings.Compare(a.Instance, b.Instance)
	})
}
