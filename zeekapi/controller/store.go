package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Store keeps the state of a controller in one file, over restarts. It must not be
// used concurrently.
type Store struct {
	storeFile
	created bool // whether OpenStore created the file
}

// OpenStore opens the store in file. It creates the file and its directories if they
// do not exist, and upgrades a file of an older schema. A file that exists is also
// opened on a full or read-only file system: it can be loaded, and Save fails.
func OpenStore(file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("controller: state: %w", err)
	}
	info, err := os.Stat(file)
	created := errors.Is(err, fs.ErrNotExist)
	switch {
	case created:
		err = create(file)
	case err == nil && info.Size() == 0:
		err = fmt.Errorf("it is empty: %w", errDamaged)
	}
	s := &Store{storeFile: storeFile{name: file}, created: created}
	if err == nil {
		err = s.open(lockTimeout)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// explain adds the name of the file to an error.
func (s *Store) explain(err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("controller: state file %s is in use: is another controller running?", s.name)
	}
	return fmt.Errorf("controller: state file %s: %w", s.name, err)
}

// Load returns the stored state. It returns an error if any part of it is damaged.
func (s *Store) Load() (State, error) {
	state := State{Configs: make(map[Slot]zeekapi.Configuration)}
	view := func(tx *bolt.Tx) error {
		r := ledger{tx: tx}
		for _, slot := range Slots {
			if c := new(zeekapi.Configuration); r.get(bucketConfigs, []byte(slot), c) {
				state.Configs[slot] = *c
			}
		}
		each(&r, bucketHistory, func(p storedPast) { state.History = append(state.History, Past(p)) })
		each(&r, bucketEvents, func(n zeekapi.ClusterEvent) { state.Events = append(state.Events, n) })
		each(&r, bucketDrained, func(name string) { state.Drained = append(state.Drained, name) })
		each(&r, bucketOwed, func(name string) { state.Owed = append(state.Owed, name) })
		if job := new(StoredJob); r.get(bucketLast, keyJob, job) {
			state.Job = job
		}
		var told storedSent
		r.get(bucketLast, keySent, &told)
		state.Sent, state.Stopped = told.Sent, told.Stopped
		return r.complete()
	}
	if err := undamaged(func() error { return s.db.View(view) }); err != nil {
		return State{}, s.explain(err)
	}
	return state, nil
}

// tell logs a summary of the loaded state.
func (s *Store) tell(log zerolog.Logger, state State) {
	if s.created {
		line := log.Info()
		if others := s.others(); len(others) > 0 {
			line = log.Warn().Strs("others", others)
		}
		line.Str("file", s.name).Msg("no state file, began a new one")
		return
	}
	line := log.Info().Str("file", s.name)
	for _, slot := range Slots {
		if c, ok := state.Configs[slot]; ok {
			line.Str(string(slot), clip(c.ID))
		}
	}
	line.Int("deployments", len(state.History)).Msg("read the state file")
}

// others returns the state files of controllers with other names. A controller whose
// name changed, for example with the name of the machine, starts without a state.
func (s *Store) others() []string {
	dir, name := filepath.Split(s.name)
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "*", name)) // an error means no hint
	return slices.DeleteFunc(files, func(f string) bool { return f == filepath.Clean(s.name) })
}

// Save stores all changes or none. They are on disk when it returns, in the file that
// has the store's name.
func (s *Store) Save(changes ...Change) error {
	return s.write(func(w *ledger) {
		for _, c := range changes {
			w.apply(c)
		}
	})
}

// Rewrite makes the stored state equal to a state, whatever was stored before.
func (s *Store) Rewrite(state State) error {
	return s.write(func(w *ledger) { w.replace(state) })
}

func (s *Store) write(do func(w *ledger)) error {
	err := s.usable()
	if err == nil {
		err = s.update(func(tx *bolt.Tx) error {
			w := ledger{tx: tx}
			w.open()
			do(&w)
			return w.close()
		})
	}
	if err == nil {
		err = s.usable() // the changes are lost if the file was removed meanwhile
	}
	if err != nil {
		return &saveError{s.name, advised(err)}
	}
	return nil
}

// saveError is the error of Save and Rewrite.
type saveError struct {
	file string
	error
}

func (e *saveError) Error() string {
	return fmt.Sprintf("controller: state file %s: saving: %v", e.file, e.error)
}

func (e *saveError) Unwrap() error { return e.error }

// Check returns why changes cannot be stored now, nil if they can be. Broken reports
// whether Save would fail, too: without it, there is only little room left. Check
// reopens or creates the file if that helps. Rewrite must follow if Save or Check has
// failed before.
func (s *Store) Check() (broken bool, err error) {
	broken = true
	if err = s.regain(); err == nil {
		broken, err = false, s.room()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, advised(err))
	}
	return broken, err
}

func (l *ledger) apply(c Change) {
	switch c := c.(type) {
	case Save:
		l.put(bucketConfigs, []byte(c.Slot), c.Config)
	case SaveDeployment:
		l.put(bucketHistory, keyOf(c.Past.Number), storedPast(c.Past))
		l.trim(bucketHistory, c.Oldest)
	case SaveNames:
		bucket := bucketDrained
		if c.Set == Owed {
			bucket = bucketOwed
		}
		if c.In {
			l.put(bucket, keyOfName(c.Name), c.Name)
		} else {
			l.delete(bucket, keyOfName(c.Name))
		}
	case SaveJob:
		l.put(bucketLast, keyJob, c.Job)
	case SaveSent:
		told := l.told()
		told.Sent = c.Sent
		l.put(bucketLast, keySent, told)
	case SaveStopped:
		told := l.told()
		told.Stopped = c.Nodes
		l.put(bucketLast, keySent, told)
	case Announce:
		l.put(bucketEvents, keyOf(c.Event.Number), c.Event)
		l.trim(bucketEvents, c.Oldest)
	}
}
