package agent

import "time"

// target is the assignment that the agent should run, and whether it is stored.
type target struct {
	*outbox
	assignment *Assignment // nil: nothing should run
	saving     int         // outputs of Persist without a result
	failed     error       // error of the last result; nil: success
	retry      timer       // set while failed is not nil
}

// replace makes a the target and stores it.
func (t *target) replace(a *Assignment) {
	t.assignment = a
	t.save()
}

func (t *target) save() {
	t.saving++
	t.emit(Persist{t.assignment})
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
