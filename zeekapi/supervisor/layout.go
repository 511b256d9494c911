package supervisor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// NodeConfig is the configuration of a node, as in Supervisor::NodeConfig. The
// zero value of a field means that it is not set.
type NodeConfig struct {
	Name      string
	Interface string
	PCAPFile  string // since Zeek 6.0
	Directory string // working directory of the node; created by the Supervisor

	// Stdout and Stderr are the names of files for the node's output. If they
	// are empty, the Supervisor receives the output.
	Stdout, Stderr string

	BareMode *bool // nil means the mode of the Supervisor itself

	// A node loads BaseScripts before, and UserScripts after, the scripts on
	// the command line of the Supervisor. Before Zeek 5.1 it loads all of them
	// after those.
	BaseScripts, UserScripts []string

	Env         map[string]string
	CPUAffinity *int64
	Cluster     map[string]Endpoint // all nodes of the cluster, including this one; nil means no cluster
}

// Endpoint describes a node to the other nodes of its cluster, as in
// Supervisor::ClusterEndpoint.
type Endpoint struct {
	Role        zeekapi.ClusterRole `zeek:"role,enum=Supervisor"`
	Host        netip.Addr          `zeek:"host"`
	Port        broker.Port         `zeek:"p"` // number 0 means that the node does not listen
	Interface   string              `zeek:"interface,optional"`
	PCAPFile    string              `zeek:"pcap_file,optional,trailing"`    // since Zeek 6.0
	MetricsPort broker.Port         `zeek:"metrics_port,optional,trailing"` // since Zeek 7.0
}

// Layout is a version of the record Supervisor::NodeConfig.
type Layout uint8

// The layouts, named after the first version of Zeek that has them.
const (
	LayoutUnknown Layout = iota
	Layout40             // one list of scripts
	Layout51             // three lists
	Layout60             // adds a file to read packets from
	Layout61             // two lists
)

// Layouts lists the known layouts, newest first.
var Layouts = []Layout{Layout61, Layout60, Layout51, Layout40}

// String returns the versions of Zeek that use the layout.
func (l Layout) String() string {
	switch l {
	case Layout40:
		return "Zeek 4.0 to 5.0"
	case Layout51:
		return "Zeek 5.1 and 5.2"
	case Layout60:
		return "Zeek 6.0"
	case Layout61:
		return "Zeek 6.1 and later"
	}
	return "unknown"
}

type config40 struct {
	Name        string              `zeek:"name"`
	Interface   string              `zeek:"interface,optional"`
	Directory   string              `zeek:"directory,optional"`
	Stdout      string              `zeek:"stdout_file,optional"`
	Stderr      string              `zeek:"stderr_file,optional"`
	BareMode    *bool               `zeek:"bare_mode"`
	Scripts     []string            `zeek:"scripts"`
	Env         map[string]string   `zeek:"env"`
	CPUAffinity *int64              `zeek:"cpu_affinity"`
	Cluster     map[string]Endpoint `zeek:"cluster"`
}

type config51 struct {
	Name        string              `zeek:"name"`
	Interface   string              `zeek:"interface,optional"`
	Directory   string              `zeek:"directory,optional"`
	Stdout      string              `zeek:"stdout_file,optional"`
	Stderr      string              `zeek:"stderr_file,optional"`
	BareMode    *bool               `zeek:"bare_mode"`
	BaseScripts []string            `zeek:"addl_base_scripts"`
	UserScripts []string            `zeek:"addl_user_scripts"`
	Scripts     []string            `zeek:"scripts"` // same as UserScripts
	Env         map[string]string   `zeek:"env"`
	CPUAffinity *int64              `zeek:"cpu_affinity"`
	Cluster     map[string]Endpoint `zeek:"cluster"`
}

type config60 struct {
	Name        string              `zeek:"name"`
	Interface   string              `zeek:"interface,optional"`
	PCAPFile    string              `zeek:"pcap_file,optional"`
	Directory   string              `zeek:"directory,optional"`
	Stdout      string              `zeek:"stdout_file,optional"`
	Stderr      string              `zeek:"stderr_file,optional"`
	BareMode    *bool               `zeek:"bare_mode"`
	BaseScripts []string            `zeek:"addl_base_scripts"`
	UserScripts []string            `zeek:"addl_user_scripts"`
	Scripts     []string            `zeek:"scripts"`
	Env         map[string]string   `zeek:"env"`
	CPUAffinity *int64              `zeek:"cpu_affinity"`
	Cluster     map[string]Endpoint `zeek:"cluster"`
}

type config61 struct {
	Name        string              `zeek:"name"`
	Interface   string              `zeek:"interface,optional"`
	PCAPFile    string              `zeek:"pcap_file,optional"`
	Directory   string              `zeek:"directory,optional"`
	Stdout      string              `zeek:"stdout_file,optional"`
	Stderr      string              `zeek:"stderr_file,optional"`
	BareMode    *bool               `zeek:"bare_mode"`
	BaseScripts []string            `zeek:"addl_base_scripts"`
	UserScripts []string            `zeek:"addl_user_scripts"`
	Env         map[string]string   `zeek:"env"`
	CPUAffinity *int64              `zeek:"cpu_affinity"`
	Cluster     map[string]Endpoint `zeek:"cluster"`
}

