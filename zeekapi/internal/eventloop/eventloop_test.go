package eventloop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tick     = "tick"
	shutdown = "shutdown"
)

// machine echoes its inputs. An input that begins with "ask" starts a request, and
// "reply" ends one. After a shutdown, the machine ends when no request is pending.
type machine struct {
	started  bool
	pending  int
	ending   bool
	deadline time.Time
	due      bool
}

func (m *machine) Start(time.Time) []string {
	m.started = true
	return []string{"start"}
}

func (m *machine) Step(now time.Time, in string) []string {
	switch {
	case strings.HasPrefix(in, "ask"):
		m.pending++
	case in == "reply":
		m.pending--
	case in == shutdown:
		m.ending = true
	case in == tick && m.due && !now.Before(m.deadline):
		m.due = false
		return []string{"deadline"}
	}
	return []string{in}
}

func (m *machine) Deadline() (time.Time, bool) { return m.deadline, m.due }

func (m *machine) Phase() Phase {
	switch {
	case !m.ending:
		return Running
	case m.pending > 0:
		return Ending
	}
	return Ended
}

// harness is a loop with a machine and a source of inputs.
type harness struct {
	Config[string, string]
	machine  *machine
	source   chan string
	ending   chan struct{}
	batches  [][]string // performed outputs
	observed []string   // inputs
	at       []time.Duration
}

func newHarness() *harness {
	h := &harness{machine: new(machine), source: make(chan string), ending: make(chan struct{})}
	began := time.Now()
	h.Config = Config[string, string]{
		Machine: h.machine, Tick: tick, Shutdown: shutdown, Ending: h.ending,
		Sources: []Source[string]{func(ctx context.Context) (string, bool, error) {
			select {
			case in := <-h.source:
				return in, in != "", nil
			case <-ctx.Done():
				return "", false, ctx.Err()
			}
		}},
		Perform: func(_ context.Context, out []string) ([]string, error) {
			h.batches = append(h.batches, slices.Clone(out))
			return nil, nil
		},
		Observe: func(in string, _ []string) {
			h.observed = append(h.observed, in)
			h.at = append(h.at, time.Since(began))
		},
	}
	return h
}

// start runs the loop. The returned function waits for Run and returns its result.
func (h *harness) start(ctx context.Context) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- Run(ctx, h.Config) }()
	return func() error { return <-done }
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRunRejectsInvalidConfig(t *testing.T) {
	valid := newHarness().Config
	for _, tt := range []struct {
		name, want string
		change     func(*Config[string, string])
	}{
		{"zero", "eventloop: no machine", func(c *Config[string, string]) { *c = Config[string, string]{} }},
		{"no Perform", "eventloop: no function that performs outputs", func(c *Config[string, string]) { c.Perform = nil }},
		{"InputQueue", "eventloop: InputQueue is -1, must not be negative", func(c *Config[string, string]) { c.InputQueue = -1 }},
		{"InputMemory", "eventloop: InputMemory is -1, must not be negative", func(c *Config[string, string]) { c.InputMemory = -1 }},
		{"Batch", "eventloop: Batch is -1, must not be negative", func(c *Config[string, string]) { c.Batch = -1 }},
		{"Beat", "eventloop: Beat is -1s, must not be negative", func(c *Config[string, string]) { c.Beat = -time.Second }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := valid
			tt.change(&c)
			if err := Run(t.Context(), c); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestRunEndsWhenNothingIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		started := false
		h.Started = func() { started = len(h.batches) == 1 }
		wait := h.start(t.Context())
		h.source <- "ask"
		h.source <- "" // not an input
		synctest.Wait()
		close(h.ending)
		synctest.Wait()
		equal(t, "phase", h.machine.Phase(), Ending)
		h.source <- "reply"
		equal(t, "error", wait(), nil)
		equal(t, "phase", h.machine.Phase(), Ended)
		equal(t, "Started after the outputs of Start", started, true)
		equal(t, "outputs", h.batches, [][]string{{"start"}, {"ask"}, {"shutdown"}, {"reply"}})
		equal(t, "observed", h.observed, []string{"", "ask", "shutdown", "reply"})
	})
}

func TestRunEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		ctx, cancel := context.WithCancelCause(t.Context())
		wait := h.start(ctx)
		h.source <- "ask"
		synctest.Wait()
		cancel(errors.New("enough"))
		equal(t, "error", wait(), nil)
	})
}

func TestRunTicksAtDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		h.machine.deadline, h.machine.due = time.Now().Add(time.Hour), true
		wait := h.start(t.Context())
		time.Sleep(24 * time.Hour)
		close(h.ending)
		equal(t, "error", wait(), nil)
		equal(t, "outputs", h.batches, [][]string{{"start"}, {"deadline"}, {"shutdown"}})
		equal(t, "times", h.at, []time.Duration{0, time.Hour, 24 * time.Hour})
	})
}

// TestRunPassesMonotonicTimes checks that a machine gets times with a monotonic reading:
// the differences between them, and so all timeouts, do not depend on the clock being set
// or on the machine being suspended.
func TestRunPassesMonotonicTimes(t *testing.T) {
	m := &timeRecorder{}
	err := Run(t.Context(), Config[string, string]{
		Machine: m, Tick: "tick", Perform: func(context.Context, []string) ([]string, error) { return nil, nil },
	})
	if err != nil || len(m.times) != 2 {
		t.Fatalf("times %v, error %v", m.times, err)
	}
	for _, now := range m.times {
		if now == now.Round(0) {
			t.Errorf("%v has no monotonic reading", now)
		}
	}
}

// timeRecorder is a machine that ends with its second step.
type timeRecorder struct{ times []time.Time }

func (m *timeRecorder) Start(now time.Time) []string {
	m.times = append(m.times, now)
	return nil
}

func (m *timeRecorder) Step(now time.Time, _ string) []string { return m.Start(now) }

func (m *timeRecorder) Deadline() (time.Time, bool) { return m.times[0], true }

func (m *timeRecorder) Phase() Phase {
	if len(m.times) < 2 {
		return Running
	}
	return Ended
}

// A machine with many other inputs gets its Ticks nevertheless.
func TestRunBeatsWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := 0
		ctx, end := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer end()
		err := Run(ctx, Config[string, string]{
			Machine: &timelessMachine{}, Tick: "tick", Beat: time.Second,
			Perform: func(context.Context, []string) ([]string, error) { return nil, nil },
			Observe: func(in string, _ []string) {
				if in == "tick" {
					ticks++
				}
			},
			Sources: []Source[string]{func(ctx context.Context) (string, bool, error) {
				select {
				case <-time.After(300 * time.Millisecond):
					return "input", true, nil
				case <-ctx.Done():
					return "", false, ctx.Err()
				}
			}},
		})
		equal(t, "error", err, nil)
		equal(t, "ticks", ticks, 10)
	})
}

// timelessMachine is a machine that never does anything.
type timelessMachine struct{}

func (timelessMachine) Start(time.Time) []string        { return nil }
func (timelessMachine) Step(time.Time, string) []string { return nil }
func (timelessMachine) Deadline() (time.Time, bool)     { return time.Time{}, false }
func (timelessMachine) Phase() Phase                    { return Running }

func TestRunBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		h.Beat = time.Second
		h.machine.deadline, h.machine.due = time.Now().Add(2500*time.Millisecond), true
		wait := h.start(t.Context())
		time.Sleep(4 * time.Second)
		close(h.ending)
		equal(t, "error", wait(), nil)
		equal(t, "times", h.at, []time.Duration{0, time.Second, 2 * time.Second, 2500 * time.Millisecond, 3500 * time.Millisecond, 4 * time.Second})
	})
}

