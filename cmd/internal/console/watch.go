package console

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// snapshot is what the console knows about the cluster. It does not change.
type snapshot struct {
	Status zeekapi.Status // sorted by name
	At     time.Time      // of the status; zero: there was none yet
	Failed error          // of the latest attempt to get a status; nil: none
	Since  time.Time      // when the first of the failed attempts in a row began

	// Config is the configuration that should run, the zero value if there is none.
	Config zeekapi.Configuration

	// Events are the events that the controller keeps, the oldest first.
	Events []zeekapi.ClusterEvent

	charts *charts
}

// watch keeps a snapshot up to date. While visitors request pages, it asks the controller
// often. Otherwise it asks seldom, for the charts.
type watch struct {
	client     *client.Client
	status     func(context.Context) (zeekapi.Status, error)
	idle, busy time.Duration

	looked atomic.Int64 // time of the last call of look, in nanoseconds
	wake   chan struct{}

	mu      sync.Mutex
	current snapshot
	changed chan struct{} // closed and replaced with the snapshot
	charts  *charts
	events  []zeekapi.ClusterEvent
}

// maxEvents limits the kept events. The controller keeps as many.
const maxEvents = 1000

// The intervals of requests for the status.
const (
	idleInterval = 30 * time.Second // without visitors
	busyInterval = 2 * time.Second  // with visitors
)

// lookedFor is the time after a request for a page in which there is a visitor. Streams call
// look repeatedly.
const lookedFor = 10 * time.Second

func newWatch(s *httpapi.Server) *watch {
	w := &watch{
		client: s.Reader(), status: s.Status, idle: idleInterval, busy: busyInterval,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), charts: newCharts(),
	}
	s.OnEvent(func(e zeekapi.ClusterEvent) {
		w.mu.Lock()
		w.events = appendEvents(w.events, e)
		w.mu.Unlock()
		w.refresh()
	})
	return w
}

// appendEvents adds events that are newer than those before.
func appendEvents(events []zeekapi.ClusterEvent, more ...zeekapi.ClusterEvent) []zeekapi.ClusterEvent {
	events = slices.Clip(events) // snapshots have the events before
	for _, e := range more {
		if n := len(events); n == 0 || e.Number > events[n-1].Number {
			events = append(events, e)
		}
	}
	if excess := len(events) - maxEvents; excess > 0 {
		events = slices.Clone(events[excess:])
	}
	return events
}

// settle is the time after a change in which a status may still be one from before, because
// the server shares it.
const settle = 1200 * time.Millisecond

// freshFor limits the time for which the request of a first visitor waits for a new status.
const freshFor = 2 * time.Second

// renew records a request for a page. If there was no visitor, the snapshot may be as old as
// idleInterval: renew waits for the next one.
func (w *watch) renew(ctx context.Context) {
	_, changed := w.get()
	if !w.look() {
		return
	}
	select {
	case <-changed:
	case <-ctx.Done():
	case <-time.After(freshFor):
	}
}

// look records that there is a visitor, and reports whether there was none before.
func (w *watch) look() (first bool) {
	now := time.Now().UnixNano()
	before := w.looked.Swap(now)
	if first = time.Duration(now-before) > lookedFor; first {
		w.refresh()
	}
	return first
}

// refresh makes run ask the controller soon.
func (w *watch) refresh() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// get returns the snapshot, and a channel that is closed when there is another.
func (w *watch) get() (snapshot, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.current
	s.Events = w.events
	return s, w.changed
}

// run asks the controller until ctx is done.
func (w *watch) run(ctx context.Context) {
	woken := false
	for ctx.Err() == nil {
		began := time.Now()
		w.ask(ctx)
		took := time.Since(began)
		pause := w.idle
		if time.Now().UnixNano()-w.looked.Load() < int64(lookedFor) {
			pause = max(w.busy, 5*took) // a large cluster is asked less often
		}
		if woken {
			pause = min(pause, max(settle, took))
		}
		woken = false
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.wake:
			woken = true
			// Changes come in groups: they are waited for.
			select {
			case <-ctx.Done():
			case <-time.After(max(w.busy/8, took)):
			}
		}
		timer.Stop()
	}
}

