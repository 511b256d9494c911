package agent

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// target is the assignment that the agent should run, and whether it is stored.
type target struct {
	*outbox
	assignment *Assignment // nil: nothing should run
	kept       []launch.Node
	saving     int   // outputs of Persist without a result
	failed     error // error of the last result; nil: success
	retry      timer // set while failed is not nil
}

// replace makes a the target and stores it.
func (t *target) replace(a *Assignment) {
	t.assignment = a
	t.save()
}

// keep stores the configurations that nodes return to, if they have changed.
func (t *target) keep(kept []launch.Node) {
	if !slices.EqualFunc(kept, t.kept, launch.Node.Equal) {
		t.kept = kept
		t.save()
	}
}

func (t *target) save() {
	t.saving++
	t.emit(Persist{t.assignment, t.kept})
}

// persisted processes the result of a Persist. An assignment that cannot be
// stored is still deployed, so that nodes can be stopped when the disk is full.
func (t *target) persisted(now time.Time, err error) {
	if err != nil && t.failed == nil {
		t.complain("", "cannot save the configuration: %v", err)
	}
	t.saving, t.failed = max(0, t.saving-1), err
	if err == nil {
		t.retry.stop()
		return
	}
	t.retry.start(now.Add(SaveInterval))
}

func (t *target) expire(now time.Time) {
	if t.retry.due(now) {
		t.retry.start(now.Add(SaveInterval))
		t.save()
	}
}
