// Package eventloop runs a state machine without I/O: it collects inputs from
// goroutines that it owns, keeps time for the machine, and has the machine's
// outputs performed.
package eventloop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Machine is a state machine without I/O. Run calls its methods from one
// goroutine.
type Machine[In, Out any] interface {
	// Start returns what to do first. It is called once, before any Step.
	Start(now time.Time) []Out

	// Step takes one input and returns what to do about it, in order.
	Step(now time.Time, in In) []Out

	// Deadline returns the time of the next tick that the machine needs. The
	// result is false if it needs none.
	Deadline() (time.Time, bool)

	// Phase returns how far the machine is from its end.
	Phase() Phase
}

// Phase is how far a machine is from its end. It never goes back.
type Phase int

// The phases.
const (
	Running Phase = iota // accepts all requests
	Ending               // refuses new requests, still answers the pending ones
	Ended                // has nothing left to do
)

// String returns the name of the phase in lower case.
func (p Phase) String() string {
	switch p {
	case Running:
		return "running"
	case Ending:
		return "ending"
	case Ended:
		return "ended"
	}
	return fmt.Sprintf("phase %d", int(p))
}

// Source waits for the next input. It returns false for an event that is no
// input for the machine. An error ends Run. A Source must return when ctx is
// done. Each Source is called from its own goroutine.
type Source[In any] func(ctx context.Context) (in In, ok bool, err error)

// Default values of Config.
const (
	DefaultInputQueue  = 256
	DefaultBatch       = 1
	DefaultInputMemory = 16 << 20 // bytes
)

// Config describes a machine and its surroundings. Machine and Perform are
// required.
type Config[In, Out any] struct {
	Machine Machine[In, Out]

	// Sources provide the inputs. If the sources have many inputs, they wait
	// for the machine.
	Sources []Source[In]

	// InputQueue is the number of inputs that can wait for the machine. Zero
	// means DefaultInputQueue; a negative number is an error.
	InputQueue int

	// Memory returns the memory that an input takes, in bytes. Nil means that the
	// inputs are small. InputMemory limits the memory of the inputs that wait, and of
	// those whose outputs are being performed. A single input may exceed it. Zero
	// means DefaultInputMemory; a negative number is an error.
	Memory      func(In) int
	InputMemory int

	// Batch is the number of waiting inputs that the machine may take before
	// the outputs of all of them are performed together. Zero means
	// DefaultBatch; a negative number is an error.
	Batch int

	// Tick is the input of a machine whose deadline has come, and Shutdown the
	// input that tells it to end.
	Tick, Shutdown In

	// Perform carries out the outputs of a batch of steps, in order. The
	// machine takes the inputs that Perform returns before all others. An
	// error ends Run.
	Perform func(ctx context.Context, out []Out) ([]In, error)

	// Started, if non-nil, is called once, after the outputs of Start have been
	// performed.
	Started func()

	// Observe, if non-nil, is called after Start, with the zero In, and after
	// every Step, before the outputs are performed. It may read the machine
	// but not change it, and must not block.
	Observe func(in In, out []Out)

	// Beat is the longest time between two Ticks. Zero means that the machine gets
	// a Tick only at its deadline; a negative duration is an error.
	Beat time.Duration

	// Ending, if non-nil, makes Run give the machine a Shutdown when it is
	// closed. When the machine has ended, it still gets the inputs that wait.
	Ending <-chan struct{}

	// Left, if non-nil, is called for each input that a Source returned and the machine
	// did not take before Run ended. The inputs of each Source keep their order.
	Left func(In)

	// Now returns the current time. Nil means time.Now.
	Now func() time.Time
}

