package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// historyView is the page of all deployments.
type historyView struct {
	Stale       *staleness
	Deployments []deploymentRow
}

// deploymentRow is an entry of the history.
type deploymentRow struct {
	zeekapi.Deployment
	Level       string
	Current     bool // its configuration should run
	MayRollBack bool // and it makes sense
}

// Took returns the time from the beginning to the end, 0 if it is not over.
func (d deploymentRow) Took() time.Duration {
	if d.Ended.IsZero() {
		return 0
	}
	return d.Ended.Sub(d.Started).Round(100 * time.Millisecond)
}

func newDeploymentRow(d zeekapi.Deployment, target string, v Visitor) deploymentRow {
	row := deploymentRow{Deployment: d, Level: "bad", Current: d.Config == target && target != ""}
	switch d.Outcome {
	case zeekapi.OutcomeDeployed:
		row.Level = "good"
	case zeekapi.OutcomePending, zeekapi.OutcomeRefused, zeekapi.OutcomeSuperseded:
		row.Level = "warn"
	}
	row.MayRollBack = v.May(zeekapi.RollbackCall.Request) && !row.Current && d.Outcome != zeekapi.OutcomePending && d.Outcome != zeekapi.OutcomeRefused
	return row
}

// maxHistory limits the shown deployments.
const maxHistory = 100

// deployments returns the history, the newest first.
func (c *Console) deployments(s snapshot) ([]zeekapi.Deployment, error) {
	key := "history"
	if s.Status.Last != nil {
		key += strconv.FormatUint(s.Status.Last.Number, 10) + string(s.Status.Last.Outcome)
	}
	return cached(&c.answers, key, 15*time.Second, func() ([]zeekapi.Deployment, error) {
		ctx, cancel := c.background(client.DefaultTimeout)
		defer cancel()
		return c.client.History(ctx, maxHistory)
	})
}

func (c *Console) history(_ *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	all, err := c.deployments(s)
	h := historyView{Stale: stale(s)}
	if err != nil && h.Stale == nil {
		h.Stale = &staleness{Error: errorText(err), At: s.At}
	}
	for _, d := range all {
		h.Deployments = append(h.Deployments, newDeploymentRow(d, s.Status.Target, v))
	}
	return view{Name: "history", Title: "History", Data: h}, nil
}

// deploymentView is the page of a deployment.
type deploymentView struct {
	deploymentRow
	Text string // of its configuration
}

func (c *Console) deployment(r *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	config, d, err := c.past(r, v, r.PathValue("number"))
	if err != nil {
		return view{}, err
	}
	return view{Name: "deployment", Title: "Deployment " + strconv.FormatUint(d.Number, 10), Still: true,
		Data: deploymentView{newDeploymentRow(d, s.Status.Target, v), fileOf(config)}}, nil
}

// past returns a deployment and its configuration.
func (c *Console) past(r *http.Request, v Visitor, text string) (zeekapi.Configuration, zeekapi.Deployment, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number == 0 {
		return zeekapi.Configuration{}, zeekapi.Deployment{}, notFound("%q is not the number of a deployment.", text)
	}
	s, _ := c.watch.get()
	all, err := c.deployments(s)
	if err != nil {
		return zeekapi.Configuration{}, zeekapi.Deployment{}, err
	}
	for _, d := range all {
		if d.Number == number {
			ctx, cancel := within(r, client.DefaultTimeout)
			defer cancel()
			config, err := v.Client.PastConfiguration(ctx, number)
			return config, d, err
		}
	}
	return zeekapi.Configuration{}, zeekapi.Deployment{}, notFound("The history has no deployment %d.", number)
}

// rollbackView is the page that asks whether to roll back.
type rollbackView struct {
	deploymentRow
	Diff *diffView
}

func (c *Console) confirmRollback(r *http.Request, v Visitor) (view, error) {
	if !v.May(zeekapi.RollbackCall.Request) {
		return view{}, v.refusal()
	}
	s, _ := c.watch.get()
	config, d, err := c.past(r, v, r.PathValue("number"))
	if err != nil {
		return view{}, err
	}
	ctx, cancel := within(r, client.DefaultTimeout)
	defer cancel()
	diff, err := v.Client.DryRun(ctx, config)
	if err != nil {
		return view{}, err
	}
	return view{Name: "rollback", Title: "Roll back to deployment " + strconv.FormatUint(d.Number, 10), Still: true,
		Data: rollbackView{newDeploymentRow(d, s.Status.Target, v), newDiffView(diff, nil)}}, nil
}

func (c *Console) rollback(r *http.Request, v Visitor) (string, error) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil || number == 0 {
		return "", notFound("%q is not the number of a deployment.", r.PathValue("number"))
	}
	return c.start(operation{Title: rollbackTitle, By: v, Back: "/history"}, zeekapi.RollbackRequest{Number: number}, c.finishDeployment)
}
