// Package supervised lets a Supervisor of Zeek 5.0 or later run the nodes: a "zeek -j" on
// the same machine that listens for requests (SupervisorControl::enable_listen=T, and
// with Zeek 8.1 or later the script policy/frameworks/cluster/backend/broker). The
// command line of the Supervisor determines which scripts its nodes load in addition to
// their own, and how they use TLS.
//
// The Supervisor restarts nodes that die, and they keep running without an agent. A
// launcher adopts the nodes that it finds, including those of Zeek's own agent, if they
// have the right configuration. It ignores processes of agents and controllers.
//
// The last output of a dead node is known only if the Supervisor loads
// policy/frameworks/management/supervisor. The Supervisor writes the files of outputs,
// and they are not limited in size.
package supervised

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// Config configures a Launcher.
type Config struct {
	// Bus is connected to the Supervisor and to no other peer. It must subscribe to
	// Topics. The launcher closes it.
	Bus broker.Bus

	// StateDir is the parent of the nodes' directories. The user of the Supervisor
	// must be able to write there.
	StateDir string

	// Instance is the name of the instance. Agents of other instances, each with a
	// Supervisor of its own, may use the same state directory at the same time. Empty
	// means that no other agent uses it.
	Instance string

	// TopicPrefix is the topic of the Supervisor's reports. Empty means Zeek's
	// default (Zeek: Management::Supervisor::topic_prefix).
	TopicPrefix string

	// StdoutFile and StderrFile are the names of the files for the outputs of nodes,
	// in their directories; "" means Zeek's defaults
	// (Zeek: Management::Node::stdout_file).
	StdoutFile, StderrFile string

	// Agent is the agent to which the nodes connect.
	Agent nodescript.Agent

	// Log receives events that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// Topics returns the topics to which the bus must subscribe. The prefix is
// Config.TopicPrefix.
func Topics(prefix string) []string {
	return []string{control.Topic, cmp.Or(prefix, management.DefaultTopics.Supervisor)}
}

// Launcher is a launch.Launcher, a launch.Adopter, a launch.Outputter, a launch.Scanner and a
// launch.Lister.
// Its nodes send their hellos and responses on the agent's bus. Nodes do not start before
// the Supervisor is connected.
type Launcher struct {
	config   Config
	stateDir string // absolute
	owner    *launch.Owner
	exits    *zeekapi.Dialect
	dialects map[control.Layout]*zeekapi.Dialect
	events   launch.Events
	watcher  *loaded.Watcher
	scripts  nodescript.Files

	ctx    context.Context // done after Close
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	machine *machine
	timer   *time.Timer
}

var (
	_ launch.Launcher  = (*Launcher)(nil)
	_ launch.Adopter   = (*Launcher)(nil)
	_ launch.Outputter = (*Launcher)(nil)
	_ launch.Scanner   = (*Launcher)(nil)
	_ launch.Lister    = (*Launcher)(nil)
)

// New returns a launcher. It locks the state directory, waiting a short time if another
// launcher has it, and writes the scripts that nodes load into it.
func New(ctx context.Context, c Config) (*Launcher, error) {
	if c.Bus == nil || c.StateDir == "" {
		return nil, errors.New("supervisor launcher: no bus or no state directory")
	}
	dir, err := filepath.Abs(c.StateDir) // nodes have other working directories
	if err != nil {
		return nil, fmt.Errorf("supervisor launcher: state directory: %w", err)
	}
	agent, err := c.Agent.In(c.StateDir)
	if err != nil {
		return nil, fmt.Errorf("supervisor launcher: %w", err)
	}
	owner, err := launch.Own(ctx, dir, c.Instance)
	if err != nil {
		return nil, fmt.Errorf("supervisor launcher: %w", err)
	}
	scripts, err := nodescript.Write(filepath.Join(dir, "scripts"))
	if err != nil {
		owner.Close()
		return nil, fmt.Errorf("supervisor launcher: %w", err)
	}
	s := setup{
		agent:    agent,
		stateDir: dir, scripts: scripts,
	}
	topics := management.DefaultTopics
	topics.Supervisor = cmp.Or(c.TopicPrefix, topics.Supervisor)
	l := &Launcher{
		config:   c,
		stateDir: dir,
		owner:    owner,
		exits:    management.Dialect(topics),
		dialects: make(map[control.Layout]*zeekapi.Dialect),
		machine:  newMachine("zeekwire-"+uuid.NewString(), s.config, s.same),
		timer:    time.NewTimer(0),
		scripts:  scripts,
	}
	l.watcher = loaded.NewWatcher(loaded.Config{Nodes: l.loadedNodes, Ignored: l.ignores, Events: &l.events, Log: c.Log})
	for _, layout := range append([]control.Layout{control.LayoutUnknown}, control.Layouts...) {
		l.dialects[layout] = control.Dialect(control.Topic, layout)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.all.Go(l.listen)
	l.all.Go(l.watchTime)
	l.all.Go(func() { proc.Measure(l.ctx, &l.events, l.owners) })
	l.all.Go(func() { l.watcher.Run(l.ctx) })
	return l, nil
}

// Start makes the Supervisor create a node, unless it has the node already. A node with a
// site does not start, because the Supervisor determines where its nodes find scripts, nor
// does one with an assignment among its scripts, or with several CPUs.
func (l *Launcher) Start(n launch.Node) {
	l.step(func(now time.Time) []output { return l.machine.start(now, n) })
}

// Stop makes the Supervisor destroy a node. The node is reported as ended when the
// Supervisor confirms: it starts no other node until the process has ended.
func (l *Launcher) Stop(name string) {
	l.step(func(now time.Time) []output { return l.machine.stop(now, name) })
}

// Keep makes the Supervisor destroy the nodes that it had before, except these.
func (l *Launcher) Keep(names []string) {
	l.step(func(now time.Time) []output { return l.machine.keepOnly(now, names) })
}

// Outputs returns the ends of a node's outputs since its last start, at most limit bytes
// of each. The node may have ended. There are no outputs unless the Supervisor loads
// policy/frameworks/management/supervisor.
func (l *Launcher) Outputs(name string, limit int) (zeekapi.NodeOutputs, error) {
	l.mu.Lock()
	dir := cmp.Or(l.machine.directory(name), nodeDir(l.stateDir, name))
	l.mu.Unlock()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return zeekapi.NodeOutputs{}, launch.ErrNoOutputs
	}
	stdout, errOut := tailfile.Read(filepath.Join(dir, cmp.Or(l.config.StdoutFile, "stdout")), limit)
	stderr, errErr := tailfile.Read(filepath.Join(dir, cmp.Or(l.config.StderrFile, "stderr")), limit)
	if err := errors.Join(errOut, errErr); err != nil {
		return zeekapi.NodeOutputs{}, fmt.Errorf("supervisor launcher: output of node %s: %w", name, err)
	}
	return zeekapi.NodeOutputs{Stdout: string(stdout), Stderr: string(stderr)}, nil
}

// Scan looks for changed scripts. An Edited event follows. It examines only nodes on this
// machine that the agent started. The version of Zeek is unknown, so changed scripts of the
// Zeek installation are reported, too.
func (l *Launcher) Scan() { l.watcher.Scan() }

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close ends the launcher. The Supervisor keeps the nodes running for the next agent.
func (l *Launcher) Close(context.Context) error {
	l.cancel()
	err := l.config.Bus.Close()
	l.all.Wait()
	l.timer.Stop()
	l.owner.Close()
	l.events.Close()
	return err
}

// listen receives messages of the Supervisor until Close, or until another owner
// closes the bus.
func (l *Launcher) listen() {
	for {
		notification, err := l.config.Bus.Next(l.ctx)
		if err != nil {
			if l.ctx.Err() == nil {
				l.events.Close()
			}
			return
		}
		switch notification := notification.(type) {
		case broker.PeerAdded:
			l.config.Log.Info().Stringer("address", notification.Peer.Addr).Msg("connected to the Supervisor")
			l.step(l.machine.connected)
		case broker.PeerLost:
			l.config.Log.Warn().AnErr("reason", notification.Err).Msg("lost the connection to the Supervisor; its nodes keep running")
			l.step(func(time.Time) []output { l.machine.disconnected(); return nil })
		case broker.Received:
			l.received(notification.Message)
		}
	}
}

func (l *Launcher) received(m broker.Message) {
	ev, err := broker.ParseEvent(m.Value)
	if err != nil {
		l.config.Log.Debug().Str("topic", m.Topic).Err(err).Msg("ignoring message")
		return
	}
	for _, d := range []*zeekapi.Dialect{l.dialects[control.LayoutUnknown], l.exits} {
		msg, err := d.Decode(ev)
		if errors.Is(err, zeekapi.ErrUnknown) {
			continue
		}
		if err != nil {
			l.config.Log.Warn().Str("topic", m.Topic).Err(err).Msg("ignoring event")
			return
		}
		l.config.Log.Debug().Str("event", ev.Name).Str("reqid", msg.RequestID()).Msg("received")
		l.step(func(now time.Time) []output { return l.machine.received(now, msg) })
		return
	}
}

// watchTime sends ticks to the machine.
func (l *Launcher) watchTime() {
	for {
		select {
		case <-l.timer.C:
			l.step(l.machine.tick)
		case <-l.ctx.Done():
			return
		}
	}
}

// step gives the machine an input and performs its outputs.
func (l *Launcher) step(take func(time.Time) []output) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, out := range take(time.Now()) {
		switch out := out.(type) {
		case send:
			l.send(out)
		case report:
			l.events.Add(out.event)
		case note:
			l.config.Log.Warn().Str("node", out.node).Msg(out.text)
		}
	}
	l.timer.Stop()
	if t, ok := l.machine.deadline(); ok {
		l.timer.Reset(time.Until(t))
	}
}

func (l *Launcher) send(out send) {
	ev, err := l.dialects[out.layout].Encode(out.message)
	if err == nil {
		l.config.Log.Debug().Str("event", ev.Name).Str("reqid", out.message.RequestID()).Msg("publishing")
		err = broker.PublishEvent(l.ctx, l.config.Bus, control.Topic, ev)
	}
	if err != nil && l.ctx.Err() == nil {
		l.config.Log.Error().Err(err).Msg("cannot send a request to the Supervisor")
	}
}
