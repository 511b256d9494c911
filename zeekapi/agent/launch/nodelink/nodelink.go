// Package nodelink connects to nodes that have no Broker and so cannot connect to the
// agent. Such a node listens for WebSockets at a loopback port that its environment
// names, and the launcher connects to it.
//
// In a Zeek cluster, a client that connects to one node reaches all nodes. Each node
// therefore has its own topics and its own connection. The connections are not encrypted:
// they do not leave the machine.
//
// Nodes that receive logs by ZeroMQ cannot listen for WebSockets. They count as running when
// they listen for logs. Requests to them go to another node on the machine, over one more
// WebSocket with the topics of the receiver. If their cluster has no other node on the
// machine, they connect to the agent by Broker, or do not respond to requests if their Zeek
// has no Broker.
package nodelink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Processes runs the nodes. Package zeek implements it.
type Processes interface {
	launch.Launcher
	launch.Finder
	launch.Checker
	launch.Outputter
	launch.Versioned
	launch.Leaver

	// ServesWebSocket reports whether a node can listen for WebSockets. UsesHub reports
	// whether all its messages pass through the manager, including those of WebSockets.
	// HasBroker reports whether nodes can connect to the agent.
	ServesWebSocket(launch.Node) bool
	UsesHub(launch.Node) bool
	HasBroker() bool
}

// Launcher adds a launch.Dispatcher to Processes.
type Launcher struct {
	Processes
	log     zerolog.Logger
	dialect *zeekapi.Dialect
	events  launch.Events

	ctx    context.Context // done after the last event of Processes
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	running []launch.Running
	routes  map[string]route // by node; missing: the node connects to the agent
	links   map[string]*link
}

// route describes the connection to a node.
type route struct {
	address  string
	kind     routeKind
	indirect bool // requests to the node pass through the manager
}

// routeKind is what listens at the address of a route.
type routeKind int

const (
	direct  routeKind = iota // the node, for WebSockets
	relayed                  // the node, for logs; requests go through another node
	mute                     // the node, for logs; it accepts no requests
)

var (
	_ launch.Launcher   = (*Launcher)(nil)
	_ launch.Dispatcher = (*Launcher)(nil)
	_ launch.Checker    = (*Launcher)(nil)
	_ launch.Scanner    = (*Launcher)(nil)
	_ launch.Diagnoser  = (*Launcher)(nil)
	_ launch.Cleaner    = (*Launcher)(nil)
	_ launch.Crasher    = (*Launcher)(nil)
	_ launch.Limiter    = (*Launcher)(nil)
	_ launch.Lister     = (*Launcher)(nil)
)

