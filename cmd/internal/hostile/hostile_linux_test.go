package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
)

var (
	full     = flag.Bool("hostile.full", false, "run all attacks, each for a longer time")
	selected = flag.String("hostile.rows", "", "regular expression of the rows to run, such as websocket/giant")
)

// Durations of an attack. It takes longer if the operator does.
const (
	shortAttack = 300 * time.Millisecond
	longAttack  = 4 * time.Second
)

// settleLimit is the longest time until a process uses no more goroutines and
// descriptors than before an attack.
const settleLimit = time.Minute

// slack is the number by which goroutines and descriptors may differ before and
// after an attack: connections of the cluster itself come and go.
const slack = 6

// logLimit is the number of bytes that an attack may make a process log.
const logLimit = 5 << 20

// outcome is the result of a row.
type outcome struct {
	row
	stage     string
	actions   int64
	peak      int64 // largest memory of a process during the attack, in bytes
	log       int64 // bytes
	slowest   time.Duration
	slowestOf string
	settled   time.Duration
	errs      []error
	damaged   bool // the next row needs another cluster
}

func (o *outcome) fail(err error) {
	if err != nil {
		o.errs = append(o.errs, err)
	}
}

// TestHostile attacks a controller and an agent under a memory limit, while an
// operator uses the cluster. An attack fails the test if a process dies or exceeds
// the limit, if the operator is not answered, if the log grows by too much or is
// forged, or if goroutines and descriptors do not return to their number.
func TestHostile(t *testing.T) {
	binary := testbinary.Path(t)
	var outcomes []outcome
	for _, s := range stages {
		s.rows = chosen(s)
		for i := 1; len(s.rows) > 0; i++ {
			var done []outcome
			t.Run(fmt.Sprintf("%s/cluster %d", s.name, i), func(t *testing.T) { done = runRows(t, binary, s) })
			if len(done) == 0 { // the next cluster would not start either
				for _, r := range s.rows {
					done = append(done, outcome{row: r, stage: s.name, errs: []error{errors.New("the cluster did not start")}})
				}
			}
			outcomes = append(outcomes, done...)
			s.rows = s.rows[len(done):]
		}
	}
	report(t, outcomes)
}

// chosen returns the rows of a stage that are to run.
func chosen(s stage) []row {
	p := pattern()
	return slices.DeleteFunc(slices.Clone(s.rows), func(r row) bool {
		return !*full && !r.small || !p.MatchString(s.name+"/"+r.port+"/"+r.attack)
	})
}

// runRows runs rows against a new cluster, until one has damaged it. It returns at
// least one outcome.
func runRows(t *testing.T, binary string, s stage) (done []outcome) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	c := startCluster(t, binary, s)
	c.await(ctx, t, &operator{binary: binary, cluster: c})
	for i, r := range s.rows {
		o := outcome{row: r, stage: s.name}
		// In the small form, the next row shows that the cluster has recovered.
		c.run(ctx, binary, &o, *full || i == len(s.rows)-1)
		done = append(done, o)
		for _, err := range o.errs {
			t.Errorf("%s, %s: %v", r.port, r.attack, err)
		}
		if o.damaged {
			return done
		}
	}
	return done
}

// run runs a row. If recovers is set, the operator must get responses afterwards.
func (c *cluster) run(ctx context.Context, binary string, o *outcome, recovers bool) {
	before, err := c.usages()
	o.fail(err)
	for _, p := range c.processes() {
		o.fail(p.forgetPeak())
	}
	op := &operator{binary: binary, cluster: c}
	c.attack(ctx, op, o)
	o.slowest, o.slowestOf = op.slowest, op.slowestOf
	began := time.Now()
	if err := c.settle(before); err != nil {
		o.fail(err)
		o.damaged = true
	}
	o.settled = time.Since(began)
	for _, p := range c.processes() {
		peak, _ := p.memory()
		if o.peak = max(o.peak, peak); peak > memoryLimit {
			o.fail(fmt.Errorf("the %s used %d MiB", p.name, peak>>20))
		}
		size, err := p.checkLog()
		o.fail(err)
		if o.log += size; size > logLimit {
			o.fail(fmt.Errorf("the %s logged %d KiB", p.name, size>>10))
		}
		if err := p.alive(); err != nil {
			o.fail(err)
			o.damaged = true
		}
	}
	if o.damaged || !recovers {
		return
	}
	if err := (&operator{binary: binary, cluster: c}).recover(ctx); err != nil {
		o.fail(fmt.Errorf("after the attack: %w", err))
		o.damaged = true
	}
}

