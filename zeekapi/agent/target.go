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
	expiry     logExpiry   // of assignment
	kept       []launch.Node
	saving     int       // outputs of Persist without a result
	failed     error     // error of the last result; nil: success
	retry      timer     // set while failed is not nil
	standbys   []request // that wait for saving
	lost       string    // why the agent does not have its state directory, "" if it has
}

// replace makes a the target and stores it.
func (t *target) replace(a *Assignment) {
	t.set(a)
	t.save()
}

// set makes a the target.
func (t *target) set(a *Assignment) { t.assignment, t.expiry = a, a.logExpiry() }

// identify notes under which ID controllers know the layout of the assignment.
func (t *target) identify(layoutID string) {
	if layoutID != "" && layoutID != t.assignment.LayoutID {
		a := *t.assignment
		a.LayoutID = layoutID
		t.replace(&a)
	}
}

// keep stores the configurations that nodes return to, if they have changed.
func (t *target) keep(kept []launch.Node) {
	if !slices.EqualFunc(kept, t.kept, launch.Node.Equal) {
		t.kept = kept
		t.save()
	}
}

// clear stores that nothing should run. The request is answered when that is stored.
func (t *target) clear(req request) {
	t.standbys = append(t.standbys, req)
	t.replace(nil)
}

// answer responds to the requests whose outcome is known.
func (t *target) answer() {
	if t.saving > 0 {
		return
	}
	for _, req := range t.standbys {
		if t.failed != nil {
			t.refuse(req, "cannot save the configuration: %v", t.failed)
		} else {
			t.accept(req)
		}
	}
	t.standbys = nil
}

// storageChanged takes note of whether the agent has its state directory.
func (t *target) storageChanged(why string) {
	if t.lost = why; why != "" {
		t.complain("", "deployments are refused: %s", why)
	}
}

// problem returns why the agent cannot store its assignment, "" if it can.
func (t *target) problem() string {
	switch {
	case t.lost != "":
		return t.lost
	case t.failed != nil:
		return "cannot save the configuration: " + t.failed.Error()
	}
	return ""
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
