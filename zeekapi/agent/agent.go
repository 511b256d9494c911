package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// Config is what an agent needs to run. Bus and Launcher stay the caller's,
// who closes them when Run has returned.
type Config struct {
	// Name is the name of the instance.
	Name string

	// Bus must subscribe to Topics. EndpointID is how peers know it.
	Bus        broker.Bus
	EndpointID string

	// Dialects are those in which the agent can be asked. It answers in the
	// one that it was asked in.
	Dialects []*zeekapi.Dialect

	// Launcher runs the nodes. Unless it is a launch.Dispatcher they say hello
	// and answer on the bus.
	Launcher launch.Launcher

	// StateDir is where the agent remembers its configuration; "" for nowhere.
	StateDir string

	// Connecting says that the agent connects to its controller. Listen is
	// where it listens, which it tells a controller that connects to it.
	Connecting bool
	Listen     netip.AddrPort

	// Obey reports whether a peer is a controller of this agent. Requests of
	// others are ignored; nil obeys everybody, as Zeek's agent does.
	Obey func(broker.Peer) bool

	// Version is what the agent calls itself, such as "zeekwire v1.2.0".
	Version string

	// RequestTimeout is how long a request may wait for nodes before it is
	// answered as it stands; 0 for the constant of that name.
	RequestTimeout time.Duration

	// Observe, if set, is called by the agent's loop after every step, with
	// what happened and what was done about it. It may ask the machine but not
	// change it, and must not block. With Beat set there is a step, if only a
	// Tick, at least that often: while Observe is called, the agent works.
	Observe func(m *Machine, in Input, out []Output)
	Beat    time.Duration

	// Ending has Run end when it is closed: no sooner than the requests that
	// wait for nodes are answered, new ones are refused.
	Ending <-chan struct{}

	// Log is silent if it is the zero Logger.
	Log zerolog.Logger
}

// Topics returns what the bus of an agent must subscribe to.
func Topics(name string, dialects ...*zeekapi.Dialect) []string {
	var topics []string
	for _, d := range dialects {
		topics = append(topics, d.Topics.Agent(name))
		if d.Topics.Node != "" {
			topics = append(topics, d.Topics.Node)
		}
	}
	return topics
}

