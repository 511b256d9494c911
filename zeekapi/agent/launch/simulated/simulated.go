// Package simulated simulates nodes. They start, send hellos, respond, fail and end like
// real nodes, but without processes, files and sockets.
package simulated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/crashes"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// Env is the environment variable that makes a node misbehave. It overrides the Scenario.
const Env = "ZEEKWIRE_SIMULATE"

// The values of Env.
const (
	Fail   = "fail"   // the node ends with an error when it starts
	Crash  = "crash"  // the node sends its hello and then crashes
	Hang   = "hang"   // the node sends no hello, and ends only when killed
	Refuse = "refuse" // the node fails the agent's checks
)

var misbehaviours = map[string]behaviour{
	Fail:  {failures: always, end: exitStatus(1), stderr: "fatal error: told to fail\n", stops: true},
	Crash: {crashes: always, end: fmt.Errorf("signal: %s", syscall.SIGSEGV), stderr: "fatal error: told to crash\n", stops: true, answers: true},
	Hang:  {silent: true},

	Refuse: {checkError: "told to fail the check", stops: true, answers: true},
}

// Config configures a Launcher. With the zero Config, nodes start, respond and stop
// immediately and without errors.
type Config struct {
	// Scenario describes the behaviour of nodes.
	Scenario *Scenario

	// Patience is the time that a node has to end before it is killed. Zero means no
	// time.
	Patience time.Duration
}

// Launcher is a launch.Launcher, a launch.Dispatcher, a launch.Checker, a
// launch.Scanner, a launch.Lister and a launch.Outputter.
type Launcher struct {
	config  Config
	events  launch.Events
	killed  context.Context // done: kill all nodes
	kill    context.CancelFunc
	closing context.Context // done: end all checks
	end     context.CancelFunc

	mu     sync.Mutex
	closed bool
	nodes  map[string]*node
	lives  map[string]life
	all    sync.WaitGroup
}

// life is the history of a node over all its starts.
type life struct {
	starts            int
	failures, crashes int
	wrote             zeekapi.NodeOutputs   // since the last start
	reports           []zeekapi.CrashReport // the newest first
}

var (
	_ launch.Launcher   = (*Launcher)(nil)
	_ launch.Dispatcher = (*Launcher)(nil)
	_ launch.Outputter  = (*Launcher)(nil)
	_ launch.Checker    = (*Launcher)(nil)
	_ launch.Scanner    = (*Launcher)(nil)
	_ launch.Lister     = (*Launcher)(nil)
)

type node struct {
	launch.Node
	behaviour
	fails, crashes bool // in this run
	pid            int64
	began          time.Time
	stop           context.CancelFunc
	gone           context.Context // done when the node has ended
}

// lastPID makes the process IDs of all launchers distinct. They are greater than the IDs of
// Linux, which are at most 2^22.
var lastPID atomic.Int64

const firstPID = 1 << 22

// New returns a launcher without nodes.
func New(c Config) *Launcher {
	l := &Launcher{config: c, nodes: make(map[string]*node), lives: make(map[string]life)}
	l.killed, l.kill = context.WithCancel(context.Background())
	l.closing, l.end = context.WithCancel(context.Background())
	return l
}

// Start starts a goroutine that simulates the node.
func (l *Launcher) Start(n launch.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.nodes[n.Name] != nil {
		return
	}
	told, stop := context.WithCancel(context.Background())
	gone, end := context.WithCancel(context.Background())
	b := l.behaviour(n)
	lived := l.lives[n.Name]
	played := &node{
		Node: n, behaviour: b, pid: firstPID + lastPID.Add(1), began: time.Now(), stop: stop, gone: gone,
		fails: b.failures.covers(lived.failures), crashes: b.crashes.covers(lived.crashes),
	}
	lived.starts++
	if played.fails {
		lived.failures++
	} else if played.crashes {
		lived.crashes++
	}
	lived.wrote = zeekapi.NodeOutputs{Stdout: played.begins()}
	l.lives[n.Name] = lived
	l.nodes[n.Name] = played
	l.all.Go(func() {
		defer stop()
		defer end()
		exited := l.play(told, played)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.nodes, n.Name)
		lived.wrote = exited.Outputs
		if exited.Err != nil && told.Err() == nil {
			r := zeekapi.CrashReport{Node: n.Name, Time: time.Now(), PID: played.pid, Reason: exited.Err.Error(), Code: -1, Stderr: exited.Outputs.Stderr}
			lived.reports = append([]zeekapi.CrashReport{r}, lived.reports[:min(len(lived.reports), crashes.Kept-1)]...)
		}
		l.lives[n.Name] = lived
		l.events.Add(exited)
	})
}

func (l *Launcher) behaviour(n launch.Node) behaviour {
	if b, ok := misbehaviours[n.Env[Env]]; ok {
		return b
	}
	return l.config.Scenario.of(n.Name)
}

