package loaded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

const (
	// scanInterval is the default of Config.Interval.
	scanInterval = 30 * time.Second

	// recordInterval is the time between two attempts to take the fingerprint of a node
	// that has just started. After recordAttempts, only scans try again.
	recordInterval = time.Second
	recordAttempts = 120

	// maxEdited limits the files of a node in an Edited event.
	maxEdited = 100

	// startTolerance is the inaccuracy of Node.Began when it is compared with the time of
	// the node's list.
	startTolerance = 3 * time.Second
)

// FingerprintFile is the name of the file, in a node's directory, that contains the
// fingerprint of the scripts that the node has loaded.
const FingerprintFile = "scripts.json"

// Node is a node that runs.
type Node struct {
	Name string
	Dir  string // working directory, an absolute path

	// Start identifies this start of the node.
	Start string

	// Began is the time of the start. Zero means unknown.
	Began time.Time

	// Zeek is the version of Zeek that the node runs. "" means unknown.
	Zeek string

	// Args are the arguments of all nodes that the node has.
	Args string
}

// Config configures a Watcher. Its functions may be called concurrently.
type Config struct {
	// Nodes returns the nodes that run.
	Nodes func() []Node

	// Ignored reports whether changes to a script do not concern the node. If nil, all
	// changes do.
	Ignored func(n Node, path string) bool

	// Zeek returns the version of Zeek that nodes run from their next start on. "" means
	// unknown. If nil, it is unknown.
	Zeek func(context.Context) string

	// Args are the arguments of all nodes that nodes have from their next start on.
	Args string

	// Events receives an Edited event after Scan, and when a change is found.
	Events *launch.Events

	// Interval is the time between two scans without a request. Zero means 30 s.
	Interval time.Duration

	// Log receives events that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// Watcher reports the scripts that changed since nodes have loaded them.
type Watcher struct {
	config   Config
	requests chan struct{}      // has an element after Scan
	records  map[string]*record // by node
	last     map[string][]string
}

// record is what is known about a start of a node.
type record struct {
	start    string
	files    []File
	known    bool // whether files is complete
	attempts int
}

// NewWatcher returns a Watcher. It does nothing before Run.
func NewWatcher(c Config) *Watcher {
	c.Interval = cmp.Or(c.Interval, scanInterval)
	return &Watcher{config: c, requests: make(chan struct{}, 1), records: make(map[string]*record)}
}

// Scan requests a scan. An Edited event follows while Run runs. Scan may be called from any
// goroutine.
func (w *Watcher) Scan() {
	select {
	case w.requests <- struct{}{}:
	default: // another scan is about to begin
	}
}

// Run takes the fingerprints of nodes that have started, and scans on request and from time
// to time, until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	started, scan := time.NewTicker(recordInterval), time.NewTicker(w.config.Interval)
	defer started.Stop()
	defer scan.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-started.C:
			w.recordStarted(ctx)
		case <-w.requests:
			w.report(ctx, true)
		case <-scan.C:
			w.report(ctx, false)
		}
	}
}

// recordStarted takes the fingerprints of nodes that have started.
func (w *Watcher) recordStarted(ctx context.Context) {
	look := NewLook(ctx)
	for n, r := range w.nodes() {
		if r.attempts < recordAttempts {
			w.record(ctx, look, n, r)
		}
	}
}

// report scans, and reports the result if it was requested or has changed.
func (w *Watcher) report(ctx context.Context, requested bool) {
	edited := w.scan(ctx)
	if ctx.Err() == nil && (requested || !maps.EqualFunc(edited, w.last, slices.Equal)) {
		w.last = edited
		w.config.Events.Add(launch.Edited{Nodes: maps.Clone(edited)})
	}
}

// scan returns the changes of all nodes that run.
func (w *Watcher) scan(ctx context.Context) map[string][]string {
	var zeek string
	if w.config.Zeek != nil {
		zeek = w.config.Zeek(ctx)
	}
	look, edited := NewLook(ctx), make(map[string][]string)
	for n, r := range w.nodes() {
		w.record(ctx, look, n, r)
		changed := look.Changed(r.files)
		slices.Sort(changed)
		changed = append(w.otherChanges(n, zeek), changed...)
		if more := len(changed) - maxEdited; more > 0 {
			changed = append(changed[:maxEdited:maxEdited], fmt.Sprintf("and %d more", more))
		}
		if len(changed) > 0 {
			edited[n.Name] = changed
		}
	}
	return edited
}

// otherChanges returns what else has changed since the start of a node. The version of Zeek
// that nodes run from their next start on is "" if it is unknown.
func (w *Watcher) otherChanges(n Node, zeek string) []string {
	var changes []string
	if n.Args != w.config.Args {
		changes = append(changes, "the agent's setting node-args")
	}
	if n.Zeek != "" && zeek != "" && n.Zeek != zeek {
		changes = append(changes, fmt.Sprintf("Zeek %s (now %s)", n.Zeek, zeek))
	}
	return changes
}

// nodes returns the nodes that run with their records, and forgets those of other starts.
func (w *Watcher) nodes() map[Node]*record {
	nodes, records := make(map[Node]*record), make(map[string]*record)
	for _, n := range w.config.Nodes() {
		r := w.records[n.Name]
		if r == nil || r.start != n.Start {
			r = &record{start: n.Start}
		}
		nodes[n], records[n.Name] = r, r
	}
	w.records = records
	return nodes
}

// record takes the fingerprint of a node, if it has none yet and the node has listed its
// scripts. An earlier Watcher may have stored it.
func (w *Watcher) record(ctx context.Context, look *Look, n Node, r *record) {
	if r.known {
		return
	}
	log := w.config.Log.With().Str("node", n.Name).Logger()
	file := filepath.Join(n.Dir, FingerprintFile)
	r.attempts++
	if r.attempts == 1 {
		files, err := Load(file, n.Start)
		if err == nil {
			r.files, r.known = files, true
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			log.Debug().Err(err).Msg("no stored fingerprint of the node's scripts")
		}
	}
	paths, err := readListOf(n)
	if err != nil {
		if r.attempts == recordAttempts {
			log.Warn().Err(err).Msg("the node has not listed its scripts; changes to them will go unnoticed")
		}
		return
	}
	if len(paths) == MaxFiles {
		log.Warn().Int("limit", MaxFiles).Msg("the node has loaded too many scripts; changes to some will go unnoticed")
	}
	if w.config.Ignored != nil {
		paths = slices.DeleteFunc(paths, func(path string) bool { return w.config.Ignored(n, path) })
	}
	files := look.Take(paths, n.Began)
	if ctx.Err() != nil {
		return
	}
	r.files, r.known = files, true
	if err := Save(file, n.Start, files); err != nil {
		log.Warn().Err(err).Msg("cannot store the fingerprint of the node's scripts")
	}
}

// readListOf reads the list of a node. One that is older than the node is of an earlier
// start.
func readListOf(n Node) ([]string, error) {
	name := filepath.Join(n.Dir, nodescript.LoadedList)
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !n.Began.IsZero() && info.ModTime().Before(n.Began.Add(-startTolerance)) {
		return nil, ErrUnfinished
	}
	return ReadList(name, n.Dir)
}

// Forget removes the list and the fingerprint of a node that is about to start.
func Forget(dir string) error {
	var errs []error
	for _, file := range []string{nodescript.LoadedList, FingerprintFile} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
