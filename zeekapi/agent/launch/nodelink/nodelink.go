// Package nodelink reaches nodes that have no Broker to connect to the agent
// with. Such a node listens for WebSockets on a loopback port that it was given
// in its environment, and the launcher connects to it.
//
// In a Zeek cluster, a client that connects to one node reaches all nodes. Each node
// therefore has its own topics and a connection of its own, and needs no other
// node to be reached. The connections are in the clear: they do not leave the
// machine.
//
// Nodes that cannot listen for WebSockets connect to the agent by Broker. Where
// there is none either, a node counts as running when it listens at its port,
// and cannot be asked anything.
package nodelink

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Processes is who runs the nodes: package zeek.
type Processes interface {
	launch.Launcher
	launch.Finder
	launch.Checker
	launch.Outputter
	launch.Versioned
	launch.Leaver

	// ServesWebSocket reports whether a node can listen for WebSockets, and
	// HasBroker whether nodes can connect to the agent.
	ServesWebSocket(launch.Node) bool
	HasBroker() bool
}

// Launcher is Processes, and a launch.Dispatcher.
type Launcher struct {
	Processes
	log     zerolog.Logger
	dialect *zeekapi.Dialect
	events  launch.Events

	ctx    context.Context // ends when nothing more follows from Processes
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	running []launch.Running
	ways    map[string]way // by node; none: it connects to the agent
	links   map[string]*link
}

// way is how to get at a node.
type way struct {
	address string
	mute    bool // there is nothing to be said
}

var (
	_ launch.Launcher   = (*Launcher)(nil)
	_ launch.Dispatcher = (*Launcher)(nil)
)

// New returns a launcher that connects to the nodes of p, which it owns from
// then on.
func New(p Processes, log zerolog.Logger) *Launcher {
	l := &Launcher{
		Processes: p, log: log, dialect: management.Dialect(management.DefaultTopics),
		ways: make(map[string]way), links: make(map[string]*link),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, r := range p.Running() {
		// The agent compares nodes with what they should be, which does not
		// have what we added.
		r.Node.Env = maps.Clone(r.Node.Env)
		if port := r.Node.Env[nodescript.WebSocketVar]; port != "" {
			l.ways[r.Node.Name] = webSocketAt(port)
		} else if !p.HasBroker() {
			l.ways[r.Node.Name] = muteWay(r.Node)
		}
		delete(r.Node.Env, nodescript.WebSocketVar)
		l.running = append(l.running, r)
		l.link(r.Node.Name)
	}
	l.all.Go(l.watch)
	return l
}

// Running returns the nodes that ran already, as the agent knows them.
func (l *Launcher) Running() []launch.Running { return l.running }

// Start gives the node a port and starts it.
func (l *Launcher) Start(n launch.Node) {
	if !l.ServesWebSocket(n) {
		if !l.HasBroker() {
			l.log.Warn().Str("node", n.Name).Msg("the node cannot be asked for values: it serves no WebSockets, and there is no Broker")
			l.setWay(n.Name, muteWay(n))
		}
		l.Processes.Start(n)
		return
	}
	port, err := freePort()
	if err != nil {
		l.events.Add(launch.Exited{Node: n.Name, Err: fmt.Errorf("finding a port for its WebSocket: %w", err)})
		return
	}
	l.setWay(n.Name, webSocketAt(port))
	n.Env = maps.Clone(n.Env)
	if n.Env == nil {
		n.Env = make(map[string]string)
	}
	n.Env[nodescript.WebSocketVar] = port
	l.Processes.Start(n)
}

// setWay notes how to get at a node when it will have started. With one that
// runs Start does nothing.
func (l *Launcher) setWay(node string, w way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links[node] == nil {
		l.ways[node] = w
	}
}

func webSocketAt(port string) way {
	number, _, _ := strings.Cut(port, "/")
	return way{address: net.JoinHostPort("127.0.0.1", number)}
}

// muteWay is that to a node that only shows that it runs, by listening.
func muteWay(n launch.Node) way {
	m, err := n.Layout.Member(n.Name)
	if err != nil {
		return way{mute: true}
	}
	return way{net.JoinHostPort(m.Host.String(), strconv.Itoa(int(n.Port.Number))), true}
}

// freePort returns a port that is free right now. If it is not any more when
// the node gets to it, the node ends and is started again with another.
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

// Close ends the nodes and then the connections to them.
func (l *Launcher) Close(ctx context.Context) error {
	err := l.Processes.Close(ctx)
	l.end()
	return err
}

// Leave ends the connections and leaves the nodes running.
func (l *Launcher) Leave() {
	l.Processes.Leave()
	l.end()
}

func (l *Launcher) end() {
	l.all.Wait() // for watch, which takes what is left
	l.events.Close()
}

// watch passes events on, connects to nodes that start and lets go those that
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

// Dispatch sends a request to the nodes that it names, other than those that
// connect to the agent. Those that cannot be reached do not answer.
func (l *Launcher) Dispatch(req zeekapi.NodeDispatchRequest) (others []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range req.Nodes {
		if k := l.links[name]; k != nil {
			k.ask(req)
		} else if _, ours := l.ways[name]; !ours {
			others = append(others, name)
		}
	}
	return others
}

// link connects to a node that has started.
func (l *Launcher) link(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.ways[name]; ok && l.links[name] == nil {
		k := newLink(l, name, w)
		l.links[name] = k
		l.all.Go(k.run)
	}
}

// unlink ends the connection to a node. Nothing of it follows.
func (l *Launcher) unlink(name string) {
	l.mu.Lock()
	k := l.links[name]
	delete(l.links, name)
	delete(l.ways, name)
	l.mu.Unlock()
	if k != nil {
		k.cancel()
		<-k.done
	}
}
