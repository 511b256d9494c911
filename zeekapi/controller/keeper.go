package controller

import (
	"errors"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// stateStore is what a keeper needs of a Store.
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

// confirm returns nil if outputs without a change may be performed: the store confirms that
// the controller leads, or it has failed before, so that the controller is suspended.
func (k *keeper) confirm() error {
	if shared, ok := k.store.(SharedStore); ok && k.broken == nil {
		k.broken = shared.Confirm()
		return k.broken
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

// lost reports whether the store was found to belong to another leader.
func (k *keeper) lost() bool { return errors.Is(k.broken, ErrDeposed) }

// suspended reports whether the controller does not know whether it leads. While that is so,
// outputs that are withheld are not performed.
func (k *keeper) suspended() bool {
	_, shared := k.store.(SharedStore)
	return shared && k.broken != nil
}

// withheld reports whether an output must not be performed while the controller is
// suspended. ToAgents is performed: a layout changes nothing at an agent, and checks need it.
func withheld(o Output) bool {
	switch o := o.(type) {
	case ToAgent:
		request := zeekapi.RequestOf(o.Message)
		return request != nil && request.Effect == zeekapi.Changes
	case Dial, KeepSites:
		return true
	}
	return false
}

// speaks reports whether an output has an effect outside of the controller, so that it needs
// the confirmation that the controller leads.
func speaks(o Output) bool {
	switch o.(type) {
	case ToAgent, ToAgents, ToClients, Dial, StoreSite, StepDown:
		return true
	}
	return false
}
