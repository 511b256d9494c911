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
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

var (
	zeeks = management.Dialect(management.DefaultTopics)
	ours  = operations.Dialect(operations.DefaultTopics)
)

// operate returns a client of a controller that answers as a function says,
// nil for not at all.
func operate(t *testing.T, answer func(*client.Client, zeekapi.Message) zeekapi.Message) (c *client.Client, publish func(zeekapi.Message)) {
	hub := membus.New()
	bus := hub.Endpoint(zeeks.Topics.Controller, ours.Topics.Controller)
	c = client.New(hub.Endpoint(zeeks.Topics.Controller, ours.Topics.Controller, ours.Topics.Events), zeeks, ours)
	publish = func(m zeekapi.Message) {
		d, topic := zeeks, zeeks.Topics.Controller
		if ours.Has(m) {
			d, topic = ours, ours.Topics.Controller
		}
		if _, ok := m.(zeekapi.EventReport); ok {
			topic = ours.Topics.Events
		}
		ev, err := d.Encode(m)
		if err != nil {
			t.Error(err)
			return
		}
		if err := broker.PublishEvent(context.Background(), bus, topic, ev); err != nil {
			t.Error(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			n, err := bus.Next(context.Background())
			if err != nil {
				return
			}
			r, ok := n.(broker.Received)
			if !ok {
				continue
			}
			ev, err := broker.ParseEvent(r.Message.Value)
			if err != nil {
				t.Error(err)
				continue
			}
			m, err := zeeks.Decode(ev)
			if errors.Is(err, zeekapi.ErrUnknown) {
				m, err = ours.Decode(ev)
			}
			if err != nil {
				t.Error(err)
				continue
			}
			if response := answer(c, m); response != nil {
				publish(response)
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		bus.Close()
		<-done
	})
	return c, publish
}

func TestProbe(t *testing.T) {
	instances := func(m zeekapi.Message) zeekapi.Message {
		return zeekapi.GetInstancesResponse{ReqID: id(m), Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
	}
	events := func(m zeekapi.Message, r zeekapi.Result) zeekapi.Message {
		return zeekapi.EventsResponse{ReqID: id(m), Result: r}
	}
	for _, tt := range []struct {
		name   string
		answer func(*client.Client, zeekapi.Message) zeekapi.Message
		want   error
	}{
		{"one of ours", func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
			return events(m, zeekapi.Result{Success: true, Data: broker.Vector()})
		}, nil},
		{"one of ours that refuses", func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
			return events(m, zeekapi.Failure(m.RequestID(), "not for you"))
		}, nil},
		{"one of ours that is slow", func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
			time.Sleep(5 * time.Second)
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return events(m, zeekapi.Result{Success: true, Data: broker.Vector()})
			}
			return instances(m)
		}, nil},
		{"Zeek's, silent", func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return nil
			}
			return instances(m)
		}, client.ErrUnsupported},
		{"Zeek's, refusing", func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
			if _, ok := m.(zeekapi.EventsRequest); ok {
				return nil
			}
			return zeekapi.GetInstancesResponse{ReqID: id(m), Result: zeekapi.Failure(m.RequestID(), "none")}
		}, client.ErrUnsupported},
		{"Zeek's since 8.0.3", func(c *client.Client, m zeekapi.Message) zeekapi.Message {
			c.Complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "unknown event"})
			return nil
		}, client.ErrUnsupported},
		{"silent altogether", func(*client.Client, zeekapi.Message) zeekapi.Message { return nil }, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := operate(t, tt.answer)
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
	deployed := []zeekapi.Result{{Success: true, Data: broker.String("config")}}

	var refuse bool
	var asked zeekapi.Message
	c, _ := operate(t, func(_ *client.Client, m zeekapi.Message) zeekapi.Message {
		asked = m
		one := func(v any) zeekapi.Result {
			if refuse {
				return zeekapi.Failure(m.RequestID(), "no")
			}
			return zeekapi.Result{ReqID: m.RequestID(), Success: true, Data: data(t, v)}
		}
		many := deployed
		if refuse {
			many = []zeekapi.Result{zeekapi.Failure(m.RequestID(), "no")}
		}
		switch m.(type) {
		case zeekapi.StatusRequest:
			return zeekapi.StatusResponse{ReqID: id(m), Result: one(status)}
		case zeekapi.DryRunRequest:
			return zeekapi.DryRunResponse{ReqID: id(m), Results: []zeekapi.Result{one(diff)}}
		case zeekapi.ForceDeployRequest:
			return zeekapi.ForceDeployResponse{ReqID: id(m), Results: many}
		case zeekapi.HistoryRequest:
			return zeekapi.HistoryResponse{ReqID: id(m), Result: one(history)}
		case zeekapi.GetPastRequest:
			return zeekapi.GetPastResponse{ReqID: id(m), Result: one(config)}
		case zeekapi.RollbackRequest:
			return zeekapi.RollbackResponse{ReqID: id(m), Results: many}
		case zeekapi.DrainRequest:
			return zeekapi.DrainResponse{ReqID: id(m), Results: many}
		case zeekapi.RollingRestartRequest:
			return zeekapi.RollingRestartResponse{ReqID: id(m), Result: one(job)}
		case zeekapi.CancelJobRequest:
			return zeekapi.CancelJobResponse{ReqID: id(m), Result: one(job)}
		case zeekapi.EventsRequest:
			return zeekapi.EventsResponse{ReqID: id(m), Result: one(events)}
		case zeekapi.LogsRequest:
			return zeekapi.LogsResponse{ReqID: id(m), Result: one(outputs)}
		}
		return nil
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
		{"logs", func() (any, error) { return c.Logs(ctx, "a", 10) }, client.Logs{NodeOutputs: outputs}, zeekapi.LogsRequest{Node: "a", Bytes: 10}},
		{"force", func() (any, error) { return c.ForceDeploy(ctx) }, client.DeployResult{ID: "config"}, zeekapi.ForceDeployRequest{}},
		{"rollback", func() (any, error) { return c.Rollback(ctx, 4) }, client.DeployResult{ID: "config"}, zeekapi.RollbackRequest{Number: 4}},
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
	c, publish := operate(t, func(*client.Client, zeekapi.Message) zeekapi.Message { return nil })
	heard := make(chan zeekapi.ClusterEvent, 1)
	c.OnEvent(func(n zeekapi.ClusterEvent) { heard <- n })
	sent := zeekapi.ClusterEvent{Number: 3, Time: time.Unix(1790000000, 0).UTC(), Kind: zeekapi.EventState, Node: "a", Text: "RUNNING"}
	publish(zeekapi.EventReport{Event: sent})
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