// Inputs that arrive while a batch is performed form the next batch.
func TestRunPerformsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		h.Batch, h.InputQueue = 3, 10
		record, resume := h.Perform, make(chan struct{})
		h.Perform = func(ctx context.Context, out []string) ([]string, error) {
			if out[0] == "block" {
				<-resume
			}
			return record(ctx, out)
		}
		wait := h.start(t.Context())
		for _, in := range []string{"block", "a", "b", "c", "d"} {
			h.source <- in
			synctest.Wait()
		}
		close(resume)
		synctest.Wait()
		close(h.ending)
		equal(t, "error", wait(), nil)
		equal(t, "outputs", h.batches, [][]string{{"start"}, {"block"}, {"a", "b", "c"}, {"d"}, {"shutdown"}})
	})
}

// Inputs that are queued when the machine ends are still passed to it.
func TestRunPassesQueuedInputsAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		resume := make(chan struct{})
		record := h.Perform
		h.Perform = func(ctx context.Context, out []string) ([]string, error) {
			if out[0] == shutdown {
				<-resume
			}
			return record(ctx, out)
		}
		wait := h.start(t.Context())
		close(h.ending)
		synctest.Wait()
		h.source <- "a"
		h.source <- "b"
		synctest.Wait()
		close(resume)
		equal(t, "error", wait(), nil)
		equal(t, "outputs", h.batches, [][]string{{"start"}, {"shutdown"}, {"a"}, {"b"}})
	})
}

// At the end, each input of a source was either taken by the machine or is left.
func TestInputsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		var all []string
		resume := make(chan struct{})
		perform := h.Perform
		h.InputQueue = 1
		h.Left = func(in string) { all = append(all, in) }
		h.Perform = func(ctx context.Context, out []string) ([]string, error) {
			if out[0] == "a" {
				<-resume
			}
			return perform(ctx, out)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait := h.start(ctx)
		for _, in := range []string{"a", "b", "c"} { // one is taken, one waits, and one is held by the source
			h.source <- in
			synctest.Wait()
		}
		cancel()
		close(resume)
		if err := wait(); err != nil {
			t.Error(err)
		}
		equal(t, "inputs", append(h.observed[1:], all...), []string{"a", "b", "c"})
	})
}

func TestSourcesWaitForFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		h.InputQueue = 2
		resume := make(chan struct{})
		h.Perform = func(_ context.Context, out []string) ([]string, error) {
			if out[0] == "block" {
				<-resume
			}
			return nil, nil
		}
		wait := h.start(t.Context())
		h.source <- "block"
		synctest.Wait()
		taken := 0
		for range 10 { // the source holds one input in addition to the queue
			synctest.Wait()
			select {
			case h.source <- "more":
				taken++
			default:
			}
		}
		equal(t, "inputs taken while the machine is busy", taken, 3)
		close(resume)
		synctest.Wait()
		close(h.ending)
		equal(t, "error", wait(), nil)
	})
}

// Inputs that Perform returns precede queued inputs.
func TestInputsOfPerformPrecedeQueue(t *testing.T) {
	for _, batch := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness()
			h.Batch = batch
			record := h.Perform
			h.Perform = func(ctx context.Context, out []string) ([]string, error) {
				record(ctx, out)
				if out[0] == "start" {
					return []string{"then", "next"}, nil
				}
				if out[0] == "then" {
					return []string{"last"}, nil
				}
				return nil, nil
			}
			close(h.ending)
			equal(t, "error", h.start(t.Context())(), nil)
			want := [][]string{{"start"}, {"then"}, {"next"}, {"last"}, {"shutdown"}}
			if batch == 2 {
				want = [][]string{{"start"}, {"then", "next"}, {"last"}, {"shutdown"}}
			}
			equal(t, "outputs", h.batches, want)
		})
	}
}

