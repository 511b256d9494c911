// Package zeek runs nodes as processes of an installed Zeek, 5.0 or later,
// without Zeek's Supervisor and without its Management scripts.
//
// Each node runs in its own directory, <state>/nodes/<name>. It contains
// cluster-layout.zeek, the output in the size-limited files stdout and stderr and, from
// before the start until after the end, process.json, by which a later launcher finds
// the node. The file scripts.json holds the fingerprint of the scripts that the node has
// loaded. Nodes keep running when a launcher is killed, or ends with Leave.
//
// Reports of crashes are in <state>/crashes, see package crashes.
//
// Rotated logs go to <state>/log-queue, with names that zeek-archiver understands. Locks
// in the state directory exclude a second launcher for the same instance.
package zeek

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/agent/crashes"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// DefaultPatience is the default of Config.Patience, the value of Zeek's Supervisor
// (Zeek: Stem::Destroy).
const DefaultPatience = 26 * time.Second

// Config configures a Launcher.
type Config struct {
	// Binary is the path of the zeek program; "" means the one in PATH.
	Binary string

	// StateDir is the directory that contains the directories of nodes.
	StateDir string

	// Instance is the name of the instance whose nodes the launcher runs. Launchers of
	// other instances may use the same state directory at the same time. Empty means
	// that the launcher owns all nodes there, and shares the directory with no other.
	Instance string

	// SitesDir is the directory that contains the sites of nodes, each in a directory
	// with the name launch.Node.Site. "" means that there are none: nodes with a site
	// do not start.
	SitesDir string

	// Args are arguments of zeek for all nodes: scripts, which nodes load before their
	// own, options, and assignments of variables. They correspond to the command line of
	// a Supervisor; see CheckArgs. Names of scripts are relative to the working directory
	// of the launcher if there is such a file, otherwise nodes find them in ZEEKPATH.
	Args []string

	// CheckTimeout limits the time of a trial check, in which Zeek loads the scripts of
	// all nodes. Nodes whose scripts have not been loaded by then have not passed. Zero
	// means DefaultCheckTimeout. A negative value is an error.
	CheckTimeout time.Duration

	// StdoutFile and StderrFile are the names of the files for a node's standard
	// output and error, in its directory; "" means "stdout" and "stderr"
	// (Zeek: Management::Node::stdout_file).
	StdoutFile, StderrFile string

	// OutputLines is the number of lines of output that are reported when a node has
	// ended; 0 means 100 (Zeek: Management::Supervisor::output_max_lines).
	OutputLines int

	// MaxOutput limits the size of each output file, in bytes. When a file exceeds
	// it, the last eighth is kept in a file with the suffix ".old". 0 means 8 MiB.
	MaxOutput int64

	// Agent is the agent to which the nodes connect.
	Agent nodescript.Agent

	// TLS is the TLS configuration of the agent. Nodes use it, with the agent's
	// certificate, for connections to the agent and to each other. They ignore
	// PeerName.
	TLS security.Config

	// Backend is the cluster backend of nodes whose own scripts load none. "" means
	// Broker, or ZeroMQ if Zeek was built without Broker.
	Backend Backend

	// Patience is the time that a node has to end before it is killed; 0 means
	// DefaultPatience.
	Patience time.Duration

	// Log receives events that no method returns. The zero value discards them.
	Log zerolog.Logger

	scanInterval time.Duration // loaded.Config.Interval
}

// Launcher is a launch.Launcher. Its nodes send their hellos and responses on the agent's
// bus.
type Launcher struct {
	config     Config
	common     nodeArgs // Config.Args
	install    atomic.Pointer[installation]
	refreshing sync.Mutex // held by refresh
	scripts    nodescript.Files
	events     launch.Events
	killed     context.Context // done: kill all nodes
	kill       context.CancelFunc
	left       context.Context // done: leave all nodes running
	leave      context.CancelFunc
	closing    context.Context // done: start no more nodes
	close      context.CancelFunc
	running    []launch.Running // found at creation
	parsed     parsedKeys

	memory    memoryGroups
	crashes   *crashes.Store
	reporting sync.Mutex // held while a backtrace is made

	trials  chan struct{} // has an element for each Zeek that parses scripts in a trial
	watcher *loaded.Watcher
	plugins pluginSites

	parseLimit time.Duration // the constant parseLimit, except in tests
	resources  resources     // those of the machine, except in tests

	mu    sync.Mutex
	nodes map[string]*life
	all   sync.WaitGroup
	owner *launch.Owner
}