func (c Config) validate() error {
	switch {
	case c.Bus == nil:
		return errors.New("agent: no bus")
	case c.Launcher == nil:
		return errors.New("agent: no launcher")
	case len(c.Dialects) == 0:
		return errors.New("agent: no dialects")
	}
	if err := zeekapi.CheckName(c.Name); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// Run is an agent until ctx or c.Ending ends it, and then returns nil. It fails if its bus or
// its launcher ends before, or if it cannot make sense of the state that an
// earlier agent of that name left. Nodes are left as they are.
func Run(ctx context.Context, c Config) error {
	if err := c.validate(); err != nil {
		return err
	}
	state := newStateFile(c.StateDir, c.Name)
	if c.StateDir != "" {
		owned, err := dirlock.Take(ctx, filepath.Dir(state.path), c.Name+".lock")
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		defer owned.Close()
	}
	past, err := state.load()
	if err != nil {
		return err
	}
	if past.Nodes, err = state.recall(); err != nil { // it is only for people
		c.Log.Warn().Err(err).Msg("what became of nodes under an earlier agent is not known")
	}
	if f, ok := c.Launcher.(launch.Finder); ok {
		past.Running = f.Running()
	}
	self := Identity{
		Name: c.Name, EndpointID: c.EndpointID,
		Connecting: c.Connecting, Listen: c.Listen, PID: int64(os.Getpid()),
		Process: zeekapi.Process{Name: c.Name, Version: c.Version, Started: time.Now()},
	}
	if v, ok := c.Launcher.(launch.Versioned); ok {
		self.Zeek = v.ZeekVersion()
	}
	machine, err := NewMachine(self, past)
	if err != nil {
		return err
	}

	machine.RequestTimeout = cmp.Or(c.RequestTimeout, RequestTimeout)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{Config: c, machine: machine, state: state}
	inputs := make(chan Input)
	feed := func(next func(context.Context) (Input, error)) {
		for {
			in, err := next(ctx)
			if err != nil {
				cancel(err)
				return
			}
			if in == nil {
				continue
			}
			select {
			case inputs <- in:
			case <-ctx.Done():
				return
			}
		}
	}
	var feeders sync.WaitGroup
	feeders.Go(func() { feed(r.nextNotification) })
	feeders.Go(func() { feed(r.nextEvent) })
	r.loop(ctx, inputs)
	if machine.forgets() {
		r.carryOut(ctx, Remember{machine.past()})
	}
	cancel(nil)
	feeders.Wait()
	if err := context.Cause(ctx); errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// errEnded is wrapped by the errors that make an agent end by itself.
var errEnded = errors.New("agent: ended")

type runner struct {
	Config
	machine   *Machine
	state     stateFile
	strangers map[uuid.UUID]bool // peers whose requests are ignored, and that was logged
}

// loop carries out what the machine says until ctx ends, or Ending does and
// nothing is pending.
func (r *runner) loop(ctx context.Context, inputs <-chan Input) {
	timer := time.NewTimer(0) // the first Tick starts what ran before
	defer timer.Stop()
	ending, ended := r.Ending, false
	for !ended || r.machine.Pending() > 0 {
		var in Input
		select {
		case in = <-inputs:
		case <-ending:
			in, ending, ended = Shutdown{}, nil, true
		case <-timer.C:
			in = Tick{}
		case <-ctx.Done():
			return
		}
		for todo := []Input{in}; len(todo) > 0; todo = todo[1:] {
			outputs := r.machine.Step(time.Now(), todo[0])
			for _, out := range outputs {
				todo = append(todo, r.carryOut(ctx, out)...)
			}
			if r.Observe != nil {
				r.Observe(r.machine, todo[0], outputs)
			}
		}
		timer.Stop()
		t, ok := r.machine.Deadline()
		if r.Beat > 0 && (!ok || time.Until(t) > r.Beat) {
			t, ok = time.Now().Add(r.Beat), true
		}
		if ok {
			timer.Reset(time.Until(t))
		}
	}
}

func (r *runner) nextEvent(ctx context.Context) (Input, error) {
	ev, err := r.Launcher.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: launcher: %w", errEnded, err)
	}
	switch ev := ev.(type) {
	case launch.Started:
		r.Log.Info().Str("node", ev.Node).Int64("pid", ev.PID).Msg("node started")
	case launch.Revived:
		r.Log.Warn().Str("node", ev.Node).Int64("pid", ev.PID).Msg("node died and was started again")
	case launch.Exited:
		r.Log.Info().Str("node", ev.Node).AnErr("reason", ev.Err).Msg("node exited")
	}
	return Launched{ev}, nil
}

// carryOut does what the machine says, and returns what to tell it about that.
func (r *runner) carryOut(ctx context.Context, out Output) []Input {
	switch out := out.(type) {
	case Publish:
		r.publish(ctx, out)
	case Keep:
		if a, ok := r.Launcher.(launch.Adopter); ok {
			a.Keep(out.Nodes)
		}
	case Check:
		if c, ok := r.Launcher.(launch.Checker); ok {
			c.Check(out.Nodes)
			return nil
		}
		var checked []Input
		for _, n := range out.Nodes {
			_, err := n.Layout.Members()
			checked = append(checked, Launched{launch.Checked{Node: n, Err: err}})
		}
		return checked
	case Start:
		r.Log.Debug().Str("node", out.Node.Name).Str("role", string(out.Node.Role)).Msg("starting node")
		r.Launcher.Start(out.Node)
	case Stop:
		r.Log.Debug().Str("node", out.Node).Msg("stopping node")
		r.Launcher.Stop(out.Node)
	case Dispatch:
		req := out.Request
		if d, ok := r.Launcher.(launch.Dispatcher); ok {
			if req.Nodes = d.Dispatch(req); len(req.Nodes) == 0 { // which would be all
				return nil
			}
		}
		r.send(ctx, nil, func(t zeekapi.Topics) string { return t.Node }, req)
	case Read:
		r.publish(ctx, Publish{out.Dialect, r.read(out)})
	case Persist:
		err := r.state.save(out.Assignment)
		if err != nil {
			r.Log.Error().Err(err).Msg("cannot save the configuration")
		}
		return []Input{Persisted{err}}
	case Remember:
		if err := r.state.remember(out.Nodes); err != nil {
			r.Log.Warn().Err(err).Msg("cannot save what became of nodes")
		}
	}
	return nil
}

func (r *runner) read(out Read) zeekapi.AgentLogsResponse {
	resp := zeekapi.AgentLogsResponse{ReqID: zeekapi.ReqID{ID: out.ReqID}}
	resp.Result = zeekapi.Result{ReqID: out.ReqID, Instance: r.Name, Node: out.Node}
	o, ok := r.Launcher.(launch.Outputter)
	if !ok {
		resp.Result.Error = "the outputs of nodes are not kept here"
		return resp
	}
	outputs, err := o.Outputs(out.Node, out.Bytes)
	switch {
	case errors.Is(err, launch.ErrNoOutputs) && out.Gone:
		resp.Result.Error = fmt.Sprintf("no node %q on instance %s", out.Node, r.Name)
		return resp
	case errors.Is(err, launch.ErrNoOutputs): // so far
	case err != nil:
		resp.Result.Error = err.Error()
		return resp
	}
	if out.Gone {
		resp.Result.Error = "it is not to run here any more" // a remark, as there are data
	}
	resp.Result.Success, resp.Result.Data = true, mustMarshal(outputs)
	return resp
}

func (r *runner) publish(ctx context.Context, out Publish) {
	switch msg := out.Message.(type) {
	case zeekapi.AgentError:
		r.Log.Warn().Str("node", msg.Node).Msg(msg.Text)
	case zeekapi.AgentChange:
		r.Log.Info().Str("node", msg.Node.Name).Str("old", string(msg.Old)).Str("new", string(msg.New)).Msg("node changed state")
	}
	r.send(ctx, out.Dialect, func(t zeekapi.Topics) string { return t.Agent(r.Name) }, out.Message)
}

// send publishes in one dialect, or in all that have the message.
func (r *runner) send(ctx context.Context, only *zeekapi.Dialect, topic func(zeekapi.Topics) string, msg zeekapi.Message) {
	for _, d := range r.Dialects {
		if only != nil && only != d || !d.Has(msg) {
			continue
		}
		ev, err := d.Encode(msg)
		if err == nil {
			r.Log.Debug().Str("event", ev.Name).Str("reqid", msg.RequestID()).Msg("publishing")
			err = broker.PublishEvent(ctx, r.Bus, topic(d.Topics), ev)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.Error().Err(err).Str("dialect", d.Name).Msg("cannot publish")
		}
	}
}
