package controller

import "errors"

// stateStore is a Store, or in tests one that fails.
type stateStore interface {
	Save(changes ...Change) error
	Rewrite(State) error
	Check() (broken bool, err error)
}

// keeper stores the changes of a machine. While the store fails, it keeps the state in
// memory, which therefore takes no more room than the machine's, and stores all of it
// when that is possible.
type keeper struct {
	store  stateStore // nil: nothing is stored
	kept   *liveState
	broken error // why the last changes are only in memory
}

// keep stores changes or, after a failure, keeps them in memory. Changes for which it
// returns an error are not kept.
func (k *keeper) keep(changes []Change) error {
	if k.store == nil || len(changes) == 0 {
		return nil
	}
	if k.broken == nil {
		if k.broken = k.store.Save(changes...); k.broken != nil {
			return k.broken
		}
	}
	for _, c := range changes {
		k.kept.apply(c)
	}
	return nil
}

// check returns why changes cannot be stored, "" if they can be. If it has become
// possible, check stores what is only in memory.
func (k *keeper) check() (why string) {
	if k.store == nil {
		return ""
	}
	broken, err := k.store.Check()
	switch {
	case broken:
		k.broken = err
	case err == nil && k.broken != nil:
		k.broken = k.store.Rewrite(k.kept.state())
		err = k.broken
	}
	return reasonOf(err)
}

// reasonOf returns an error of a store without the text that is the same for all, "" for
// nil.
func reasonOf(err error) string {
	var failed *saveError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &failed):
		return failed.file + ": " + failed.error.Error()
	}
	return err.Error()
}