func TestErrorsEndRun(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		change func(*harness)
	}{
		{"source", func(h *harness) {
			h.Sources = append(h.Sources, func(context.Context) (string, bool, error) { return "", false, broken })
		}},
		{"Perform", func(h *harness) {
			h.Perform = func(context.Context, []string) ([]string, error) { return nil, broken }
		}},
		{"Perform after the start", func(h *harness) {
			h.Beat = time.Second
			h.Perform = func(_ context.Context, out []string) ([]string, error) {
				if out[0] == tick {
					return nil, broken
				}
				return nil, nil
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness()
				tt.change(h)
				equal(t, "error", h.start(t.Context())(), broken)
			})
		})
	}
}

// After the context is done, Run ignores errors of sources and context.Canceled from
// Perform. It returns other errors of Perform.
func TestErrorsAfterContextIsDone(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name            string
		source, perform error
		want            error
	}{
		{name: "source fails", source: broken},
		{name: "Perform is interrupted", perform: context.Canceled},
		{name: "Perform fails", perform: broken, want: broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness()
				ctx, cancel := context.WithCancel(t.Context())
				h.Sources = []Source[string]{func(ctx context.Context) (string, bool, error) {
					<-ctx.Done()
					return "", false, tt.source
				}}
				h.Perform = func(context.Context, []string) ([]string, error) {
					cancel()
					return nil, tt.perform
				}
				if tt.source == nil {
					h.Sources = nil
				}
				equal(t, "error", h.start(ctx)(), tt.want)
			})
		})
	}
}

func TestPhaseString(t *testing.T) {
	equal(t, "phases", fmt.Sprint(Running, Ending, Ended, Phase(7)), "running ending ended phase 7")
}

// Inputs that take much memory wait at their source. A small one does not, and one
// that is larger than the limit is taken alone.
func TestInputMemoryIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness()
		h.Memory = func(in string) int { return len(in) - 1 }
		h.InputMemory = 10
		h.Batch = 100
		perform := make(chan struct{})
		record := h.Perform
		h.Perform = func(ctx context.Context, out []string) ([]string, error) {
			<-perform
			return record(ctx, out)
		}
		wait := h.start(t.Context())
		perform <- struct{}{} // start
		large, huge := strings.Repeat("l", 7), strings.Repeat("h", 100)
		h.source <- large // performed
		synctest.Wait()
		h.source <- "s"
		h.source <- large // waits for memory
		select {
		case h.source <- huge:
			t.Error("another input is taken while one waits for memory")
		case <-time.After(time.Second):
		}
		perform <- struct{}{} // large
		h.source <- huge
		perform <- struct{}{}
		synctest.Wait()
		close(h.ending)
		close(perform)
		equal(t, "error", wait(), nil)
		for _, batch := range h.batches {
			bytes := 0
			for _, in := range batch {
				bytes += h.Memory(in)
			}
			if bytes > h.InputMemory && len(batch) > 1 && batch[0] != "start" {
				t.Errorf("a batch takes %d bytes: %.10q", bytes, batch)
			}
		}
	})
}

// TestWorkers checks that the results of work become inputs, and that there is a limit.
func TestWorkers(t *testing.T) {
	w := NewWorkers[int](2)
	release := make(chan struct{})
	work := func(n int) func() int { return func() int { <-release; return n } }
	if !w.Do(work(1)) || !w.Do(work(2)) || w.Do(work(3)) {
		t.Fatal("want two pieces of work at the same time")
	}
	close(release)
	sum := 0
	for range 2 {
		n, ok, err := w.Next(t.Context())
		if !ok || err != nil {
			t.Fatalf("%t, %v", ok, err)
		}
		sum += n
	}
	if sum != 3 || !w.Do(func() int { return 4 }) {
		t.Errorf("results have the sum %d, or a result that was taken counts", sum)
	}
	w.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	if _, ok, err := w.Next(ctx); !ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
	cancel()
	if _, ok, err := w.Next(ctx); ok || err == nil {
		t.Errorf("after the end: %t, %v", ok, err)
	}
}