// marshal returns c in the layout l.
func (c NodeConfig) marshal(l Layout) (broker.Value, error) {
	switch l {
	case Layout40:
		return record.Marshal(config40{
			c.Name, c.Interface, c.Directory, c.Stdout, c.Stderr, c.BareMode,
			slices.Concat(c.BaseScripts, c.UserScripts), c.Env, c.CPUAffinity, c.Cluster,
		})
	case Layout51:
		return record.Marshal(config51{
			c.Name, c.Interface, c.Directory, c.Stdout, c.Stderr, c.BareMode,
			c.BaseScripts, c.UserScripts, nil, c.Env, c.CPUAffinity, c.Cluster,
		})
	case Layout60:
		return record.Marshal(config60{
			c.Name, c.Interface, c.PCAPFile, c.Directory, c.Stdout, c.Stderr, c.BareMode,
			c.BaseScripts, c.UserScripts, nil, c.Env, c.CPUAffinity, c.Cluster,
		})
	case Layout61:
		return record.Marshal(config61(c))
	}
	return broker.None(), fmt.Errorf("supervisor: node %s: layout %s", c.Name, l)
}

// unmarshal decodes a node of any layout, and returns the layout.
func unmarshal(v broker.Value) (NodeConfig, Layout, error) {
	l, err := layoutOf(v)
	if err != nil {
		return NodeConfig{}, l, err
	}
	switch l {
	case Layout40:
		var w config40
		err = record.Unmarshal(v, &w)
		return NodeConfig{
			w.Name, w.Interface, "", w.Directory, w.Stdout, w.Stderr, w.BareMode,
			nil, w.Scripts, w.Env, w.CPUAffinity, w.Cluster,
		}, l, err
	case Layout51:
		var w config51
		err = record.Unmarshal(v, &w)
		return NodeConfig{
			w.Name, w.Interface, "", w.Directory, w.Stdout, w.Stderr, w.BareMode,
			w.BaseScripts, append(w.UserScripts, w.Scripts...), w.Env, w.CPUAffinity, w.Cluster,
		}, l, err
	case Layout60:
		var w config60
		err = record.Unmarshal(v, &w)
		return NodeConfig{
			w.Name, w.Interface, w.PCAPFile, w.Directory, w.Stdout, w.Stderr, w.BareMode,
			w.BaseScripts, append(w.UserScripts, w.Scripts...), w.Env, w.CPUAffinity, w.Cluster,
		}, l, err
	}
	var w config61
	err = record.Unmarshal(v, &w)
	return NodeConfig(w), l, err
}

// layoutOf distinguishes the layouts by their length and, if that is the same,
// by the position of the first list.
func layoutOf(v broker.Value) (Layout, error) {
	if v.Kind() != broker.KindVector {
		return LayoutUnknown, fmt.Errorf("node has kind %s, want vector", v.Kind())
	}
	switch v.Len() {
	case 10:
		return Layout40, nil
	case 12:
		if v.At(6).Kind() == broker.KindVector {
			return Layout51, nil
		}
		return Layout61, nil
	case 13:
		return Layout60, nil
	}
	return LayoutUnknown, fmt.Errorf("node has %d fields, want 10, 12 or 13", v.Len())
}

// Probe returns a request that creates no node, and that only a Supervisor
// with the layout l responds to. It sets every field, so that other layouts
// find fields of wrong types. The response reports that the name is invalid,
// because it is empty.
func Probe(reqID string) CreateRequest {
	bare, cpu := false, int64(0)
	return CreateRequest{zeekapi.ReqID{ID: reqID}, NodeConfig{
		Interface: "none", PCAPFile: "none", Directory: "none", Stdout: "none", Stderr: "none",
		BareMode: &bare, CPUAffinity: &cpu,
	}}
}

// The wire forms of the messages that contain nodes.
type (
	wireStatus struct {
		zeekapi.ReqID
		Result struct {
			Nodes map[string]wireNode `zeek:"nodes"`
		} `zeek:"result"`
	}
	wireNode struct {
		Config broker.Value `zeek:"node"`
		PID    int64        `zeek:"pid,optional"`
	}
	wireCreate struct {
		zeekapi.ReqID
		Node broker.Value `zeek:"node"`
	}
)

func toStatus(l Layout) func(StatusResponse) (wireStatus, error) {
	return func(m StatusResponse) (wireStatus, error) {
		w := wireStatus{ReqID: m.ReqID}
		w.Result.Nodes = make(map[string]wireNode, len(m.Nodes))
		for name, n := range m.Nodes {
			v, err := n.Config.marshal(l)
			if err != nil {
				return w, err
			}
			w.Result.Nodes[name] = wireNode{v, n.PID}
		}
		return w, nil
	}
}

func fromStatus(w wireStatus) (StatusResponse, error) {
	m := StatusResponse{ReqID: w.ReqID, Nodes: make(map[string]NodeStatus, len(w.Result.Nodes))}
	for name, n := range w.Result.Nodes {
		c, l, err := unmarshal(n.Config)
		if err != nil {
			return m, fmt.Errorf("result.nodes[%.80q].node: %w", name, err)
		}
		m.Nodes[name] = NodeStatus{Config: c, Layout: l, PID: n.PID}
	}
	return m, nil
}

func toCreate(l Layout) func(CreateRequest) (wireCreate, error) {
	return func(m CreateRequest) (wireCreate, error) {
		v, err := m.Node.marshal(l)
		return wireCreate{m.ReqID, v}, err
	}
}

func fromCreate(w wireCreate) (CreateRequest, error) {
	c, _, err := unmarshal(w.Node)
	return CreateRequest{w.ReqID, c}, err
}