// validate returns c with the default values filled in.
func (c Config[In, Out]) validate() (Config[In, Out], error) {
	switch {
	case c.Machine == nil:
		return c, errors.New("eventloop: no machine")
	case c.Perform == nil:
		return c, errors.New("eventloop: no function that performs outputs")
	case c.InputQueue < 0:
		return c, fmt.Errorf("eventloop: InputQueue is %d, must not be negative", c.InputQueue)
	case c.InputMemory < 0:
		return c, fmt.Errorf("eventloop: InputMemory is %d, must not be negative", c.InputMemory)
	case c.Batch < 0:
		return c, fmt.Errorf("eventloop: Batch is %d, must not be negative", c.Batch)
	case c.Beat < 0:
		return c, fmt.Errorf("eventloop: Beat is %s, must not be negative", c.Beat)
	}
	if c.InputQueue == 0 {
		c.InputQueue = DefaultInputQueue
	}
	if c.InputMemory == 0 {
		c.InputMemory = DefaultInputMemory
	}
	if c.Batch == 0 {
		c.Batch = DefaultBatch
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Run runs the machine until its phase is Ended or ctx is done, and then
// returns nil. It ends earlier with the first error of a Source or of Perform.
// All goroutines that Run starts have ended when it returns.
func Run[In, Out any](ctx context.Context, c Config[In, Out]) error {
	c, err := c.validate()
	if err != nil {
		return err
	}
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	l := &loop[In, Out]{Config: c, inputs: make(chan weighed[In], c.InputQueue), memory: newBudget(c.InputMemory)}
	var sources sync.WaitGroup
	for _, next := range c.Sources {
		sources.Go(func() {
			if err := l.collect(ctx, next); err != nil {
				cancel(&sourceError{err})
			}
		})
	}
	err = l.run(ctx)
	cancel(nil)
	sources.Wait()
	l.leave()
	var failed *sourceError
	switch {
	case err != nil && !(parent.Err() != nil && errors.Is(err, parent.Err())):
		return err
	case errors.As(context.Cause(ctx), &failed):
		return failed.error
	}
	return nil
}

// sourceError is the error of a Source that ends Run. A Source that fails after
// ctx is done does not.
type sourceError struct{ error }

type loop[In, Out any] struct {
	Config[In, Out]
	inputs chan weighed[In]
	memory *budget
	ticked time.Time // last Tick, at first the start

	mu   sync.Mutex
	held []In // inputs that a Source returned, and that were not in the queue at the end
}

// weighed is an input and the memory that it takes.
type weighed[In any] struct {
	in    In
	bytes int
}

// collect puts the inputs of a Source into the queue until ctx is done.
func (l *loop[In, Out]) collect(ctx context.Context, next Source[In]) error {
	for {
		in, ok, err := next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		w := weighed[In]{in: in}
		if l.Memory != nil {
			w.bytes = l.Memory(in)
		}
		if !l.put(ctx, w) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.held = append(l.held, in)
			return nil
		}
	}
}

// put puts an input into the queue. It returns false when ctx is done.
func (l *loop[In, Out]) put(ctx context.Context, w weighed[In]) bool {
	if !l.memory.take(ctx, w.bytes) {
		return false
	}
	select {
	case l.inputs <- w:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave calls Left. The sources have ended.
func (l *loop[In, Out]) leave() {
	if l.Left == nil {
		return
	}
	for range len(l.inputs) {
		l.Left((<-l.inputs).in)
	}
	for _, in := range l.held {
		l.Left(in)
	}
}

// run returns nil when the machine has ended or ctx is done, or the error of
// Perform.
func (l *loop[In, Out]) run(ctx context.Context) error {
	out := l.Machine.Start(l.Now())
	l.ticked = l.Now()
	var none In
	l.observe(none, out)
	if err := l.perform(ctx, out); err != nil {
		return err
	}
	if l.Started != nil {
		l.Started()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ending := l.Ending; l.Machine.Phase() != Ended; {
		l.set(timer)
		var first weighed[In]
		select {
		case <-ctx.Done():
			return nil
		case <-ending:
			first, ending = weighed[In]{in: l.Shutdown}, nil
		case first = <-l.inputs:
		case <-timer.C:
			first, l.ticked = weighed[In]{in: l.Tick}, l.Now()
		}
		if err := l.take(ctx, l.batch(first)); err != nil {
			return err
		}
	}
	return l.drain(ctx)
}

// take gives a batch to the machine, performs the outputs, and returns the memory of
// the batch.
func (l *loop[In, Out]) take(ctx context.Context, batch []weighed[In]) error {
	inputs, bytes := make([]In, len(batch)), 0
	for i, w := range batch {
		inputs[i], bytes = w.in, bytes+w.bytes
	}
	defer l.memory.free(bytes)
	return l.perform(ctx, l.steps(inputs))
}

// drain gives the inputs that wait to a machine that has ended, so that requests
// among them are refused and not lost.
func (l *loop[In, Out]) drain(ctx context.Context) error {
	for range len(l.inputs) {
		if err := l.take(ctx, []weighed[In]{<-l.inputs}); err != nil {
			return err
		}
	}
	return nil
}

// set sets the timer to the machine's deadline or to the next beat.
func (l *loop[In, Out]) set(timer *time.Timer) {
	now := l.Now()
	next, ok := l.Machine.Deadline()
	if beat := l.ticked.Add(l.Beat); l.Beat > 0 && (!ok || next.After(beat)) {
		next, ok = beat, true
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(next.Sub(now))
}

// batch returns an input and those that wait behind it, at most Batch inputs.
func (l *loop[In, Out]) batch(first weighed[In]) []weighed[In] {
	batch := []weighed[In]{first}
	for len(batch) < l.Batch {
		select {
		case next := <-l.inputs:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// steps gives inputs to the machine and returns the outputs of all.
func (l *loop[In, Out]) steps(inputs []In) []Out {
	var outputs []Out
	for _, in := range inputs {
		out := l.Machine.Step(l.Now(), in)
		l.observe(in, out)
		outputs = append(outputs, out...)
	}
	return outputs
}

func (l *loop[In, Out]) observe(in In, out []Out) {
	if l.Observe != nil {
		l.Observe(in, out)
	}
}

// perform performs outputs, and those of the inputs that follow from them.
func (l *loop[In, Out]) perform(ctx context.Context, out []Out) error {
	var waiting []In
	for {
		if len(out) > 0 {
			in, err := l.Perform(ctx, out)
			if err != nil {
				return err
			}
			waiting = append(waiting, in...)
		}
		if len(waiting) == 0 {
			return nil
		}
		n := min(len(waiting), l.Batch)
		out, waiting = l.steps(waiting[:n]), waiting[n:]
	}
}
