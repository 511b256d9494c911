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

// operate connects a client to a controller, both with the dialects of Zeek and of
// this module. See start.
func operate(t *testing.T, h respond) (*client.Client, *fake.Controller) {
	t.Helper()
	return start(t, h, zeeks, ours)
}

func TestProbe(t *testing.T) {
	// silent returns a controller that does not respond to requests of package
	// operations.
	silent := func(instances []zeekapi.Result) func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
		return func(_ *client.Client, m zeekapi.Message) ([]zeekapi.Result, error) {
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return nil, fake.ErrNoResponse
			}
			return instances, nil
		}
	}
	nothing := fake.Success([]string{}) // an empty vector, for both instances and events
	for _, tt := range []struct {
		name   string
		answer func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error)
		want   error
	}{
		{"this module", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) { return nothing, nil }, nil},
		{"this module, refused request", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
			return nil, errors.New("not for you")
		}, nil},
		{"this module, slow response", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) {
			time.Sleep(5 * time.Second)
			return nothing, nil
		}, nil},
		{"Zeek, no response", silent(nothing), client.ErrUnsupported},
		{"Zeek, refused request", silent([]zeekapi.Result{{Error: "none"}}), client.ErrUnsupported},
		{"Zeek since 8.0.3, error message", func(c *client.Client, _ zeekapi.Message) ([]zeekapi.Result, error) {
			c.Complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "unknown event"})
			return nil, fake.ErrNoResponse
		}, client.ErrUnsupported},
		{"no response at all", func(*client.Client, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrNoResponse }, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *client.Client
				c, _ = operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) { return tt.answer(c, m) })
				ctx, cancel := context.WithTimeout(t.Context(), client.DefaultTimeout)
				defer cancel()
				if err := c.Probe(ctx); !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// A controller that stands by is known by its refusal. The leader, of which the requests are
// made again in any order, may answer the second one at first.
func TestProbeOfStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader, led := operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return nil, fake.ErrNoResponse
			}
			return fake.Success([]string{}), nil
		})
		defer leader.Close()
		c, _ := operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
			refusal := zeekapi.Failure("", "this controller stands by")
			refusal.Data = data(t, zeekapi.NotLeader{Leader: zeekapi.ControllerMember{Name: "leader"}})
			return []zeekapi.Result{refusal}, nil
		})
		c.FollowLeader(func(context.Context, zeekapi.NotLeader) (broker.Bus, error) { return led.Bus(), nil })
		ctx, cancel := context.WithTimeout(t.Context(), client.DefaultTimeout)
		defer cancel()
		if err := c.Probe(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestDeployWithOlderController deploys with a controller whose request has no ID of a
// configuration, and whose server refuses one that has.
func TestDeployWithOlderController(t *testing.T) {
	var c *client.Client
	asked := 0
	c, _ = operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		asked++
		if m.(zeekapi.DeployStagedRequest).Config != "" {
			c.Complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "failed to create Zeek event"})
			return nil, fake.ErrNoResponse
		}
		return fake.Success("config"), nil
	})
	if r, err := c.DeployConfiguration(t.Context(), "config", zeekapi.DeployOptions{}); err != nil || r.ID != "config" || asked != 2 {
		t.Errorf("%+v, %v after %d requests", r, err, asked)
	}
}

// TestOperationCalls makes each call twice: with a successful response and with a
// refusal.
func TestOperationCalls(t *testing.T) {
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
		sent zeekapi.Message // without its ID
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
		{"named", func() (any, error) { return c.DeployConfiguration(ctx, "config", zeekapi.DeployOptions{}) }, client.DeployResult{ID: "config"}, zeekapi.DeployStagedRequest{Config: "config"}},
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

func TestOnEvent(t *testing.T) {
	c, ctl := operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrNoResponse })
	heard := make(chan zeekapi.ClusterEvent, 1)
	c.OnEvent(func(n zeekapi.ClusterEvent) { heard <- n })
	sent := zeekapi.ClusterEvent{Number: 3, Time: time.Unix(1790000000, 0).UTC(), Kind: zeekapi.EventState, Node: "a", Text: "RUNNING"}
	say(t, ctl, zeekapi.EventReport{Event: sent})
	if got := <-heard; got != sent {
		t.Errorf("event %+v, want %+v", got, sent)
	}
}

// An announcement that a response is from a stored state is no response, and only that to a request
// of the client is reported.
func TestOnStoredAnswer(t *testing.T) {
	sent := zeekapi.StoredAnswer{Controller: "c2", AsOf: time.Unix(1790000000, 0).UTC()}
	c, _ := operate(t, func(ctl *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		say(t, ctl, zeekapi.StoredAnswer{ReqID: zeekapi.ReqID{ID: "of another client"}, Controller: "c3"})
		sent.ReqID = zeekapi.ReqID{ID: m.RequestID()}
		say(t, ctl, sent)
		return []zeekapi.Result{{Success: true, Data: data(t, []zeekapi.Deployment{})}}, nil
	})
	heard := make(chan zeekapi.StoredAnswer, 2)
	c.OnStoredAnswer(func(s zeekapi.StoredAnswer) { heard <- s })
	if _, err := c.History(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	close(heard)
	for got := range heard {
		if got != sent {
			t.Errorf("heard %+v, want %+v", got, sent)
		}
		sent = zeekapi.StoredAnswer{}
	}
	if sent.Controller != "" {
		t.Error("nothing was heard")
	}
}

// A call fails if no dialect of the client has its request.
func TestCallOutsideDialectFails(t *testing.T) {
	c := client.New(membus.New().Endpoint(zeeks.Topics.Controller), zeeks)
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, zeekapi.ErrUnknown) {
		t.Error(err)
	}
}
