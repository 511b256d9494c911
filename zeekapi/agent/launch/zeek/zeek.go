// Package zeek runs nodes as processes of an installed Zeek, 5.0 or later,
// without Zeek's Supervisor and without its Management scripts.
//
// Each node has a directory of its own, <state>/nodes/<name>, in which it
// runs: with cluster-layout.zeek, its output in the files stdout and stderr,
// and while it runs process.json, by which a later launcher knows the process.
// Log files that were rotated go to <state>/log-queue under names that
// zeek-archiver understands. A lock on <state>/launcher.lock keeps a second
// launcher out.
package zeek

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// DefaultPatience is how long a node may take to end before it is killed: as
// long as under Zeek's Supervisor (Zeek: Stem::Destroy).
const DefaultPatience = 26 * time.Second

// Config says how to run nodes.
type Config struct {
	// Binary is the zeek program; "" for the one in PATH.
	Binary string

	// StateDir is where nodes have their directories.
	StateDir string

	// Agent is where the agent listens for its nodes. An unspecified address
	// stands for all of the machine's.
	Agent netip.AddrPort

	// TLS is how the agent's own connections are protected. Nodes protect
	// those between them and with the agent in the same way, with the agent's
	// certificate. PeerName is not for them.
	TLS security.Config

	// Patience is how long a node may take to end before it is killed; 0 for
	// DefaultPatience.
	Patience time.Duration

	// Log is silent if it is the zero Logger.
	Log zerolog.Logger
}

// Launcher is a launch.Launcher. Its nodes say hello and answer on the agent's
// bus.
type Launcher struct {
	config  Config
	install installation
	scripts nodescript.Files
	events  launch.Events
	killed  context.Context // done when nodes must end at once
	kill    context.CancelFunc

	mu     sync.Mutex
	closed bool
	nodes  map[string]context.CancelFunc // stops the node
	all    sync.WaitGroup
	owned  *os.File // held open, and with that the state directory
}

var _ launch.Launcher = (*Launcher)(nil)

// New looks at the installed Zeek, prepares the state directory and ends what
// an earlier launcher left running in it, waiting for that at most as long as
// for any node or until ctx ends.
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
	c.Log.Info().Str("zeek", install.binary).Stringer("version", install.version).Str("state", l.config.StateDir).Msg("launching nodes with Zeek")
	return l, nil
}

func newLauncher(ctx context.Context, c Config, install installation) (*Launcher, error) {
	if c.StateDir == "" {
		return nil, errors.New("no state directory")
	}
	var err error
	if c.StateDir, err = filepath.Abs(c.StateDir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	for _, file := range []*string{&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.CAFile} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil { // nodes run elsewhere
			return nil, err
		}
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	l := &Launcher{config: c, install: install, nodes: make(map[string]context.CancelFunc)}
	if l.owned, err = own(c.StateDir); err != nil {
		return nil, err
	}
	if l.scripts, err = nodescript.Write(filepath.Join(c.StateDir, "scripts")); err == nil {
		err = l.endLeftovers(ctx)
	}
	if err != nil {
		l.owned.Close()
		return nil, err
	}
	l.killed, l.kill = context.WithCancel(context.Background())
	return l, nil
}

// own takes a state directory for as long as the file that it returns is open:
// a second launcher would take the nodes of the first for left-overs. Nodes do
// not inherit the file.
func own(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "launcher.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("state directory %s is in use by another agent", dir)
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

func (l *Launcher) nodeDir(name string) string {
	return filepath.Join(l.config.StateDir, "nodes", name)
}

// Start starts a node.
func (l *Launcher) Start(n launch.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.nodes[n.Name] != nil {
		return
	}
	ctx, stop := context.WithCancel(l.killed)
	l.nodes[n.Name] = stop
	l.all.Go(func() {
		defer stop()
		exited := l.run(ctx, n)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.nodes, n.Name)
		l.events.Add(exited)
	})
}

// Stop sends a node SIGTERM and, if it has not ended in time, SIGKILL to it
// and all that it started.
func (l *Launcher) Stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stop := l.nodes[name]; stop != nil {
		stop()
	}
}

// Next waits for the next event.
func (l *Launcher) Next(ctx context.Context) (launch.Event, error) { return l.events.Next(ctx) }

// Close stops all nodes as Stop does, and kills them when ctx ends.
func (l *Launcher) Close(ctx context.Context) error {
	defer l.kill()
	defer context.AfterFunc(ctx, l.kill)()
	l.mu.Lock()
	l.closed = true
	for _, stop := range l.nodes {
		stop()
	}
	l.mu.Unlock()
	l.all.Wait()
	l.owned.Close()
	l.events.Close()
	return nil
}
