// Package clusteragent implements the dialect of Zeek's first cluster
// management framework, the modules ClusterController::API and
// ClusterAgent::API as of Zeek commit 7db8634c8b, whose scripts also run on
// Zeek 5.0.
//
// Zeek 4.1 and 4.2 have different records (a node's port precedes its role,
// and states are in mixed case). They are not supported, because Broker's
// protocol before Zeek 5.0 is incompatible as well.
package clusteragent

import (
	"net/netip"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// DefaultTopics contains Zeek's default topics. The dialect has no topics for
// nodes and the Supervisor.
var DefaultTopics = zeekapi.Topics{
	Controller:  "zeek/cluster-control/controller",
	AgentPrefix: "zeek/cluster-control/agent",
}

var modules = zeekapi.Modules{
	zeekapi.ControllerAPI: "ClusterController::API::",
	zeekapi.AgentAPI:      "ClusterAgent::API::",
}

// Dialect returns the dialect for the given topics.
func Dialect(topics zeekapi.Topics) *zeekapi.Dialect {
	d := zeekapi.NewRegistered(zeekapi.ClusterAgent, topics, modules,
		zeekapi.Convert(
			func(m zeekapi.GetInstancesResponse) (response, error) { return newResponse(m.ReqID, m.Result) },
			func(w response) (zeekapi.GetInstancesResponse, error) {
				return zeekapi.GetInstancesResponse{ReqID: w.ReqID, Result: w.Result.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.SetConfigurationRequest) (configRequest, error) {
				return configRequest{m.ReqID, newConfiguration(m.Config)}, nil
			},
			func(w configRequest) (zeekapi.SetConfigurationRequest, error) {
				return zeekapi.SetConfigurationRequest{ReqID: w.ReqID, Config: w.Config.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.SetConfigurationResponse) (responses, error) { return newResponses(m.ReqID, m.Results) },
			func(w responses) (zeekapi.SetConfigurationResponse, error) {
				return zeekapi.SetConfigurationResponse{ReqID: w.ReqID, Results: w.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.GetNodesResponse) (responses, error) {
				w, err := newResponses(m.ReqID, m.Results)
				for i := range w.Results {
					if err == nil {
						err = w.Results[i].statusesToWire()
					}
				}
				return w, err
			},
			func(w responses) (zeekapi.GetNodesResponse, error) {
				for i := range w.Results {
					if err := w.Results[i].statusesFromWire(); err != nil {
						return zeekapi.GetNodesResponse{}, err
					}
				}
				return zeekapi.GetNodesResponse{ReqID: w.ReqID, Results: w.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.TestTimeoutResponse) (response, error) { return newResponse(m.ReqID, m.Result) },
			func(w response) (zeekapi.TestTimeoutResponse, error) {
				return zeekapi.TestTimeoutResponse{ReqID: w.ReqID, Result: w.Result.neutral()}, nil
			}),

		// The agent's request has no field for force, and its response is a
		// single result.
		zeekapi.Convert(
			func(m zeekapi.AgentDeployRequest) (configRequest, error) {
				return configRequest{m.ReqID, newConfiguration(m.Config)}, nil
			},
			func(w configRequest) (zeekapi.AgentDeployRequest, error) {
				return zeekapi.AgentDeployRequest{ReqID: w.ReqID, Config: w.Config.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentDeployResponse) (response, error) {
				return newResponse(m.ReqID, summary(m.ID, m.Results))
			},
			func(w response) (zeekapi.AgentDeployResponse, error) {
				return zeekapi.AgentDeployResponse{ReqID: w.ReqID, Results: []zeekapi.Result{w.Result.neutral()}}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentWelcomeResponse) (response, error) { return newResponse(m.ReqID, m.Result) },
			func(w response) (zeekapi.AgentWelcomeResponse, error) {
				return zeekapi.AgentWelcomeResponse{ReqID: w.ReqID, Result: w.Result.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentStandbyResponse) (response, error) { return newResponse(m.ReqID, m.Result) },
			func(w response) (zeekapi.AgentStandbyResponse, error) {
				return zeekapi.AgentStandbyResponse{ReqID: w.ReqID, Result: w.Result.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentGetNodesResponse) (response, error) {
				w, err := newResponse(m.ReqID, m.Result)
				if err == nil {
					err = w.Result.statusesToWire()
				}
				return w, err
			},
			func(w response) (zeekapi.AgentGetNodesResponse, error) {
				if err := w.Result.statusesFromWire(); err != nil {
					return zeekapi.AgentGetNodesResponse{}, err
				}
				return zeekapi.AgentGetNodesResponse{ReqID: w.ReqID, Result: w.Result.neutral()}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentHello) (hello, error) {
				host := m.Host
				if !host.IsValid() {
					host = netip.IPv4Unspecified()
				}
				return hello{m.Instance, host, m.APIVersion}, nil
			},
			func(w hello) (zeekapi.AgentHello, error) {
				return zeekapi.AgentHello{Instance: w.Instance, Host: w.Host, APIVersion: w.APIVersion}, nil
			}),
		zeekapi.Convert(
			func(m zeekapi.AgentChange) (change, error) {
				return change{m.Instance, newNode(m.Node), m.Old, m.New}, nil
			},
			func(w change) (zeekapi.AgentChange, error) {
				return zeekapi.AgentChange{Instance: w.Instance, Node: w.Node.neutral(), Old: w.Old, New: w.New}, nil
			}),
	)
	d.Records = map[string]record.Type{
		"ClusterController::Types::Instance":   record.TypeOf[zeekapi.Instance](),
		"ClusterController::Types::NodeStatus": record.TypeOf[nodeStatus](),
	}
	return d
}

// summary combines several results into one. It fails if any of them failed,
// with an error that lists the failures.
func summary(reqID string, results []zeekapi.Result) zeekapi.Result {
	sum := zeekapi.Result{ReqID: reqID, Success: true}
	var failures []string
	for _, r := range results {
		sum.Instance = r.Instance
		switch {
		case r.Success:
			continue
		case r.Node == "":
			failures = append(failures, r.Error)
		case r.Error == "":
			failures = append(failures, "node "+r.Node+" failed")
		default:
			failures = append(failures, "node "+r.Node+": "+r.Error)
		}
		sum.Success = false
	}
	sum.Error = strings.Join(failures, "; ")
	return sum
}

// Argument lists that differ from those of package zeekapi.
type (
	response struct {
		zeekapi.ReqID
		Result result `zeek:"result"`
	}
	responses struct {
		zeekapi.ReqID
		Results []result `zeek:"result"`
	}
	configRequest struct {
		zeekapi.ReqID
		Config configuration `zeek:"config"`
	}
	hello struct {
		Instance   string     `zeek:"instance"`
		Host       netip.Addr `zeek:"host"`
		APIVersion uint64     `zeek:"api_version"`
	}
	change struct {
		Instance string        `zeek:"instance"`
		Node     node          `zeek:"n"`
		Old      zeekapi.State `zeek:"old,enum=ClusterController::Types"`
		New      zeekapi.State `zeek:"new,enum=ClusterController::Types"`
	}
)

func newResponse(id zeekapi.ReqID, r zeekapi.Result) (response, error) {
	return response{id, newResult(r)}, nil
}

func newResponses(id zeekapi.ReqID, results []zeekapi.Result) (responses, error) {
	w := responses{id, make([]result, len(results))}
	for i, r := range results {
		w.Results[i] = newResult(r)
	}
	return w, nil
}

func (w responses) neutral() []zeekapi.Result {
	out := make([]zeekapi.Result, len(w.Results))
	for i, r := range w.Results {
		out[i] = r.neutral()
	}
	return out
}

// Records that differ from those of package zeekapi: the order of a result's
// fields, "" instead of unset fields, the modules of the enums, no metrics
// ports.
type (
	result struct {
		ReqID    string       `zeek:"reqid"`
		Instance string       `zeek:"instance"`
		Success  bool         `zeek:"success"`
		Data     broker.Value `zeek:"data,optional"`
		Error    string       `zeek:"error"`
		Node     string       `zeek:"node,optional"`
	}
	configuration struct {
		ID        string             `zeek:"id"`
		Instances []zeekapi.Instance `zeek:"instances,set"`
		Nodes     []node             `zeek:"nodes,set"`
	}
	node struct {
		Name        string              `zeek:"name"`
		Instance    string              `zeek:"instance"`
		Role        zeekapi.ClusterRole `zeek:"role,enum=Supervisor"`
		State       zeekapi.State       `zeek:"state,enum=ClusterController::Types,default=PENDING"`
		Port        broker.Port         `zeek:"p,optional"`
		Scripts     []string            `zeek:"scripts,optional"`
		Options     []zeekapi.Option    `zeek:"options,optional,set"`
		Interface   string              `zeek:"interface,optional"`
		CPUAffinity *int64              `zeek:"cpu_affinity,optional"`
		Env         map[string]string   `zeek:"env"`
	}
	nodeStatus struct {
		Node           string                 `zeek:"node"`
		State          zeekapi.State          `zeek:"state,enum=ClusterController::Types"`
		ManagementRole zeekapi.ManagementRole `zeek:"mgmt_role,enum=ClusterController::Types"`
		ClusterRole    zeekapi.ClusterRole    `zeek:"cluster_role,enum=Supervisor"`
		PID            int64                  `zeek:"pid,optional"`
		Port           broker.Port            `zeek:"p,optional"`
	}
)

func newResult(r zeekapi.Result) result {
	return result{r.ReqID, r.Instance, r.Success, r.Data, r.Error, r.Node}
}

func (r result) neutral() zeekapi.Result {
	return zeekapi.Result{ReqID: r.ReqID, Success: r.Success, Instance: r.Instance, Data: r.Data, Error: r.Error, Node: r.Node}
}

// statusesToWire converts a result's data from []zeekapi.NodeStatus to the
// dialect's form; statusesFromWire is the inverse. The data of a failure stays as it is: it is
// a reason, such as zeekapi.NotLeader.
func (r *result) statusesToWire() error {
	if !r.Success {
		return nil
	}
	return convert(&r.Data, func(s zeekapi.NodeStatus) nodeStatus {
		// In the dialect, ordinary nodes have no management role.
		if s.ManagementRole == zeekapi.ManagementNode {
			s.ManagementRole = zeekapi.ManagementNone
		}
		return nodeStatus{s.Node, s.State, s.ManagementRole, s.ClusterRole, s.PID, s.Port}
	})
}

func (r *result) statusesFromWire() error {
	if !r.Success {
		return nil
	}
	return convert(&r.Data, func(s nodeStatus) zeekapi.NodeStatus {
		return zeekapi.NodeStatus{Node: s.Node, State: s.State, ManagementRole: s.ManagementRole,
			ClusterRole: s.ClusterRole, PID: s.PID, Port: s.Port}
	})
}

// convert replaces a vector of From by a vector of To. It leaves none
// unchanged.
func convert[From, To any](data *broker.Value, f func(From) To) error {
	if data.IsNone() {
		return nil
	}
	var from []From
	if err := record.Unmarshal(*data, &from); err != nil {
		return err
	}
	to := make([]To, len(from))
	for i := range from {
		to[i] = f(from[i])
	}
	var err error
	*data, err = record.Marshal(to)
	return err
}

func newConfiguration(c zeekapi.Configuration) configuration {
	w := configuration{ID: c.ID, Instances: c.Instances, Nodes: make([]node, len(c.Nodes))}
	for i, n := range c.Nodes {
		w.Nodes[i] = newNode(n)
	}
	return w
}

func (w configuration) neutral() zeekapi.Configuration {
	c := zeekapi.Configuration{ID: w.ID, Instances: w.Instances, Nodes: make([]zeekapi.Node, len(w.Nodes))}
	for i, n := range w.Nodes {
		c.Nodes[i] = n.neutral()
	}
	return c
}

func newNode(n zeekapi.Node) node {
	return node{n.Name, n.Instance, n.Role, n.State, n.Port, n.Scripts, n.Options, n.Interface, n.CPUAffinity, n.Env}
}

func (n node) neutral() zeekapi.Node {
	return zeekapi.Node{Name: n.Name, Instance: n.Instance, Role: n.Role, State: n.State, Port: n.Port,
		Scripts: n.Scripts, Options: n.Options, Interface: n.Interface, CPUAffinity: n.CPUAffinity, Env: n.Env}
}