// life is a run of a node, from before its start until after its end.
type life struct {
	node    launch.Node
	stop    context.CancelFunc
	pid     int         // 0: not started
	started loaded.Node // Start is "": not started
}

var (
	_ launch.Launcher  = (*Launcher)(nil)
	_ launch.Finder    = (*Launcher)(nil)
	_ launch.Checker   = (*Launcher)(nil)
	_ launch.Scanner   = (*Launcher)(nil)
	_ launch.Lister    = (*Launcher)(nil)
	_ launch.Outputter = (*Launcher)(nil)
	_ launch.Versioned = (*Launcher)(nil)
	_ launch.Leaver    = (*Launcher)(nil)
	_ launch.Diagnoser = (*Launcher)(nil)
	_ launch.Cleaner   = (*Launcher)(nil)
	_ launch.Crasher   = (*Launcher)(nil)
	_ launch.Limiter   = (*Launcher)(nil)
)

// New inspects the installed Zeek, prepares the state directory and adopts the nodes that
// an earlier launcher left running there. It stops nodes that it cannot adopt, and kills
// each of them after Config.Patience, or when ctx ends.
func New(ctx context.Context, c Config) (*Launcher, error) {
	if c.Binary == "" {
		c.Binary = "zeek"
	}
	install, err := inspect(ctx, c.Binary)
	if err != nil {
		return nil, fmt.Errorf("zeek launcher: %w", err)
	}
	l, err := newLauncher(ctx, c, install)
	if err != nil {
		return nil, fmt.Errorf("zeek launcher: %w", err)
	}
	c.Log.Info().Str("zeek", install.binary).Str("version", install.text).Str("state", l.config.StateDir).Msg("launching nodes with Zeek")
	if err := currentPrivileges().forbid(install.binary); err != nil {
		c.Log.Warn().Msg("nodes with an interface cannot run: " + err.Error())
	}
	return l, nil
}

// complete returns c with the default values filled in, and with absolute paths.
func (c Config) complete() (Config, error) {
	if c.StateDir == "" {
		return c, errors.New("no state directory")
	}
	var err error
	if c.StateDir, err = filepath.Abs(c.StateDir); err != nil {
		return c, fmt.Errorf("state directory: %w", err)
	}
	if c.Agent, err = c.Agent.In(c.StateDir); err != nil {
		return c, err
	}
	c.StdoutFile, c.StderrFile = cmp.Or(c.StdoutFile, "stdout"), cmp.Or(c.StderrFile, "stderr")
	c.OutputLines = cmp.Or(c.OutputLines, outputLines)
	c.MaxOutput = cmp.Or(c.MaxOutput, maxOutput)
	for _, file := range []*string{&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.CAFile} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil { // nodes have other working directories
			return c, err
		}
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.SitesDir != "" {
		if c.SitesDir, err = filepath.Abs(c.SitesDir); err != nil {
			return c, fmt.Errorf("directory of sites: %w", err)
		}
	}
	if c.CheckTimeout < 0 {
		return c, fmt.Errorf("CheckTimeout is %s, must not be negative", c.CheckTimeout)
	}
	c.CheckTimeout = cmp.Or(c.CheckTimeout, DefaultCheckTimeout)
	return c, nil
}

