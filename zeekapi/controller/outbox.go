package controller

import "time"

// outbox collects the outputs of a step, in order. All parts of a machine share
// it.
type outbox struct {
	now time.Time // of the step
	out []Output
}

func (o *outbox) emit(out Output) { o.out = append(o.out, out) }

// take returns the outputs and removes them.
func (o *outbox) take() []Output {
	out := o.out
	o.out = nil
	return out
}

// alarm is a time at which something is to be done. The zero value is not set.
type alarm struct {
	at  time.Time
	set bool
}

func alarmAt(at time.Time) alarm { return alarm{at, true} }

// due reports whether the alarm is set, and to a time that is not after now.
func (a alarm) due(now time.Time) bool { return a.set && !a.at.After(now) }

// sooner returns the alarm that is due first.
func (a alarm) sooner(b alarm) alarm {
	if b.set && (!a.set || b.at.Before(a.at)) {
		return b
	}
	return a
}