// ask replaces the snapshot.
func (w *watch) ask(ctx context.Context) {
	before, _ := w.get()
	ctx, cancel := context.WithTimeout(ctx, client.DefaultTimeout)
	defer cancel()
	s, err := w.status(ctx)
	next := before
	if err != nil {
		next.Failed = err
		if before.Failed == nil {
			next.Since = time.Now()
		}
		w.set(next)
		return
	}
	s = sorted(s)
	next.Status, next.At, next.Failed, next.Since = s, time.Now(), nil, time.Time{}
	if s.Target != before.Config.ID || before.At.IsZero() {
		next.Config = w.config(ctx, s.Target)
	}
	if err := w.catchUp(ctx); err != nil {
		next.Failed, next.Since = err, time.Now()
	}
	w.charts.add(next.At, s)
	next.charts = w.charts
	w.set(next)
}

// config returns the configuration that should run, or the zero value.
func (w *watch) config(ctx context.Context, target string) zeekapi.Configuration {
	if target == "" {
		return zeekapi.Configuration{}
	}
	for _, deployed := range []bool{true, false} {
		if c, err := w.client.GetConfiguration(ctx, deployed); err == nil && c.ID == target {
			return c
		}
	}
	return zeekapi.Configuration{}
}

// catchUp gets the events that are missing.
func (w *watch) catchUp(ctx context.Context) error {
	w.mu.Lock()
	after := uint64(0)
	if n := len(w.events); n > 0 {
		after = w.events[n-1].Number
	}
	w.mu.Unlock()
	more, err := w.client.Events(ctx, after, maxEvents)
	if refused := (*client.RefusedError)(nil); errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if after > 0 && len(w.events) > 0 && len(more) > 0 && more[0].Number > w.events[len(w.events)-1].Number+1 {
		w.events = nil // there is a gap
	}
	w.events = appendEvents(w.events, more...)
	return nil
}

func (w *watch) set(s snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = s
	close(w.changed)
	w.changed = make(chan struct{})
}

// sorted returns a status whose instances and nodes are sorted by name. It leaves s alone.
func sorted(s zeekapi.Status) zeekapi.Status {
	s.Instances = slices.Clone(s.Instances)
	for k, i := range s.Instances {
		s.Instances[k].Nodes = slices.SortedFunc(slices.Values(i.Nodes), func(a, b zeekapi.NodeDetail) int { return cmp.Compare(a.Status.Node, b.Status.Node) })
	}
	slices.SortFunc(s.Instances, func(a, b zeekapi.InstanceStatus) int {
		return cmp.Compare(a.Instance.Name, b.Instance.Name)
	})
	return s
}

// answers keeps responses of the controller for a short time, so that many visitors who
// look at the same node do not make many requests.
type answers struct {
	mu  sync.Mutex
	all map[string]*answer
}

type answer struct {
	once sync.Once
	at   time.Time
	v    any
	err  error
}

// maxAnswers limits the kept responses.
const maxAnswers = 64

// cached returns a response that is younger than maxAge, or asks.
func cached[T any](a *answers, key string, maxAge time.Duration, ask func() (T, error)) (T, error) {
	a.mu.Lock()
	x := a.all[key]
	if x == nil || time.Since(x.at) > maxAge {
		if len(a.all) >= maxAnswers {
			a.all = nil
		}
		if a.all == nil {
			a.all = make(map[string]*answer)
		}
		x = &answer{at: time.Now()}
		a.all[key] = x
	}
	a.mu.Unlock()
	x.once.Do(func() { x.v, x.err = ask() })
	v, _ := x.v.(T)
	return v, x.err
}
