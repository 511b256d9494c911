package controller

import (
	"errors"
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// ErrDamaged is the error about entries that a controller did not write in this form.
var ErrDamaged = errors.New("the stored state is damaged; restore it from a backup")

func ledgerOf(e Entries) *ledger { return &ledger{entries: e, damage: ErrDamaged} }

// ErrSchema is wrapped by the error about entries of another schema than this program knows.
var ErrSchema = errors.New("another version of the controller wrote the stored state: use that one, or a later one")

// known returns an error if entries have another schema than this program knows.
func known(e Entries) error {
	if found := e.Get(bucketMeta, keySchema); found != nil && string(found) != schema {
		return fmt.Errorf("%w (schema is %.40q, this program knows %q)", ErrSchema, found, schema)
	}
	return nil
}

// PrepareEntries stores the zero State if there are no entries yet. It returns an error if
// they have a schema that this program does not know.
func PrepareEntries(e Entries) error {
	if err := known(e); err != nil || e.Get(bucketMeta, keySchema) != nil {
		return err
	}
	if err := e.Put(bucketMeta, keySchema, []byte(schema)); err != nil {
		return err
	}
	return ledgerOf(e).close()
}

// ReadEntries returns the stored state. It returns an error if any part of it is damaged.
func ReadEntries(e Entries) (State, error) {
	if err := known(e); err != nil {
		return State{}, err
	}
	return ledgerOf(e).read()
}

// WriteChanges makes changes to the stored state. The transaction must be discarded if it
// fails.
func WriteChanges(e Entries, changes ...Change) error {
	return ledgerOf(e).write(func(l *ledger) { l.applyAll(changes) })
}

// WriteState makes the stored state equal to a state. It changes only what differs. The
// transaction must be discarded if it fails.
func WriteState(e Entries, s State) error {
	return ledgerOf(e).write(func(l *ledger) { l.replace(s) })
}

// write makes changes, and maintains the sum of the checksums.
func (l *ledger) write(do func(l *ledger)) error {
	l.open()
	do(l)
	return l.close()
}

// read returns the stored state.
func (l *ledger) read() (State, error) {
	state := State{Configs: make(map[Slot]zeekapi.Configuration)}
	for _, slot := range Slots {
		if c := new(zeekapi.Configuration); l.get(bucketConfigs, []byte(slot), c) {
			state.Configs[slot] = *c
		}
	}
	each(l, bucketHistory, func(p storedPast) { state.History = append(state.History, Past(p)) })
	each(l, bucketEvents, func(n zeekapi.ClusterEvent) { state.Events = append(state.Events, n) })
	each(l, bucketDrained, func(name string) { state.Drained = append(state.Drained, name) })
	each(l, bucketOwed, func(name string) { state.Owed = append(state.Owed, name) })
	if job := new(StoredJob); l.get(bucketLast, keyJob, job) {
		state.Job = job
	}
	var told storedSent
	l.get(bucketLast, keySent, &told)
	state.Sent, state.Stopped = told.Sent, told.Stopped
	state.Term = l.term()
	if err := l.complete(); err != nil {
		return State{}, err
	}
	return state, nil
}

// applyAll makes changes. It does not store the events that would be removed again.
func (l *ledger) applyAll(changes []Change) {
	var oldest uint64 // number of the oldest event that remains
	for _, c := range changes {
		if a, ok := c.(Announce); ok {
			oldest = max(oldest, a.Oldest)
		}
	}
	for _, c := range changes {
		if a, ok := c.(Announce); !ok || a.Event.Number >= oldest {
			l.apply(c)
		}
	}
	if oldest > 0 {
		l.trim(bucketEvents, oldest)
	}
}

// apply makes a change, but removes no events.
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
	}
}
