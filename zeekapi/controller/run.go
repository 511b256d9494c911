package controller

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// inputBatch is the number of inputs whose changes are stored together: a
// transaction takes about as long for many changes as for one.
const inputBatch = 1024

// checkInterval is the time between two checks of the store.
const checkInterval = time.Second

// Run runs a controller until ctx or cfg.Ending ends it, and then returns nil.
// It ends earlier with an error if cfg is invalid, if the state cannot be loaded, or if
// a bus fails.
//
// If the store fails later, the controller refuses changes, because it must not
// acknowledge what is not stored, and keeps in memory what it cannot refuse. It
// stores that, and accepts changes again, as soon as the store works.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Store == nil {
		return run(ctx, cfg, nil, State{})
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	state, err := cfg.Store.Load()
	if err != nil {
		return err
	}
	if file, ok := cfg.Store.(*FileStore); ok {
		file.tell(cfg.Log, state)
	}
	return run(ctx, cfg, cfg.Store, state)
}

func run(ctx context.Context, cfg Config, store stateStore, state State) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	machine, err := NewMachine(cfg.Settings, state, uuid.NewString, cfg.Log)
	if err != nil {
		return err
	}
	space := new(measuredSpace)
	defer space.watch(ctx, cfg.Directories)()
	cfg.furnish(machine, space)
	next := func(state State) *Machine {
		m, _ := NewMachine(cfg.Settings, state, uuid.NewString, cfg.Log) // an error is about settings, which are valid
		cfg.furnish(m, space)
		return m
	}
	l := newLives(machine, next, &keeper{store: store, kept: newLiveState(state)}, Post{Leads: cfg.Leadership == nil, Term: state.Term})
	r := &runner{Config: cfg, lives: l, dials: newDials(cfg.Dialer, cfg.Log), workers: eventloop.NewWorkers[Input](maxCompletions), fetches: newFetches(cfg.Sites), forwards: newForwards(cfg.Leadership, cfg.Dialects)}
	defer r.dials.wait()
	defer r.workers.Wait()
	defer r.fetches.workers.Wait()
	defer r.forwards.workers.Wait()
	loop := eventloop.Config[Input, Output]{
		Machine: l, InputQueue: inputBatch, Batch: inputBatch, Tick: Tick{}, Shutdown: Shutdown{},
		Memory: memory, Perform: r.perform, Started: cfg.Loaded, Beat: cfg.Beat, Ending: cfg.Ending,
		Left: func(in Input) { r.left = append(r.left, in) },
	}
	loop.Sources = append(loop.Sources, r.workers.Next, r.fetches.workers.Next, r.forwards.workers.Next)
	if cfg.Alerts != nil {
		loop.Sources = append(loop.Sources, notes(cfg.Alerts))
	}
	for _, bus := range cfg.Buses {
		l := &listener{runner: r, bus: bus, guard: newGuard(cfg.Access[bus], cfg.Log)}
		loop.Sources = append(loop.Sources, l.next)
	}
	if store != nil || cfg.Leadership != nil {
		loop.Sources = append(loop.Sources, checks)
	}
	if cfg.Leadership != nil {
		loop.Sources = append(loop.Sources, func(ctx context.Context) (Input, bool, error) {
			turn, err := cfg.Leadership.Next(ctx)
			return turned{turn}, true, err
		})
	}
	if cfg.Observe != nil {
		loop.Observe = func(in Input, out []Output) { cfg.Observe(l.Snapshot(), in, out) }
	}
	err = eventloop.Run(ctx, loop)
	r.leave(ctx)
	if why := l.keeper.check(); l.keeper.broken != nil {
		cfg.Log.Error().Str("reason", why).Msg("what happened since changes could not be stored is lost")
	}
	return err
}

// furnish connects a machine to the sources that it reads when it answers clients.
func (c Config) furnish(m *Machine, space *measuredSpace) {
	m.overview.exposure, m.overview.directories = c.Exposure, space.last
	if c.Alerts != nil {
		m.alerting.present = c.Alerts.Present
	}
}

// checks is a source of storageDue.
func checks(ctx context.Context) (Input, bool, error) {
	select {
	case <-time.After(checkInterval):
		return storageDue{}, true, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// memory returns the memory of an input in bytes.
func memory(in Input) int {
	switch in := in.(type) {
	case FromClient:
		return in.Memory
	case FromAgent:
		return in.Memory
	}
	return 0
}
