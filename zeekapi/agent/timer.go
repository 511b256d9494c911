package agent

import "time"

// timer is the time of an action. The zero timer is not set.
type timer struct {
	at  time.Time
	set bool
}

func (t *timer) start(at time.Time) { t.at, t.set = at, true }
func (t *timer) stop()              { *t = timer{} }

// due reports whether t is set and its time has come.
func (t timer) due(now time.Time) bool { return t.set && !now.Before(t.at) }

// earlier sets t to at if t is not set or later.
func (t *timer) earlier(at time.Time) {
	if !t.set || at.Before(t.at) {
		t.start(at)
	}
}

// earliest sets t to the other timer if that is set and t is not or later.
func (t *timer) earliest(other timer) {
	if other.set {
		t.earlier(other.at)
	}
}
