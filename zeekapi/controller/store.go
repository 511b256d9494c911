package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Store keeps the state of a controller in one file, over restarts. It must not be
// used concurrently.
type Store struct {
	db      *bolt.DB
	file    string
	created bool // whether OpenStore created the file
}

// lockTimeout is the longest time to wait for another process that locks the file.
const lockTimeout = time.Second

// OpenStore opens the store in file. It creates the file and its directories if they
// do not exist, and upgrades a file of an older schema.
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
	if err != nil {
		return nil, fmt.Errorf("controller: state file %s: %w", file, err)
	}
	db, err := open(file)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("controller: state file %s is in use: is another controller running?", file)
	}
	if err != nil {
		return nil, fmt.Errorf("controller: state file %s: %w", file, err)
	}
	return &Store{db: db, file: file, created: created}, nil
}

// create writes an empty store under another name and renames it when it is
// complete. So an empty file is never the beginning of a store.
func create(file string) (err error) {
	folder := filepath.Dir(file)
	draft, err := os.CreateTemp(folder, filepath.Base(file)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	if err := draft.Close(); err != nil {
		return err
	}
	db, err := open(draft.Name())
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace an existing file.
	if err := os.Link(draft.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// open opens a database, and prepares it if it is new.
func open(file string) (db *bolt.DB, err error) {
	err = undamaged(func() (err error) {
		db, err = bolt.Open(file, 0o600, &bolt.Options{Timeout: lockTimeout})
		return err
	})
	var system *fs.PathError
	var errno syscall.Errno
	if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, bolterrors.ErrTimeout) && !errors.As(err, &system) && !errors.As(err, &errno) {
		err = fmt.Errorf("%w (%w)", errDamaged, err) // not a file of bbolt
	}
	if err != nil {
		return nil, err
	}
	if err := update(db, prepareFile); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// update commits a transaction, and then one without changes. A database begins with
// two pages that locate the rest, and each transaction writes one of them in turn.
// If the newer page is damaged, bbolt silently uses the older one. Therefore both
// must lead to the latest state.
func update(db *bolt.DB, change func(*bolt.Tx) error) error {
	return undamaged(func() error {
		if err := db.Update(change); err != nil {
			return err
		}
		return db.Update(func(*bolt.Tx) error { return nil })
	})
}

// undamaged calls do and converts bbolt's reactions to a damaged file to an error: a
// panic or, if the file is too short, a fault in mapped memory.
func undamaged(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%v)", errDamaged, p)
		}
	}()
	return do()
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
		r.get(bucketLast, keySent, &state.Sent)
		return r.complete()
	}
	if err := undamaged(func() error { return s.db.View(view) }); err != nil {
		return State{}, fmt.Errorf("controller: state file %s: %w", s.file, err)
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
		line.Str("file", s.file).Msg("no state file, began a new one")
		return
	}
	line := log.Info().Str("file", s.file)
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
	dir, name := filepath.Split(s.file)
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "*", name)) // an error means no hint
	return slices.DeleteFunc(files, func(f string) bool { return f == filepath.Clean(s.file) })
}

// storedPast is the record of a Past.
type storedPast struct {
	zeekapi.Deployment `zeek:"deployment"`
	Configuration      zeekapi.Configuration `zeek:"configuration"`
	Commitment         *Commitment           `zeek:"commitment,extension"`
}

// Save stores all changes or none. They are on disk when it returns.
func (s *Store) Save(changes ...Change) error {
	err := update(s.db, func(tx *bolt.Tx) error {
		w := ledger{tx: tx}
		w.open()
		for _, c := range changes {
			w.apply(c)
		}
		return w.close()
	})
	if err != nil {
		return fmt.Errorf("controller: state file %s: saving: %w", s.file, err)
	}
	return nil
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
		l.put(bucketLast, keySent, c.Sent)
	case Announce:
		l.put(bucketEvents, keyOf(c.Event.Number), c.Event)
		l.trim(bucketEvents, c.Oldest)
	}
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
