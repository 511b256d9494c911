package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

var (
	zeeks = management.Dialect(management.DefaultTopics)
	ours  = operations.Dialect(operations.DefaultTopics)
)

// operate is start for a controller of both dialects.
func operate(t *testing.T, h respond) (*client.Client, *fake.Controller) {
	t.Helper()
	return start(t, h, zeeks, ours)
}

func TestProbe(t *testing.T) {
	// silent is a controller that does not know events of package operations.
	silent := func(instances []zeekapi.Result) func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
		return func(_ *client.Client, m zeekapi.Message) ([]zeekapi.Result, error) {
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return nil, fake.ErrNoResponse
			}
			return instances, nil
		}
	}
	nothing := fake.Success([]string{}) // an empty vector, be it of instances or of events
	for _, tt := range []struct {
		name   string
		answer func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error)
		want   error
	}{
		{"one of ours", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) { return nothing, nil }, nil},
		{"one of ours that refuses", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
			return nil, errors.New("not for you")
		}, nil},
		{"one of ours that is slow", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
			time.Sleep(5 * time.Second)
			return nothing, nil
		}, nil},
		{"Zeek's, silent", silent(nothing), client.ErrUnsupported},
		{"Zeek's, refusing", silent([]zeekapi.Result{{Error: "none"}}), client.ErrUnsupported},
		{"Zeek's since 8.0.3", func(c *client.Client, _ zeekapi.Message) ([]zeekapi.Result, error) {
			c.Complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "unknown event"})
			return nil, fake.ErrNoResponse
		}, client.ErrUnsupported},
		{"silent altogether", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrNoResponse }, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *client.Client
				c, _ = operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) { return tt.answer(c, m) })
				ctx, cancel := context.WithTimeout(t.Context(), client.DefaultTimeout)
				defer cancel()
				if err := c.Probe(ctx); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			})
		})
	}
}

// TestOperations makes each call once, of a controller that answers and of one
// that refuses.
func TestOperations(t *testing.T) {
	began := time.Unix(1790000000, 0).UTC()
	status := zeekapi.Status{Controller: zeekapi.Process{Name: "c", Started: began}, Target: "config"}
	diff := zeekapi.Diff{To: "config", Nodes: []zeekapi.Change{{Name: "a", Kind: "added"}}}
	history := []zeekapi.Deployment{{Number: 2, Config: "config", Started: began, Outcome: zeekapi.OutcomeDeployed}}
	job := zeekapi.Job{Number: 1, Started: began, Next: []string{"a"}}
	events := []zeekapi.ClusterEvent{{Number: 9, Time: began, Kind: zeekapi.EventLost, Instance: "one"}}
	outputs := zeekapi.NodeOutputs{Stdout: "out", Stderr: "err"}

	var refuse bool
	var asked zeekapi.Message
	c, _ := operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		asked = m
		if refuse {
			return nil, errors.New("no")
		}
		switch m.(type) {
		case zeekapi.StatusRequest:
			return fake.Success(status), nil
		case zeekapi.DryRunRequest:
			return fake.Success(diff), nil
		case zeekapi.HistoryRequest:
			return fake.Success(history), nil
		case zeekapi.GetPastRequest:
			return fake.Success(config), nil
		case zeekapi.RollingRestartRequest, zeekapi.CancelJobRequest:
			return fake.Success(job), nil
		case zeekapi.EventsRequest:
			return fake.Success(events), nil
		case zeekapi.LogsRequest:
			return fake.Success(outputs), nil
		}
		return fake.Success("config"), nil // deployments
	})
	ctx := t.Context()
	roles := []zeekapi.ClusterRole{zeekapi.RoleWorker}
	for _, tt := range []struct {
		name string
		call func() (any, error)
		want any
		sent zeekapi.Message // but for its ID
	}{
		{"status", func() (any, error) { return c.Status(ctx) }, status, zeekapi.StatusRequest{}},
		{"dry run", func() (any, error) { return c.DryRun(ctx, config) }, diff, zeekapi.DryRunRequest{Config: config}},
		{"history", func() (any, error) { return c.History(ctx, 5) }, history, zeekapi.HistoryRequest{Limit: 5}},
		{"past configuration", func() (any, error) { return c.PastConfiguration(ctx, 2) }, config, zeekapi.GetPastRequest{Number: 2}},
		{"rolling restart", func() (any, error) { return c.RollingRestart(ctx, []string{"a"}, roles, 3) }, job,
			zeekapi.RollingRestartRequest{Nodes: []string{"a"}, Roles: roles, AtOnce: 3}},
		{"cancel", func() (any, error) { return c.CancelJob(ctx) }, job, zeekapi.CancelJobRequest{}},
		{"events", func() (any, error) { return c.Events(ctx, 8, 7) }, events, zeekapi.EventsRequest{After: 8, Limit: 7}},
		{"logs", func() (any, error) { return c.Logs(ctx, "a", 10) }, zeekapi.NodeLogs{NodeOutputs: outputs}, zeekapi.LogsRequest{Node: "a", Bytes: 10}},
		{"force", func() (any, error) { return c.DeployStaged(ctx, zeekapi.DeployOptions{Force: true}) }, client.DeployResult{ID: "config"}, zeekapi.DeployStagedRequest{DeployOptions: zeekapi.DeployOptions{Force: true}}},
		{"rollback", func() (any, error) { return c.Rollback(ctx, 4, zeekapi.DeployOptions{}) }, client.DeployResult{ID: "config"}, zeekapi.RollbackRequest{Number: 4}},
		{"drain", func() (any, error) { return c.Drain(ctx, "one") }, client.DeployResult{ID: "config"},
			zeekapi.DrainRequest{Instance: "one", Drain: true}},
		{"undrain", func() (any, error) { return c.Undrain(ctx, "one") }, client.DeployResult{ID: "config"},
			zeekapi.DrainRequest{Instance: "one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same := cmp.Options{cmp.Comparer(broker.Equal), cmpopts.EquateEmpty(), cmpopts.EquateComparable(config.Instances[0].Host)}
			refuse = false
			got, err := tt.call()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, same); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if d := cmp.Diff(tt.sent, asked, same, cmpopts.IgnoreTypes(zeekapi.ReqID{})); d != "" {
				t.Errorf("request (-want +got)\n%s", d)
			}
			refuse = true
			got, err = tt.call()
			var refused *client.RefusedError
			if d, ok := got.(client.DeployResult); ok {
				if err != nil || !d.Failed || len(d.Errors) != 1 {
					t.Errorf("refused: %+v, %v", d, err)
				}
			} else if !errors.As(err, &refused) {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	c, ctl := operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrNoResponse })
	heard := make(chan zeekapi.ClusterEvent, 1)
	c.OnEvent(func(n zeekapi.ClusterEvent) { heard <- n })
	sent := zeekapi.ClusterEvent{Number: 3, Time: time.Unix(1790000000, 0).UTC(), Kind: zeekapi.EventState, Node: "a", Text: "RUNNING"}
	say(t, ctl, zeekapi.EventReport{Event: sent})
	if got := <-heard; got != sent {
		t.Errorf("%+v, want %+v", got, sent)
	}
}

// TestDialectWithout asks for something that no dialect of the client has.
func TestDialectWithout(t *testing.T) {
	c := client.New(membus.New().Endpoint(zeeks.Topics.Controller), zeeks)
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, zeekapi.ErrUnknown) {
		t.Error(err)
	}
}
