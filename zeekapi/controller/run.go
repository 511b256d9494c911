package controller

import (
	"context"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// inputBatch is the number of inputs whose changes are stored together: a
// transaction takes about as long for many changes as for one.
const inputBatch = 256

// Run runs a controller until ctx or cfg.Ending ends it, and then returns nil.
// It ends earlier with an error if cfg is invalid, if a bus fails, or if the
// store fails: the controller must not acknowledge changes that are not stored.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if _, err := cfg.Settings.complete(); err != nil {
		return err
	}
	var state State
	if cfg.Store != nil {
		var err error
		if state, err = cfg.Store.Load(); err != nil {
			return err
		}
		cfg.Store.tell(cfg.Log, state)
	}
	machine, err := NewMachine(cfg.Settings, state, uuid.NewString, cfg.Log)
	if err != nil {
		return err
	}
	r := &runner{Config: cfg, dials: newDials(cfg.Dialer, cfg.Log), workers: eventloop.NewWorkers[Input](maxCompletions)}
	defer r.dials.wait()
	defer r.workers.Wait()
	loop := eventloop.Config[Input, Output]{
		Machine: machine, Batch: inputBatch, Tick: Tick{}, Shutdown: Shutdown{},
		Perform: r.perform, Started: cfg.Loaded, Beat: cfg.Beat, Ending: cfg.Ending,
	}
	loop.Sources = append(loop.Sources, r.workers.Next)
	for _, bus := range cfg.Buses {
		l := &listener{runner: r, bus: bus, guard: newGuard(cfg.Access[bus], cfg.Log)}
		loop.Sources = append(loop.Sources, l.next)
	}
	if cfg.Observe != nil {
		loop.Observe = func(in Input, out []Output) { cfg.Observe(machine.Snapshot(), in, out) }
	}
	return eventloop.Run(ctx, loop)
}
