package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/internal/diskspace"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// Config is the configuration of an agent and its connections. Settings.Name,
// Bus, Dialects and Launcher are required. The caller closes Bus and Launcher
// after Run has returned.
type Config struct {
	// Settings describe the agent. Run fills in PID, and Zeek if the launcher
	// is a launch.Versioned, unless they are set.
	Settings Settings

	// Bus must subscribe to Topics. Its endpoint has the ID
	// Settings.EndpointID. Run receives all its notifications.
	Bus broker.Bus

	// Dialects are those in which the agent accepts requests. It responds in
	// the dialect of the request.
	Dialects []*zeekapi.Dialect

	// Launcher runs the nodes. Unless it is a launch.Dispatcher, nodes send
	// hellos and responses on the bus.
	Launcher launch.Launcher

	// StateDir is the directory in which the agent stores its state. If it is
	// empty, the agent forgets its configuration when it ends.
	StateDir string

	// Sites limits the sites that the agent keeps in SitesDir. Its Dir is ignored.
	// Without StateDir, the agent accepts no sites.
	Sites site.StoreConfig

	// Disks are the directories that Settings.Disks are about. FreeSpace, if non-nil,
	// removes the oldest archived logs until that many bytes are gone. It must not
	// block.
	Disks     []diskwatch.Directory
	FreeSpace func(bytes int64)

	// Archive, if non-nil, has the failures of the archiver, for
	// Settings.ArchiveFailingAfter.
	Archive *archive.Failures

	// Directories are the directories whose space is reported.
	Directories []Directory

	// Obey reports whether a peer is a controller of this agent. Requests of
	// other peers are ignored. If Obey is nil, the agent accepts requests of
	// all peers, as Zeek's agent does.
	Obey func(broker.Peer) bool

	// Observe, if non-nil, is called by the agent's loop after Machine.Start,
	// with a nil Input, and after every Machine.Step, before the outputs are
	// performed. It may read the machine but not change it, and must not block.
	Observe func(m *Machine, in Input, out []Output)

	// Beat is the longest time between two calls of Observe: an idle machine
	// receives a Tick. Zero means that the machine receives a Tick only when it
	// needs one. A negative duration is an error.
	Beat time.Duration

	// Ending, if non-nil, makes Run end when it is closed. Run then refuses new
	// requests that would wait for nodes, and returns when it has responded to
	// the pending ones.
	Ending <-chan struct{}

	// Log receives the events of nodes, and errors that no method returns. The
	// zero value discards them.
	Log zerolog.Logger
}

// Directory is a directory of an agent or its nodes.
type Directory = diskspace.Directory

// Topics returns the prefixes that the bus of an agent must subscribe to.
func Topics(name string, dialects ...*zeekapi.Dialect) []string {
	var topics []string
	for _, d := range dialects {
		for _, topic := range []string{d.Topics.Agent(name), d.Topics.Agents, d.Topics.Node} {
			if topic != "" {
				topics = append(topics, topic)
			}
		}
	}
	return topics
}

// validate returns c with the default values filled in.
func (c Config) validate() (Config, error) {
	switch {
	case c.Bus == nil:
		return c, errors.New("agent: no bus")
	case c.Launcher == nil:
		return c, errors.New("agent: no launcher")
	case len(c.Dialects) == 0:
		return c, errors.New("agent: no dialects")
	case c.Beat < 0:
		return c, fmt.Errorf("agent: Beat is %s, must not be negative", c.Beat)
	}
	c.Dialects = introducing(c.Dialects)
	c.Settings.PID = cmp.Or(c.Settings.PID, int64(os.Getpid()))
	if v, ok := c.Launcher.(launch.Versioned); ok {
		c.Settings.Zeek = cmp.Or(c.Settings.Zeek, v.ZeekVersion())
	}
	var err error
	c.Settings, err = c.Settings.validate()
	return c, err
}

// maxWorkers limits the slow work that is done outside the loop at the same time: verifying
// and unpacking sites, listing scripts, diagnoses and cleanups.
const maxWorkers = 4

