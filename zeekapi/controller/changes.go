package controller

import (
	"errors"
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// changeRequests takes the requests of clients for deployments and jobs, of which one
// is under way at a time.
type changeRequests struct {
	configs  *configurations
	staging  *staging
	history  *history
	requests *requests
	trials   *trials
	jobs     *jobs
}

func (c *changeRequests) deploy(by broker.Peer, req zeekapi.DeployRequest) {
	if r := c.requests.begin(by, req); r != nil {
		c.deployReady(by, r, zeekapi.DeployOptions{})
	}
}

func (c *changeRequests) deployStaged(by broker.Peer, req zeekapi.DeployStagedRequest) {
	r := c.requests.begin(by, req)
	if r == nil {
		return
	}
	switch staged := c.staged(); {
	case !c.configs.stagedIs(req.Expects):
		c.requests.fail(r, zeekapi.ErrorReplaced)
	case staged != nil && req.Config != "" && req.Config != staged.ID:
		c.requests.fail(r, "configuration %s is not staged: somebody has staged %s since; see get-config and events, and stage yours again to deploy it",
			clip(req.Config), clip(staged.ID))
	default:
		c.deployReady(by, r, req.DeployOptions)
	}
}

// deployReady deploys the staged configuration.
func (c *changeRequests) deployReady(by broker.Peer, r *request, o zeekapi.DeployOptions) {
	a := actionDeploy
	switch {
	case o.Force:
		a = actionForce
	case o.Partial:
		a = actionPartial
	}
	ready, ok := c.configs.get(Ready)
	switch {
	case !ok:
		c.requests.fail(r, "no configuration available to deploy")
	case c.trials.pending() != nil:
		c.trials.refuse(r, errPending)
	default:
		c.begin(by, r, a, ready, c.staged(), o)
	}
}

// staged returns the staged configuration as it was uploaded.
func (c *changeRequests) staged() *zeekapi.Configuration {
	staged, ok := c.configs.get(Staged)
	if !ok {
		return nil
	}
	return &staged.Configuration
}

func (c *changeRequests) begin(by broker.Peer, r *request, a action, target revision, uploaded *zeekapi.Configuration, o zeekapi.DeployOptions) {
	c.trials.try(r, order{
		by: nameOf(by), action: a, target: target, uploaded: uploaded, options: o,
		begun: func() { c.jobs.interrupt(errors.New("a deployment began")) },
	})
}

// setConfiguration stages and deploys in one request, as clients of the older
// dialect do. They expect results of agents, and one with the configuration's ID
// only if there are no agents.
func (c *changeRequests) setConfiguration(by broker.Peer, req zeekapi.SetConfigurationRequest) {
	r := c.requests.begin(by, req)
	if r == nil {
		return
	}
	reply := r.reply
	r.reply = func(results []zeekapi.Result) {
		if n := len(results); n > 1 && results[n-1].Success && results[n-1].Instance == "" {
			results = results[:n-1]
		}
		reply(results)
	}
	if c.trials.pending() != nil {
		c.trials.refuse(r, errPendingSet)
		return
	}
	if results := c.staging.stage(by, req.ID, req.Config); !results[0].Success {
		r.results = results
		c.requests.finish(r)
		return
	}
	ready, _ := c.configs.get(Ready)
	c.begin(by, r, actionSet, ready, c.staged(), zeekapi.DeployOptions{})
}

func (c *changeRequests) rollback(by broker.Peer, req zeekapi.RollbackRequest) {
	r := c.requests.begin(by, req)
	if r == nil {
		return
	}
	if c.trials.pending() != nil {
		c.trials.refuse(r, errPending)
		return
	}
	to, ok := c.history.find(req.Number)
	if req.Number == 0 {
		to, ok = c.history.lastOther(c.configs.target())
	}
	switch {
	case ok:
		c.begin(by, r, actionRollback, to, nil, req.DeployOptions)
	case req.Number == 0:
		c.requests.fail(r, "no other configuration was deployed before")
	default:
		c.requests.fail(r, "no deployment %d in the history", req.Number)
	}
}

// check checks a configuration, or the staged one, without deploying it.
func (c *changeRequests) check(by broker.Peer, req zeekapi.CheckRequest) {
	r := c.requests.begin(by, req)
	if r == nil {
		return
	}
	target, ok := c.configs.get(Ready)
	uploaded := c.staged()
	if req.Config != nil {
		ready, errs := c.staging.prepare(*req.Config)
		if len(errs) > 0 {
			r.results = failures(r.id, errs)
			c.requests.finish(r)
			return
		}
		target, ok = c.configs.revise(ready), true
		uploaded = req.Config
	}
	if !ok {
		c.requests.fail(r, "no configuration available to check")
		return
	}
	c.trials.checkOnly(r, target, uploaded)
}

func (c *changeRequests) rollingRestart(by broker.Peer, req zeekapi.RollingRestartRequest) {
	c.jobs.rollingRestart(by, req, func() error {
		if p := c.trials.underWay(); p != nil {
			return fmt.Errorf(errPending, p.id)
		}
		return nil
	})
}