// New returns a launcher that connects to the nodes of p. It closes p.
func New(p Processes, log zerolog.Logger) *Launcher {
	l := &Launcher{
		Processes: p, log: log, dialect: management.Dialect(management.DefaultTopics),
		routes: make(map[string]route), links: make(map[string]*link),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, r := range p.Running() {
		// The agent compares nodes with their configuration, which does not
		// contain the added variables.
		r.Node.Env = maps.Clone(r.Node.Env)
		switch port := r.Node.Env[nodescript.WebSocketVar]; {
		case port == nodescript.Relayed:
			l.routes[r.Node.Name] = l.routeOf(r.Node, relayed)
		case port != "":
			l.routes[r.Node.Name] = l.webSocketAt(port, r.Node)
		case !p.HasBroker():
			l.routes[r.Node.Name] = l.routeOf(r.Node, mute)
		}
		delete(r.Node.Env, nodescript.WebSocketVar)
		l.running = append(l.running, r)
		l.link(r.Node.Name)
	}
	l.all.Go(l.watch)
	return l
}

// Running returns the nodes of an earlier launcher without the added variables.
func (l *Launcher) Running() []launch.Running { return l.running }

// Start gives the node a port and starts it.
func (l *Launcher) Start(n launch.Node) {
	switch {
	case l.ServesWebSocket(n):
		port, err := freePort()
		if err != nil {
			l.events.Add(launch.Exited{Node: n.Name, Err: fmt.Errorf("finding a port for the node's WebSocket: %w", err)})
			return
		}
		l.setRoute(n.Name, l.webSocketAt(port, n))
		n.Env = withVar(n.Env, port)
	case l.hasNeighbour(n):
		l.setRoute(n.Name, l.routeOf(n, relayed))
		n.Env = withVar(n.Env, nodescript.Relayed)
	case !l.HasBroker():
		l.log.Warn().Str("node", n.Name).Msg("the node accepts no requests: it serves no WebSockets, has no Broker, and is alone on this machine")
		l.setRoute(n.Name, l.routeOf(n, mute))
	}
	l.Processes.Start(n)
}

// withVar returns an environment with the variable of the node script.
func withVar(env map[string]string, value string) map[string]string {
	env = maps.Clone(env)
	if env == nil {
		env = make(map[string]string)
	}
	env[nodescript.WebSocketVar] = value
	return env
}

// hasNeighbour reports whether the layout has another node on the machine of n that serves
// WebSockets.
func (l *Launcher) hasNeighbour(n launch.Node) bool {
	members := n.Members()
	at := slices.IndexFunc(members, func(m zeekapi.Member) bool { return m.Name == n.Name })
	return at >= 0 && slices.ContainsFunc(members, func(m zeekapi.Member) bool {
		other := n
		other.Name, other.Role = m.Name, m.Role
		return m.Name != n.Name && m.Host == members[at].Host && l.ServesWebSocket(other)
	})
}

// Scan makes Processes look for changed scripts. If Processes is no launch.Scanner, Scan
// reports no changes.
func (l *Launcher) Scan() {
	if s, ok := l.Processes.(launch.Scanner); ok {
		s.Scan()
		return
	}
	l.events.Add(launch.Edited{})
}

// Diagnose returns the information of Processes about a node, if Processes is a
// launch.Diagnoser.
func (l *Launcher) Diagnose(name string, limit int) zeekapi.Diagnosis {
	if d, ok := l.Processes.(launch.Diagnoser); ok {
		return d.Diagnose(name, limit)
	}
	return zeekapi.Diagnosis{}
}

// Leftovers returns the leftovers of Processes.
func (l *Launcher) Leftovers(needed func(string) bool, before time.Time) []zeekapi.Leftover {
	if c, ok := l.Processes.(launch.Cleaner); ok {
		return c.Leftovers(needed, before)
	}
	return nil
}

// Crashes returns the reports about a node if Processes is a launch.Crasher.
func (l *Launcher) Crashes(name string) []zeekapi.CrashReport {
	if c, ok := l.Processes.(launch.Crasher); ok {
		return c.Crashes(name)
	}
	return nil
}

// Remove removes a leftover of Processes.
func (l *Launcher) Remove(o zeekapi.Leftover, needed func(string) bool, before time.Time) error {
	if c, ok := l.Processes.(launch.Cleaner); ok {
		return c.Remove(o, needed, before)
	}
	return errors.New("there are no leftovers")
}

// LimitMemory changes the limit of a node if Processes is a launch.Limiter.
func (l *Launcher) LimitMemory(name string, bytes int64) {
	if p, ok := l.Processes.(launch.Limiter); ok {
		p.LimitMemory(name, bytes)
	}
}

// Scripts lists the scripts of a node if Processes is a launch.Lister.
func (l *Launcher) Scripts(ctx context.Context, name string, all bool) (zeekapi.NodeScripts, error) {
	if s, ok := l.Processes.(launch.Lister); ok {
		return s.Scripts(ctx, name, all)
	}
	return zeekapi.NodeScripts{}, launch.ErrNoScripts
}

// setRoute stores the connection of a node for its start. It ignores a node that runs,
// because Start does nothing then.
func (l *Launcher) setRoute(node string, r route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links[node] == nil {
		l.routes[node] = r
	}
}

func (l *Launcher) webSocketAt(port string, n launch.Node) route {
	number, _, _ := strings.Cut(port, "/")
	return route{address: net.JoinHostPort("127.0.0.1", number), indirect: l.UsesHub(n)}
}

// routeOf returns the route of a node that serves no WebSockets.
func (l *Launcher) routeOf(n launch.Node, kind routeKind) route {
	r := route{kind: kind, indirect: l.UsesHub(n)}
	members := n.Members()
	if at := slices.IndexFunc(members, func(m zeekapi.Member) bool { return m.Name == n.Name }); at >= 0 {
		r.address = net.JoinHostPort(members[at].Host.String(), strconv.Itoa(int(n.Port.Number)))
	}
	return r
}

// relay returns the address of a node that is connected to the agent, "" if there is none.
func (l *Launcher) relay() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.links)) {
		if k := l.links[name]; k.kind == direct && k.connected() != nil {
			return k.address
		}
	}
	return ""
}

// freePort returns a port that is free now. If another program takes it before the node
// listens, the node ends and is restarted with another port.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return fmt.Sprintf("%d/tcp", netip.MustParseAddrPort(listener.Addr().String()).Port()), nil
}

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close stops the nodes and then closes the connections to them.
func (l *Launcher) Close(ctx context.Context) error {
	err := l.Processes.Close(ctx)
	l.end()
	return err
}

// Leave closes the connections and leaves the nodes running.
func (l *Launcher) Leave() {
	l.Processes.Leave()
	l.end()
}

func (l *Launcher) end() {
	l.all.Wait() // watch receives the remaining events
	l.events.Close()
}

// watch forwards events, connects to nodes that start, and disconnects from those that
// have ended.
func (l *Launcher) watch() {
	defer l.cancel()
	for {
		ev, err := l.Processes.Next(context.Background())
		if err != nil {
			return
		}
		switch ev := ev.(type) {
		case launch.Started:
			l.events.Add(ev)
			l.link(ev.Node)
			continue
		case launch.Exited:
			l.unlink(ev.Node)
		}
		l.events.Add(ev)
	}
}

// Dispatch sends a request to the named nodes, except those that connect to the agent,
// whose names it returns. Unreachable nodes do not respond.
func (l *Launcher) Dispatch(req zeekapi.NodeDispatchRequest) (others []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range req.Nodes {
		if k := l.links[name]; k != nil {
			k.ask(req)
		} else if _, ours := l.routes[name]; !ours {
			others = append(others, name)
		}
	}
	return others
}

// link connects to a node that has started.
func (l *Launcher) link(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.routes[name]; ok && l.links[name] == nil {
		k := newLink(l, name, r)
		l.links[name] = k
		l.all.Go(k.run)
	}
}

// unlink closes the connection to a node. No events of the connection follow.
func (l *Launcher) unlink(name string) {
	l.mu.Lock()
	k := l.links[name]
	delete(l.links, name)
	delete(l.routes, name)
	l.mu.Unlock()
	if k != nil {
		k.cancel()
		<-k.done
	}
}