func newLauncher(ctx context.Context, c Config, install installation) (*Launcher, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	l := &Launcher{
		config: c, parseLimit: parseLimit, resources: machineResources, nodes: make(map[string]*life),
		trials: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if l.common, err = parseArgs(c.Args); err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	l.common = l.common.in(here)
	l.watcher = l.newWatcher()
	l.memory = findMemoryGroups("/", c.Instance)
	l.crashes = crashes.Open(l.crashesDir(), c.Log)
	install.file, _ = os.Stat(install.binary) // nil: any later file counts as a replacement
	l.install.Store(&install)
	if l.owner, err = launch.Own(ctx, c.StateDir, c.Instance); err != nil {
		return nil, err
	}
	_ = os.RemoveAll(l.checksDir()) // files of checks that did not end
	var running []found
	if l.scripts, err = nodescript.Write(filepath.Join(c.StateDir, "scripts")); err == nil {
		running, err = l.find(ctx)
	}
	if err != nil {
		l.owner.Close()
		return nil, err
	}
	l.killed, l.kill = context.WithCancel(context.Background())
	l.left, l.leave = context.WithCancel(context.Background())
	l.closing, l.close = context.WithCancel(context.Background())
	for _, f := range running {
		l.running = append(l.running, f.Running)
		l.live(f.Node, func(ctx context.Context) error { return l.supervise(ctx, f.Node.Name, f.process) })
		l.watched(f.Node.Name, f.process, f.started)
	}
	l.all.Go(func() { proc.Measure(l.closing, &l.events, l.owners) })
	l.all.Go(l.cutOutputs)
	l.all.Go(func() { l.watcher.Run(l.closing) })
	return l, nil
}

func (l *Launcher) checksDir() string {
	return filepath.Join(l.config.StateDir, "checks", l.config.Instance)
}

func (l *Launcher) crashesDir() string { return filepath.Join(l.config.StateDir, "crashes") }

func (l *Launcher) nodesDir() string { return filepath.Join(l.config.StateDir, "nodes") }

func (l *Launcher) nodeDir(name string) string { return filepath.Join(l.nodesDir(), name) }

// Running returns the nodes that ran when the launcher was created.
func (l *Launcher) Running() []launch.Running { return l.running }

// ZeekVersion returns the version of the installed Zeek.
func (l *Launcher) ZeekVersion() string { return l.zeek().text }

// ServesWebSocket reports whether a node can listen for WebSockets. A node that receives logs
// by ZeroMQ cannot: for each WebSocket, Zeek up to 9.1-dev listens for logs again at the same
// port, and hangs when the WebSocket is closed (Zeek: ZeroMQBackend::DoInit,
// ZeroMQBackend::DoTerminate).
func (l *Launcher) ServesWebSocket(n launch.Node) bool {
	return l.backend(n) != ZeroMQ || !n.ReceivesLogs()
}

// UsesHub reports whether the messages of a node pass through the manager, as with ZeroMQ.
func (l *Launcher) UsesHub(n launch.Node) bool { return l.backend(n) == ZeroMQ }

// HasBroker reports whether nodes can connect to the agent with Broker.
func (l *Launcher) HasBroker() bool { return !l.zeek().noBroker }

// Start starts a node. It does nothing if a node with that name runs.
func (l *Launcher) Start(n launch.Node) {
	l.live(n, func(ctx context.Context) error { return l.run(ctx, n) })
}

// live calls run for a node in a new goroutine, unless the name is in use or the launcher
// closes. It reports the end of the node.
func (l *Launcher) live(n launch.Node, run func(context.Context) error) {
	name := n.Name
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Err() != nil || l.nodes[name] != nil {
		return
	}
	ctx, stop := context.WithCancel(l.killed)
	l.nodes[name] = &life{node: n, stop: stop}
	l.all.Go(func() {
		defer stop()
		err := run(ctx)
		if !errors.Is(err, errLeft) {
			err = l.memory.leave(n, err)
		}
		outputs := l.lastOutputs(name)
		if err != nil && ctx.Err() == nil && !errors.Is(err, errLeft) {
			l.crashed(name, err, outputs)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.nodes, name)
		if !errors.Is(err, errLeft) {
			l.events.Add(launch.Exited{Node: name, Err: err, Outputs: outputs})
		}
	})
}

// groups returns the names of running nodes by process group.
func (l *Launcher) groups() map[int]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	groups := make(map[int]string)
	for name, n := range l.nodes {
		if n.pid != 0 {
			groups[n.pid] = name
		}
	}
	return groups
}

// owners returns a function that returns the node of a process, or nil if there are no
// nodes.
func (l *Launcher) owners() func(int, proc.Stat) string {
	groups := l.groups()
	if len(groups) == 0 {
		return nil
	}
	return func(_ int, s proc.Stat) string { return groups[s.Group] }
}

// names returns the names that are in use.
func (l *Launcher) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.nodes))
}

// watched records the process and the start of a node. It does nothing if the node has
// already ended.
func (l *Launcher) watched(name string, p process, started loaded.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		n.pid, n.started = p.pid, started
	}
}

// Stop sends SIGTERM to a node. If the node has not ended after Config.Patience, it and all
// processes that it started are killed.
func (l *Launcher) Stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		n.stop()
	}
}

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close stops all nodes as Stop does, and kills them when ctx ends.
func (l *Launcher) Close(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.kill)()
	l.mu.Lock()
	l.close()
	for _, n := range l.nodes {
		n.stop()
	}
	l.mu.Unlock()
	l.end()
	return nil
}

// Leave ends the launcher and leaves the nodes running.
func (l *Launcher) Leave() {
	l.mu.Lock()
	l.close()
	l.leave()
	l.mu.Unlock()
	l.end()
}

func (l *Launcher) end() {
	l.all.Wait()
	l.kill()
	l.leave()
	l.owner.Close()
	l.events.Close()
}