// play simulates a node until it is stopped or ends by itself. It returns the event of its
// end.
func (l *Launcher) play(told context.Context, n *node) launch.Exited {
	exited := launch.Exited{Node: n.Name, Outputs: zeekapi.NodeOutputs{Stdout: n.begins() + n.stdout, Stderr: n.stderr}}
	l.events.Add(launch.Started{Node: n.Name, PID: n.pid})
	if n.fails {
		exited.Err = n.end
		return exited
	}
	if !n.silent && pass(told, n.startTime) {
		l.events.Add(launch.Up{Node: n.Name})
		if n.crashes && pass(told, n.crashAfter) {
			exited.Err = n.end
			return exited
		}
	}
	<-told.Done()
	if n.stops && n.stopTime <= l.config.Patience {
		if pass(l.killed, n.stopTime) {
			exited.Outputs.Stderr += "received termination signal\n"
			return exited
		}
	} else {
		pass(l.killed, l.config.Patience)
	}
	exited.Err = fmt.Errorf("signal: %s", syscall.SIGKILL)
	return exited
}

// begins returns the first line of a node's standard output.
func (n *node) begins() string { return "simulating " + n.Name + "\n" }

// pass waits for a duration, and returns false if ctx ends before.
func pass(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Check reports the check errors of the scenario.
func (l *Launcher) Check(nodes []launch.Node, trial bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for _, n := range nodes {
		b := l.behaviour(n)
		c := launch.Checked{Node: n, Trial: trial}
		if b.checkError != "" && l.lives[n.Name].starts >= b.checkAfter {
			c.Err = errors.New(b.checkError)
		}
		if err := b.portConflict(n); err != nil {
			c.Err, c.PortsInUse = errors.Join(c.Err, err), b.portsInUse
		}
		if b.checkTime == 0 {
			l.events.Add(c)
			continue
		}
		l.all.Go(func() {
			if pass(l.closing, b.checkTime) {
				l.events.Add(c)
			}
		})
	}
}

// portConflict returns an error if another program uses a port of a node.
func (b behaviour) portConflict(n launch.Node) error {
	var errs []error
	for _, port := range []broker.Port{n.Port, n.MetricsPort} {
		if slices.Contains(b.portsInUse, port.Number) {
			errs = append(errs, fmt.Errorf("port %d is in use by another program", port.Number))
		}
	}
	return errors.Join(errs...)
}

// Scan reports the changed scripts of the scenario.
func (l *Launcher) Scan() {
	l.mu.Lock()
	defer l.mu.Unlock()
	edited := make(map[string][]string)
	for name, n := range l.nodes {
		if len(n.edited) > 0 && l.lives[name].starts == 1 {
			edited[name] = n.edited
		}
	}
	l.events.Add(launch.Edited{Nodes: edited})
}

// Stop stops a node.
func (l *Launcher) Stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		n.stop()
	}
}

// Outputs returns the ends of a node's outputs.
func (l *Launcher) Outputs(name string, limit int) (zeekapi.NodeOutputs, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lived, ok := l.lives[name]
	if !ok {
		return zeekapi.NodeOutputs{}, launch.ErrNoOutputs
	}
	o := lived.wrote
	end := func(s string) string { return s[max(0, len(s)-limit):] }
	return zeekapi.NodeOutputs{Stdout: end(o.Stdout), Stderr: end(o.Stderr)}, nil
}

// Crashes returns the last reports about a node, the newest first.
func (l *Launcher) Crashes(name string) []zeekapi.CrashReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lives[name].reports
}

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close stops all nodes and waits for them.
func (l *Launcher) Close(ctx context.Context) error {
	l.end()
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

// Dispatch makes the nodes respond like those that load Zeek's script
// (Zeek: policy/frameworks/management/node).
func (l *Launcher) Dispatch(req zeekapi.NodeDispatchRequest) (others []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range req.Nodes {
		n := l.nodes[name]
		if n == nil || !n.answers || l.closed {
			continue
		}
		r := zeekapi.Result{ReqID: req.ID, Node: name}
		if value, err := n.act(req.Action); err != nil {
			r.Error = err.Error()
		} else {
			r.Success, r.Data = true, broker.String(value)
		}
		answered := launch.Answered{Response: zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: r}}
		if n.answerTime == 0 {
			l.events.Add(answered)
			continue
		}
		l.all.Go(func() {
			if pass(n.gone, n.answerTime) {
				l.events.Add(answered)
			}
		})
	}
	return nil
}

func (n *node) act(action []string) (string, error) {
	switch {
	case len(action) == 0:
		return "", errors.New("no dispatch arguments provided")
	case action[0] == nodescript.FiguresAction:
		return n.figures(time.Now())
	case action[0] != "get_id_value":
		return "", fmt.Errorf("dispatch %s unknown", action[0])
	case len(action) == 1:
		return "", errors.New("get_id_value expects name of global identifier")
	}
	if text, ok := n.values[action[1]]; ok {
		return text, nil
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

// value returns the value of a global of Zeek, if it follows from the node's configuration.
func (n *node) value(id string) (any, bool) {
	switch id {
	case "Cluster::node", "peer_description":
		return n.Name, true
	case "Cluster::nodes":
		return n.clusterNodes(), true
	case "Cluster::manager_is_logger":
		return !slices.ContainsFunc(n.Members(), func(m zeekapi.Member) bool { return m.Role == zeekapi.RoleLogger }), true
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
	members := n.Members()
	manager := launch.Manager(members)
	nodes := make(map[string]clusterNode, len(members))
	for _, m := range members {
		c := clusterNode{Type: "Cluster::" + string(m.Role), IP: m.Host.String(), Port: jsonPort(m.Port)}
		if m.Role != zeekapi.RoleManager {
			c.Manager = manager
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