// introducing returns the dialects in the order in which the agent introduces itself:
// first those in which it also describes itself. So a controller that hears the first
// hello knows that a description follows.
func introducing(dialects []*zeekapi.Dialect) []*zeekapi.Dialect {
	describes := func(d *zeekapi.Dialect) int {
		if d.Has(zeekapi.AgentDescription{}) {
			return 0
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(dialects), func(a, b *zeekapi.Dialect) int {
		return cmp.Compare(describes(a), describes(b))
	})
}

// Run runs an agent until ctx is done or c.Ending is closed, and then returns
// nil. It fails if c is invalid, if the bus or the launcher ends before, or if
// it cannot read the state that an earlier agent with this name stored. Nodes
// keep running when Run returns.
func Run(ctx context.Context, c Config) error {
	c, err := c.validate()
	if err != nil {
		return err
	}
	p := &performer{Config: c, files: newStateFiles(c.StateDir, c.Settings.Name)}
	if c.StateDir != "" {
		p.lock, err = dirlock.Take(ctx, filepath.Dir(p.files.assignment), c.Settings.Name+".lock")
		if errors.Is(err, dirlock.ErrInUse) {
			err = fmt.Errorf("state directory %s is %w with the name %q; use another name or state-dir", c.StateDir, dirlock.ErrInUse, c.Settings.Name)
		}
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		defer p.lock.Close()
	}
	state, err := c.restore(p.files)
	if err != nil {
		return err
	}
	machine, err := NewMachine(c.Settings, state)
	if err != nil {
		return err
	}
	r := &receiver{name: c.Settings.Name, dialects: c.Dialects, obey: c.Obey, log: c.Log}
	if p.sites, err = c.openSites(machine.sites.current()); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	p.workers = eventloop.NewWorkers[Input](maxWorkers)
	defer p.workers.Wait()
	sources := []eventloop.Source[Input]{r.notifications(c.Bus), launched(c.Launcher, c.Log), p.workers.Next}
	if len(c.Directories) > 0 {
		sources = append(sources, spaceIn(c.Directories))
	}
	if p.lock != nil {
		sources = append(sources, storageChecks)
	}
	if len(c.Disks) > 0 && !c.Settings.Disks.Off() {
		sources = append(sources, disksIn(c.Disks))
	}
	if c.Archive != nil && c.Settings.ArchiveFailingAfter > 0 {
		sources = append(sources, failuresOf(c.Archive))
	}
	err = eventloop.Run(ctx, eventloop.Config[Input, Output]{
		Machine: machine,
		Tick:    Tick{}, Shutdown: Shutdown{},
		Sources: sources,
		Perform: p.perform,
		Memory:  memory,
		Observe: func(in Input, out []Output) {
			if c.Observe != nil {
				c.Observe(machine, in, out)
			}
		},
		Beat: c.Beat, Ending: c.Ending,
	})
	_, _ = p.perform(ctx, machine.finish()) // these outputs cause no inputs
	return err
}

// memory returns the memory of an input in bytes.
func memory(in Input) int {
	if r, ok := in.(Received); ok {
		return r.Memory
	}
	return 0
}

// storageChecks is a source of CheckStorage.
func storageChecks(ctx context.Context) (Input, bool, error) {
	select {
	case <-time.After(CheckInterval):
		return CheckStorage{}, true, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// disksIn returns a source of DisksRead.
func disksIn(directories []diskwatch.Directory) eventloop.Source[Input] {
	return eventloop.Every(DiskInterval, func(time.Time) Input { return DisksRead{diskwatch.Read(directories)} })
}

// failuresOf returns a source of ArchiveRead.
func failuresOf(failures *archive.Failures) eventloop.Source[Input] {
	return eventloop.Every(ArchiveInterval, func(time.Time) Input { return ArchiveRead{failures.Present()} })
}

// spaceIn returns a source of SpaceMeasured.
func spaceIn(directories []Directory) eventloop.Source[Input] {
	m := diskspace.NewMeter(directories)
	return eventloop.Every(diskspace.Interval, func(now time.Time) Input { return SpaceMeasured{m.Measure(now)} })
}

// restore returns the state that an earlier agent stored, and the running
// nodes.
func (c Config) restore(files stateFiles) (State, error) {
	state, err := files.load()
	if err != nil {
		return State{}, err
	}
	if state.Term, err = files.loadTerm(); err != nil {
		return State{}, err
	}
	if state.Nodes, err = files.history(); err != nil { // the history is only reported to clients
		c.Log.Warn().Err(err).Msg("the history of nodes under an earlier agent is lost")
	}
	if f, ok := c.Launcher.(launch.Finder); ok {
		state.Running = f.Running()
	}
	return state, nil
}
