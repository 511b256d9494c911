package console

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// operation is something that a visitor has started and that takes time: a check, a
// deployment, a restart. It goes on when the visitor leaves, and its page shows how far
// it is.
type operation struct {
	ID      string
	Title   string // such as "Deploy"
	By      Visitor
	Started time.Time
	Ended   time.Time // zero: it is not finished
	Back    string    // address of the page where it was started

	File   *clusterFile // of a check or a deployment, nil for others
	Review *review      // of a check, when it has ended

	Result  *client.DeployResult // of a deployment or a drain
	Results []zeekapi.Result     // of a request about nodes
	Outcome zeekapi.Outcome      // of a deployment that took longer than its request
	Number  uint64               // of the deployment in the history; 0: unknown
	Failed  string               // why there is no result
}

// Done reports whether the operation has ended.
func (o operation) Done() bool { return !o.Ended.IsZero() }

// Well reports whether the operation has ended as intended.
func (o operation) Well() bool {
	if !o.Done() || o.Failed != "" {
		return false
	}
	if o.Outcome != "" {
		return o.Outcome == zeekapi.OutcomeDeployed
	}
	if o.Result != nil && o.Result.Failed {
		return false
	}
	for _, r := range o.Results {
		if !r.Success {
			return false
		}
	}
	return o.Review == nil || o.Review.Errors == 0
}

// running is an operation that can be changed.
type running struct {
	mu sync.Mutex
	o  operation
}

// set changes the operation.
func (r *running) set(change func(*operation)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.o)
}

func (r *running) get() operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.o
}

// finish sets the results of a deployment or a drain.
func (r *running) finish(results []zeekapi.Result, err error) {
	var d client.DeployResult
	if err == nil {
		d, err = client.NewDeployResult(results)
	}
	r.set(func(o *operation) {
		if err != nil {
			o.Failed = errorText(err)
			return
		}
		o.Result = &d
	})
}

// finishNodes sets the results of a request about nodes.
func (r *running) finishNodes(results []zeekapi.Result, err error) {
	if err == nil && len(results) == 0 {
		err = errors.New("the controller returned no result")
	}
	r.set(func(o *operation) {
		o.Results = results
		if err != nil {
			o.Failed = errorText(err)
		}
	})
}

// operations keeps the latest operations.
type operations struct {
	active sync.WaitGroup
	mu     sync.Mutex
	all    []*running // the oldest first
}

const (
	maxOperations = 50 // that are kept
	maxRunning    = 10 // that have not ended

	// actionTimeout limits the requests of operations. The controller limits them, too.
	actionTimeout = client.CheckTimeout
)

// start makes a request in the name of the visitor as an operation, and returns the address
// of its page. It calls finish with the results.
func (c *Console) start(o operation, q zeekapi.Message, finish func(*running, []zeekapi.Result, error)) (string, error) {
	wait, err := o.By.Start(q)
	if err != nil {
		return "", err
	}
	return c.begin(o, func(x *running) {
		ctx, cancel := c.background(actionTimeout)
		defer cancel()
		results, err := wait(ctx)
		finish(x, results, err)
	})
}

// begin starts an operation and returns the address of its page. The operation ends
// when do returns.
func (c *Console) begin(o operation, do func(*running)) (string, error) {
	s := &c.operation
	o.ID, o.Started = rand.Text(), time.Now()
	r := &running{o: o}
	s.mu.Lock()
	defer s.mu.Unlock()
	active := 0
	for _, x := range s.all {
		if !x.get().Done() {
			active++
		}
	}
	if active >= maxRunning || c.running.Err() != nil {
		return "", &failure{http.StatusServiceUnavailable, fmt.Sprintf("%s under way. Wait until one has ended.", countText(active, "operation"))}
	}
	for k := 0; len(s.all) >= maxOperations; k++ {
		if s.all[k].get().Done() {
			s.all = append(s.all[:k:k], s.all[k+1:]...)
			k--
		}
	}
	s.all = append(s.all, r)
	s.active.Go(func() {
		do(r)
		r.set(func(o *operation) { o.Ended = time.Now() })
		c.watch.refresh()
	})
	return "/operations/" + o.ID, nil
}

func (s *operations) find(id string) (*running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if r.o.ID == id {
			return r, nil
		}
	}
	return nil, notFound("There is no such operation, or it is too old. The history has all deployments.")
}

// progressView is the page of an operation.
type progressView struct {
	operation
	Stale     *staleness
	MayDeploy bool
	Nodes     []progressRow
	Ready     int // nodes that run
	Last      *zeekapi.Deployment
}

// progressRow is a node during a deployment.
type progressRow struct {
	nodeRow
	Machine string
	Problem string
}

// maxProgress limits the nodes that a deployment shows.
const maxProgress = 200

func (c *Console) progress(r *http.Request, v Visitor) (view, error) {
	x, err := c.operation.find(r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	s, _ := c.watch.get()
	p := progressView{operation: x.get(), Stale: stale(s), MayDeploy: v.May(zeekapi.DeployStagedCall.Request)}
	name, poll := "progress", time.Duration(0)
	if p.File != nil && p.Title == reviewTitle {
		name = "review"
	} else if p.File != nil || p.Result != nil || p.Title == rollbackTitle {
		p.addNodes(s)
	}
	if !p.Done() {
		poll = time.Second
		c.watch.refresh()
	}
	return view{Name: name, Title: p.Title, Data: p, Poll: poll}, nil
}

// addNodes adds the nodes of the configuration that should run.
func (p *progressView) addNodes(s snapshot) {
	if last := s.Status.Last; last != nil && !last.Started.Before(p.Started.Add(-time.Second)) {
		p.Last = last
	}
	problems := map[string]string{}
	if p.Result != nil {
		for _, n := range p.Result.Nodes {
			if !n.Success {
				problems[n.Node] = n.Problem()
			}
		}
	}
	for _, i := range s.Status.Instances {
		for _, n := range i.Nodes {
			row := progressRow{newNodeRow(n), i.Instance.Name, problems[n.Status.Node]}
			if row.Level == "good" {
				p.Ready++
			}
			p.Nodes = append(p.Nodes, row)
		}
	}
}

// Shown returns the nodes that are listed: those that do not run first.
func (p progressView) Shown() []progressRow {
	var shown []progressRow
	for _, ready := range []bool{false, true} {
		for _, n := range p.Nodes {
			if (n.Level == "good") == ready && len(shown) < maxProgress {
				shown = append(shown, n)
			}
		}
	}
	return shown
}

// errorText returns an error for people.
func errorText(err error) string {
	var refused *client.RefusedError
	var none *request.NoResponseError
	switch {
	case errors.As(err, &refused):
		return strings.Join(refused.Texts, "; ")
	case errors.As(err, &none):
		return "The controller has not responded: " + none.Err.Error()
	}
	return err.Error()
}
