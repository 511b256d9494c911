package clientcmd

import (
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// stored is what a command knows about answers from the stored state of a controller that stands
// by.
type stored struct {
	mu   sync.Mutex
	told bool
	asOf time.Time // of the oldest of these answers; zero: there is none
}

// answered notes an answer from a stored state. It warns the user, once.
func (r *run) answered(s zeekapi.StoredAnswer) {
	r.stored.mu.Lock()
	defer r.stored.mu.Unlock()
	if r.stored.asOf.IsZero() || s.AsOf.Before(r.stored.asOf) {
		r.stored.asOf = s.AsOf
	}
	if !r.stored.told && r.show >= showErrors {
		r.stored.told = true
		r.warning("controller %q stands by, and answers from the stored state of %s", s.Controller, ago(s.AsOf, time.Now()))
	}
}

// ageView is the age of a stored state in JSON. It has no keys if the leader has answered.
type ageView struct {
	Age *int64 `json:"age,omitempty"` // in seconds
}

// newAgeView returns the age of the state of a time, none for the zero time.
func newAgeView(asOf, now time.Time) ageView {
	if asOf.IsZero() {
		return ageView{}
	}
	return ageView{new(max(0, int64(now.Sub(asOf).Seconds())))}
}

// age returns the age of the answers so far.
func (r *run) age() ageView {
	r.stored.mu.Lock()
	defer r.stored.mu.Unlock()
	return newAgeView(r.stored.asOf, time.Now())
}
