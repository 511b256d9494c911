// Package simulated pretends to run nodes. They start, introduce themselves,
// answer, fail and end as real ones do, without a process, a file or a socket.
package simulated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Env is the variable in a node's environment that makes it misbehave.
const Env = "ZEEKWIRE_SIMULATE"

// The values of Env.
const (
	Fail  = "fail"  // dies when started
	Crash = "crash" // comes up and dies
	Hang  = "hang"  // never comes up, and only ends by force
)

// Config says how nodes behave. The zero Config is that of nodes in a hurry.
type Config struct {
	StartDelay time.Duration // from start to hello
	Patience   time.Duration // with a node that hangs
}

// Launcher is a launch.Launcher and a launch.Dispatcher.
type Launcher struct {
	config Config
	events launch.Events
	killed context.Context // done when nodes must end, whatever they do
	kill   context.CancelFunc

	mu     sync.Mutex
	closed bool
	nodes  map[string]*node
	wrote  map[string]zeekapi.NodeOutputs // by node, since it was last started
	all    sync.WaitGroup
}

var (
	_ launch.Launcher   = (*Launcher)(nil)
	_ launch.Dispatcher = (*Launcher)(nil)
	_ launch.Outputter  = (*Launcher)(nil)
)

type node struct {
	launch.Node
	pid  int64
	stop context.CancelFunc
}

// lastPID makes the process IDs of all launchers distinct. They start above
// those that Linux can give out (2^22).
var lastPID atomic.Int64

const firstPID = 1 << 22

// New returns a launcher without nodes.
func New(c Config) *Launcher {
	l := &Launcher{config: c, nodes: make(map[string]*node), wrote: make(map[string]zeekapi.NodeOutputs)}
	l.killed, l.kill = context.WithCancel(context.Background())
	return l
}

// Start starts a goroutine that plays the node.
func (l *Launcher) Start(n launch.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.nodes[n.Name] != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	played := &node{Node: n, pid: firstPID + lastPID.Add(1), stop: stop}
	l.nodes[n.Name] = played
	l.wrote[n.Name] = zeekapi.NodeOutputs{Stdout: "simulating " + n.Name + "\n"}
	l.all.Go(func() {
		defer stop()
		stderr, err := l.play(ctx, played)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.nodes, n.Name)
		l.wrote[n.Name] = zeekapi.NodeOutputs{Stdout: l.wrote[n.Name].Stdout, Stderr: stderr}
		l.events.Add(launch.Exited{Node: n.Name, Err: err, Outputs: zeekapi.NodeOutputs{Stderr: stderr}})
	})
}

// play is the life of a node. It returns what the node leaves.
func (l *Launcher) play(ctx context.Context, n *node) (stderr string, err error) {
	l.events.Add(launch.Started{Node: n.Name, PID: n.pid})
	switch n.Env[Env] {
	case Fail:
		return "fatal error: told to fail\n", errors.New("exit status 1")
	case Hang:
		<-ctx.Done()
		select {
		case <-time.After(l.config.Patience):
		case <-l.killed.Done():
		}
		return "", errors.New("signal: killed")
	}
	delay := time.NewTimer(l.config.StartDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
		return "", nil
	}
	l.events.Add(launch.Up{Node: n.Name})
	if n.Env[Env] == Crash {
		return "fatal error: told to crash\n", errors.New("signal: segmentation fault")
	}
	<-ctx.Done()
	return "received termination signal\n", nil
}

// Stop tells a node to end.
func (l *Launcher) Stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		n.stop()
	}
}

// Outputs returns the ends of what a node wrote.
func (l *Launcher) Outputs(name string, limit int) (zeekapi.NodeOutputs, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.wrote[name]
	end := func(s string) string { return s[max(0, len(s)-limit):] }
	return zeekapi.NodeOutputs{Stdout: end(o.Stdout), Stderr: end(o.Stderr)}, nil
}

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close stops all nodes and waits for them.
func (l *Launcher) Close(ctx context.Context) error {
	defer l.kill()
	defer context.AfterFunc(ctx, l.kill)()
	l.mu.Lock()
	l.closed = true
	for _, n := range l.nodes {
		n.stop()
	}
	l.mu.Unlock()
	l.all.Wait()
	l.events.Close()
	return nil
}

// Dispatch has the nodes answer as Zeek's own script would have them
// (Zeek: policy/frameworks/management/node).
func (l *Launcher) Dispatch(req zeekapi.NodeDispatchRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range req.Nodes {
		n := l.nodes[name]
		if n == nil || n.Env[Env] == Hang {
			continue
		}
		r := zeekapi.Result{ReqID: req.ID, Node: name}
		if value, err := n.act(req.Action); err != nil {
			r.Error = err.Error()
		} else {
			r.Success, r.Data = true, broker.String(value)
		}
		l.events.Add(launch.Answered{Response: zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: r}})
	}
}

func (n *node) act(action []string) (string, error) {
	switch {
	case len(action) == 0:
		return "", errors.New("no dispatch arguments provided")
	case action[0] != "get_id_value":
		return "", fmt.Errorf("dispatch %s unknown", action[0])
	case len(action) == 1:
		return "", errors.New("get_id_value expects name of global identifier")
	}
	value, ok := n.value(action[1])
	if !ok {
		return "", errors.New("unknown id")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// value returns what there is to know about a node under names that Zeek has
// for it.
func (n *node) value(id string) (any, bool) {
	switch id {
	case "Cluster::node", "peer_description":
		return n.Name, true
	case "Cluster::nodes":
		return n.clusterNodes(), true
	case "Cluster::manager_is_logger":
		for _, m := range n.Cluster {
			if m.Role == zeekapi.RoleLogger {
				return false, true
			}
		}
		return true, true
	case "Telemetry::metrics_port":
		return jsonPort(n.MetricsPort), true
	}
	return nil, false
}

// The JSON of Zeek's to_json for Cluster::Node.
type (
	clusterNode struct {
		Type    string `json:"node_type"`
		IP      string `json:"ip"`
		Zone    string `json:"zone_id"`
		Port    any    `json:"p"`
		Manager string `json:"manager,omitempty"`
		Metrics any    `json:"metrics_port,omitempty"`
	}
	portNumber struct {
		Port  uint16 `json:"port"`
		Proto string `json:"proto"`
	}
)

func (n *node) clusterNodes() map[string]clusterNode {
	nodes := make(map[string]clusterNode, len(n.Cluster))
	for _, m := range n.Cluster {
		c := clusterNode{Type: "Cluster::" + string(m.Role), IP: m.Host.String(), Port: jsonPort(m.Port)}
		if m.Role != zeekapi.RoleManager {
			c.Manager = n.Manager()
		}
		if m.MetricsPort.Number != 0 {
			c.Metrics = jsonPort(m.MetricsPort)
		}
		nodes[m.Name] = c
	}
	return nodes
}

func jsonPort(p broker.Port) portNumber {
	proto := p.Protocol.String()
	if !p.Protocol.Valid() || p.Protocol == broker.ProtocolUnknown {
		proto = "unknown"
	}
	return portNumber{p.Number, proto}
}