// attack attacks while the operator and a client that was connected before use the
// cluster.
func (c *cluster) attack(ctx context.Context, op *operator, o *outcome) {
	r, err := newResident(ctx, c)
	if err != nil {
		o.fail(err)
		return
	}
	asking, enough := context.WithCancel(ctx)
	defer enough()
	asked := make(chan error, 1)
	go func() { asked <- r.ask(asking) }()
	a, err := startAttacker(assault{Attack: o.attack, Target: c.target(o.port)})
	if err != nil {
		o.fail(err)
		return
	}
	duration := shortAttack
	if *full {
		duration = longAttack
	}
	for began := time.Now(); err == nil && (op.rounds == 0 || time.Since(began) < duration); {
		err = op.round(ctx)
	}
	o.fail(err)
	enough()
	o.fail(<-asked)
	if r.slowest > op.slowest {
		op.slowest, op.slowestOf = r.slowest, "connected client"
	}
	stats, err := a.stop()
	o.fail(err)
	if o.actions = stats.Actions; o.actions == 0 {
		o.fail(errors.New("the attack did nothing"))
	}
	for _, b := range stats.Breaches {
		o.fail(errors.New(b))
	}
}

// usages returns what each process uses.
func (c *cluster) usages() (all []usage, err error) {
	for _, p := range c.processes() {
		u, usageErr := p.usage()
		all, err = append(all, u), errors.Join(err, usageErr)
	}
	return all, err
}

// settle waits until the processes use no more than before.
func (c *cluster) settle(before []usage) error {
	deadline := time.Now().Add(settleLimit)
	for {
		now, err := c.usages()
		var texts []string
		for i, p := range c.processes() {
			if now[i].goroutines > before[i].goroutines+slack || now[i].descriptors > before[i].descriptors+slack {
				texts = append(texts, fmt.Sprintf("the %s has %d goroutines and %d descriptors, before %d and %d",
					p.name, now[i].goroutines, now[i].descriptors, before[i].goroutines, before[i].descriptors))
			}
			if p.alive() != nil {
				return nil // reported by the caller
			}
		}
		if err == nil && texts == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, errors.New("after the attack: "+strings.Join(texts, "; ")))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// report logs a table of the outcomes.
func report(t *testing.T, outcomes []outcome) {
	rows := []string{"ATTACK\tTARGET\tCLUSTER\tACTIONS\tPEAK MEMORY\tSLOWEST ANSWER\tOF\tSETTLED\tLOG\tOUTCOME"}
	failed := 0
	for _, o := range outcomes {
		if o.errs != nil {
			failed++
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%d MiB\t%v\t%s\t%v\t%d KiB\t%s", o.attack, o.port, o.stage, o.actions, o.peak>>20,
			o.slowest.Round(time.Millisecond), o.slowestOf, o.settled.Round(time.Millisecond), o.log>>10, result(o.errs...)))
	}
	t.Logf("%d attacks, %d failed, memory limit %d MiB for each process\n%s", len(outcomes), failed, memoryLimit>>20, table(rows))
}

// result describes errors in one line.
func result(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return fmt.Sprintf("FAILED: %.200s", strings.Join(strings.Fields(err.Error()), " "))
	}
	return "passed"
}

// table returns lines with aligned columns, which are separated by tabs.
func table(lines []string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(lines, "\n"))
	w.Flush()
	return b.String()
}

// pattern returns the pattern of the rows to run.
func pattern() *regexp.Regexp { return regexp.MustCompile(*selected) }
