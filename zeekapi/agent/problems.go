package agent

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// problems are the present problems of the instance. The agent reports them when they
// change, and after each hello.
type problems struct {
	*outbox
	all     []zeekapi.Problem // sorted by key
	changed bool              // since the last report
}

// set replaces the problems of a kind. One that was there already keeps its beginning.
func (p *problems) set(now time.Time, kind string, present []zeekapi.Problem) {
	var kept []zeekapi.Problem
	for _, old := range p.all {
		if old.Kind != kind {
			kept = append(kept, old)
		}
	}
	for _, problem := range present {
		problem.Kind, problem.Since = kind, now
		i, had := p.find(problem.Key())
		if had {
			problem.Since = p.all[i].Since
		} else {
			p.emit(Complain{problem.Text})
		}
		p.changed = p.changed || !had || p.all[i].Text != problem.Text
		kept = append(kept, problem)
	}
	slices.SortFunc(kept, func(a, b zeekapi.Problem) int { return cmp.Compare(a.Key(), b.Key()) })
	kept = kept[:min(len(kept), zeekapi.MaxProblems)]
	p.changed = p.changed || len(kept) != len(p.all)
	p.all = kept
}

func (p *problems) find(key string) (int, bool) {
	return slices.BinarySearchFunc(p.all, key, func(x zeekapi.Problem, key string) int { return cmp.Compare(x.Key(), key) })
}

// settle reports the problems if they have changed.
func (p *problems) settle() {
	if p.changed {
		p.report(uuid.Nil)
	}
}

// report reports the problems to a peer, or to all.
func (p *problems) report(to uuid.UUID) {
	if to == uuid.Nil {
		p.changed = false
	}
	p.publishTo(to, zeekapi.AgentProblems{Instance: p.instance, Problems: slices.Clone(p.all)})
}

// Problems returns the present problems of the instance, sorted by key.
func (m *Machine) Problems() []zeekapi.Problem { return m.problems.all }
