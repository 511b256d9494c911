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
)

// Store keeps the state of a controller over restarts. A FileStore is one. It is not used
// concurrently.
type Store interface {
	// Load returns the stored state. It returns an error if any part of it is damaged.
	Load() (State, error)

	// Save stores all changes or none. They survive a crash of the machine when it
	// returns nil. If it returns an error, Check and then Rewrite follow before the next
	// call of Save.
	Save(changes ...Change) error

	// Rewrite makes the stored state equal to a state, whatever was stored before.
	Rewrite(State) error

	// Check returns why changes cannot be stored now, nil if they can be. Broken reports
	// whether Save would fail, too: without it, there is only little room left. It is
	// called each second, and does not block for long.
	Check() (broken bool, err error)
}

// SharedStore is a Store for a state that several controllers share. Each of them has its
// own SharedStore, and only the one that leads may use it.
type SharedStore interface {
	Store

	// Confirm returns nil if the controller leads. It asks the database, because another
	// controller may lead after this process was stopped for a while. The error is
	// ErrDeposed if another controller may lead now, or else the reason why the database
	// does not answer. The other methods return these errors, too.
	Confirm() error
}

// ErrDeposed is the error of a SharedStore whose controller no longer leads.
var ErrDeposed = errors.New("this controller does not lead any more")

// ErrUnsure is wrapped together with ErrDeposed if the changes may have been stored: an
// earlier attempt to store them got no answer. Clients must not repeat their requests then.
var ErrUnsure = errors.New("the last changes may have been stored")

// FileStore keeps the state of a controller in one file. It must not be used concurrently.
type FileStore struct {
	storeFile
	created bool // whether OpenStore created the file
}

// OpenStore opens the store in file. It creates the file and its directories if they
// do not exist, and upgrades a file of an older schema. A file that exists is also
// opened on a full or read-only file system: it can be loaded, and Save fails.
func OpenStore(file string) (*FileStore, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("controller: state: %w", err)
	}
	info, err := os.Stat(file)
	created := errors.Is(err, fs.ErrNotExist)
	switch {
	case created:
		err = create(file)
	case err == nil && info.Size() == 0:
		err = fmt.Errorf("it is empty: %w", errFileDamaged)
	}
	s := &FileStore{storeFile: storeFile{name: file}, created: created}
	if err == nil {
		err = s.open(lockTimeout)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// explain adds the name of the file to an error.
func (s *FileStore) explain(err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("controller: state file %s is in use: is another controller running?", s.name)
	}
	return fmt.Errorf("controller: state file %s: %w", s.name, err)
}

// Load returns the stored state. It returns an error if any part of it is damaged.
func (s *FileStore) Load() (State, error) {
	var state State
	view := func(tx *bolt.Tx) (err error) {
		state, err = fileLedger(tx).read()
		return err
	}
	if err := undamaged(func() error { return s.db.View(view) }); err != nil {
		return State{}, s.explain(err)
	}
	return state, nil
}

// tell logs a summary of the loaded state.
func (s *FileStore) tell(log zerolog.Logger, state State) {
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
func (s *FileStore) others() []string {
	dir, name := filepath.Split(s.name)
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "*", name)) // an error means no hint
	return slices.DeleteFunc(files, func(f string) bool { return f == filepath.Clean(s.name) })
}

// Save stores all changes or none. They are on disk when it returns, in the file that
// has the store's name.
func (s *FileStore) Save(changes ...Change) error {
	return s.write(func(l *ledger) { l.applyAll(changes) })
}

// Rewrite makes the stored state equal to a state, whatever was stored before.
func (s *FileStore) Rewrite(state State) error {
	return s.write(func(l *ledger) { l.replace(state) })
}

func (s *FileStore) write(do func(l *ledger)) error {
	err := s.usable()
	if err == nil {
		err = s.update(func(tx *bolt.Tx) error { return fileLedger(tx).write(do) })
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
func (s *FileStore) Check() (broken bool, err error) {
	broken = true
	if err = s.regain(); err == nil {
		broken, err = false, s.room()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, advised(err))
	}
	return broken, err
}
