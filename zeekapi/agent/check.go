package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Check returns an error if the state of the machine contradicts itself, which
// is a bug. Tests call it after every step.
func (m *Machine) Check() error {
	errs := []error{m.presence.check(), m.leadership.check(), m.target.check(), m.nodes.check(m.target.assignment), m.waits.check(),
		m.problems.check(), m.trials.check(), m.restarts.check(), m.dispatches.check(), m.figures.check()}
	if n := len(m.out.out); n > 0 {
		errs = append(errs, fmt.Errorf("%d outputs are left after the step", n))
	}
	return errors.Join(append(errs, m.checkShares())...)
}

func (p *presence) check() error {
	if p.peers < 0 || p.next.set != (p.peers > 0) {
		return fmt.Errorf("%d peers, a hello is planned: %t", p.peers, p.next.set)
	}
	return nil
}

func (p *problems) check() error {
	for i, problem := range p.all {
		if i > 0 && problem.Key() <= p.all[i-1].Key() {
			return fmt.Errorf("the problem %q is not after %q", problem.Key(), p.all[i-1].Key())
		}
	}
	if p.changed || len(p.all) > zeekapi.MaxProblems {
		return fmt.Errorf("%d problems, a report is missing: %t", len(p.all), p.changed)
	}
	return nil
}

func (t *target) check() error {
	if t.retry.set != (t.failed != nil) {
		return fmt.Errorf("saving failed with %w, a retry is planned: %t", t.failed, t.retry.set)
	}
	return nil
}

// check compares the nodes with the assignment that they should run.
func (ns *nodes) check(a *Assignment) error {
	var errs []error
	for name, n := range ns.all {
		if err := n.check(name); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	if should := ns.selected(nil); !slices.Equal(should, a.names()) {
		errs = append(errs, fmt.Errorf("nodes %q should run, assigned are %q", should, a.names()))
	}
	return errors.Join(errs...)
}

func (n *node) check(name string) error {
	switch {
	case n.want == nil && n.have == nil:
		return errors.New("neither runs nor should")
	case n.want != nil && n.want.Name != name, n.have != nil && n.have.Name != name:
		return errors.New("has another name")
	case n.have == nil && (n.stopping || n.again || n.overdue || n.pid != 0):
		return errors.New("does not run, but is treated as if it did")
	case n.cause != nil && !n.stopping:
		return errors.New("is to end because of what it does, but is not being stopped")
	case n.held != "" && n.want == nil:
		return errors.New("must not run now, but should not run at all")
	case n.want == nil && n.again:
		return errors.New("is to start again, but should not run")
	case n.want != nil && n.state == zeekapi.StateRunning && (n.have == nil || !n.begun || !n.greeted):
		return errors.New("is RUNNING, but has not started or introduced itself")
	case n.refused > 0 && n.fits() && !n.stopping:
		return errors.New("waits for a replacement, but runs with the assigned configuration")
	case n.refused > 0 && n.checked != nil:
		return errors.New("has both passed and failed the check of its configuration")
	case n.kept != nil && (n.want == nil || n.kept.Equal(*n.want) || n.ready()):
		return errors.New("keeps an earlier configuration, but does not need it")
	case n.returns && !n.mayReturn():
		return errors.New("is to return, but cannot")
	case n.have == nil && len(n.edited) > 0:
		return errors.New("does not run, but has changed scripts")
	case !n.state.Valid():
		return fmt.Errorf("has the unknown state %q", n.state)
	}
	return nil
}

func (ws *waits) check() error {
	var errs []error
	if w := ws.deploy; w != nil && !slices.Equal(w.nodes, ws.target.assignment.names()) {
		errs = append(errs, fmt.Errorf("the deployment waits for %q, assigned are %q", w.nodes, ws.target.assignment.names()))
	}
	for _, w := range ws.restarts {
		if !slices.IsSorted(w.nodes) {
			errs = append(errs, fmt.Errorf("the restart %q waits for unsorted nodes %q", w.id, w.nodes))
		}
	}
	return errors.Join(errs...)
}

func (ts *trials) check() error {
	for _, t := range ts.pending {
		if t.scanning == (len(t.waiting) > 0) {
			return fmt.Errorf("the check %q waits for a scan: %t, and for %d nodes", t.id, t.scanning, len(t.waiting))
		}
	}
	return nil
}

func (rs *restarts) check() error {
	for _, r := range rs.pending {
		if len(r.waiting) == 0 {
			return fmt.Errorf("the restart %q does not wait for a check", r.id)
		}
		if !slices.IsSorted(r.nodes) {
			return fmt.Errorf("the restart %q has unsorted nodes %q", r.id, r.nodes)
		}
	}
	return nil
}

func (ds *dispatches) check() error {
	for id, d := range ds.pending {
		if len(d.waiting) == 0 {
			return fmt.Errorf("the dispatch %q waits for no node", id)
		}
	}
	return nil
}
