package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// traffic is a client that deploys and reads without pause, and what it saw.
type traffic struct {
	t           *testing.T
	controllers []seat
	stop        context.CancelFunc
	ended       sync.WaitGroup

	mu       sync.Mutex
	acked    []string                      // deployments that succeeded, in order
	perhaps  map[string]bool               // deployments that may have happened, or may still happen
	outcomes map[uint64]zeekapi.Deployment // of the history, by number
	numbers  map[string]uint64             // of deployments, by configuration
	checked  int                           // number of acked ones that were found in the history
}

// constant is the beginning of the names of nodes that are the same in all deployments.
const constant = "constant-"

func startTraffic(t *testing.T, controllers []seat) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &traffic{
		t: t, controllers: controllers, stop: stop,
		perhaps: make(map[string]bool), outcomes: make(map[uint64]zeekapi.Deployment), numbers: make(map[string]uint64),
	}
	l.ended.Go(func() { l.run(ctx) })
	t.Cleanup(l.end)
	return l
}

// end ends the client.
func (l *traffic) end() {
	l.stop()
	l.ended.Wait()
}

// configuration returns the configuration of a deployment. Only its manager depends on the ID.
func (l *traffic) configuration(id string) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: id}
	for _, name := range sensors[:2] {
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: constant + name, Instance: name, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning})
	}
	c.Nodes = append(c.Nodes, zeekapi.Node{
		Name: "manager", Instance: sensors[0], Role: zeekapi.RoleManager, State: zeekapi.StateRunning, Env: map[string]string{"ID": id},
	})
	return c
}

// callTime limits a request. It only makes failing tests end.
const callTime = 40 * time.Second

func (l *traffic) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		c, err := l.connect(ctx, n)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for ok := true; ok && ctx.Err() == nil; n++ {
			ok = l.deploy(c, fmt.Sprint("deployment-", n)) && l.read(c)
			time.Sleep(20 * time.Millisecond)
		}
		c.Close()
	}
}

// connect connects to a controller. The client follows the leader.
func (l *traffic) connect(ctx context.Context, n int) (*client.Client, error) {
	dial := func(ctx context.Context, address string) (broker.Bus, error) {
		return connect.Dial(ctx, connect.Options{
			Address: address, Transport: connect.WebSocket, Timeout: 5 * time.Second,
			Dialects: []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)},
			Topics:   []string{operations.DefaultTopics.Controller},
		})
	}
	bus, err := dial(ctx, l.controllers[n%len(l.controllers)].clients)
	if err != nil {
		return nil, err
	}
	c := client.New(bus, management.Dialect(management.DefaultTopics), operations.Dialect(operations.DefaultTopics))
	c.FollowLeader(func(ctx context.Context, refusal zeekapi.NotLeader) (broker.Bus, error) {
		if refusal.Leader.Clients == "" {
			return nil, errors.New("no controller leads")
		}
		return dial(ctx, refusal.Leader.Clients)
	})
	return c, nil
}

// deploy deploys a configuration. It returns false if the connection is not usable any more.
func (l *traffic) deploy(c *client.Client, id string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), callTime) // requests are not interrupted
	defer cancel()
	if _, err := c.Stage(ctx, l.configuration(id)); err != nil {
		return false
	}
	d, err := c.DeployConfiguration(ctx, id, zeekapi.DeployOptions{})
	var refused *client.RefusedError
	errors.As(err, &refused)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && !d.Failed && d.ID == id:
		l.acked = append(l.acked, id)
		return true
	case d.Refused, refused != nil && slices.ContainsFunc(refused.Texts, harmless), slices.ContainsFunc(d.Errors, harmless):
	default:
		l.perhaps[id] = true
	}
	return false
}

// harmless reports whether a request that is refused with this text had no effect.
func harmless(text string) bool {
	return strings.Contains(text, "this controller stands by; ") || strings.Contains(text, "earlier deployment") ||
		strings.Contains(text, zeekapi.ErrorRefused) || strings.Contains(text, "is not staged: ")
}

// read reads the target configuration and the history at the leader.
func (l *traffic) read(c *client.Client) bool {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	before, err := c.SeekLeader(ctx)
	if err != nil || !before.Leads {
		return false
	}
	target, err := c.GetConfiguration(ctx, true)
	if err != nil {
		return false
	}
	history, err := c.History(ctx, 0)
	if err != nil {
		return false
	}
	if after, err := c.Controllers(ctx); err != nil || !after.Leads || after.Term != before.Term {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acked) > 0 && target.ID != l.acked[len(l.acked)-1] && !l.perhaps[target.ID] {
		l.t.Errorf("%s is the target, after the deployment of %s", target.ID, l.acked[len(l.acked)-1])
	}
	l.compare(history)
	return true
}

// compare checks that each deployment has one number and one outcome, and that all that succeeded
// are in the history. The history ends with the last ones.
func (l *traffic) compare(history []zeekapi.Deployment) {
	deployed := make(map[string]bool)
	for _, d := range history {
		before, known := l.outcomes[d.Number]
		if known && (before.Config != d.Config || before.Outcome != zeekapi.OutcomePending && before.Outcome != d.Outcome) {
			l.t.Errorf("deployment %d was of %s and %s, and is of %s and %s", d.Number, before.Config, before.Outcome, d.Config, d.Outcome)
		}
		if number, known := l.numbers[d.Config]; known && number != d.Number {
			l.t.Errorf("%s was deployed twice: deployments %d and %d", d.Config, number, d.Number)
		}
		l.outcomes[d.Number], l.numbers[d.Config] = d, d.Number
		deployed[d.Config] = d.Outcome == zeekapi.OutcomeDeployed
	}
	for _, id := range l.acked[l.checked:] {
		if !deployed[id] {
			l.t.Errorf("the deployment of %s succeeded, and is not in the history", id)
		}
	}
	l.checked = len(l.acked)
}

// progress waits until further deployments have succeeded and are in the history.
func (l *traffic) progress() {
	l.t.Helper()
	count := func() (succeeded, unknown int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.checked, len(l.perhaps)
	}
	before, _ := count()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch succeeded, unknown := count(); {
		case succeeded >= before+3:
			l.t.Logf("%d deployments have succeeded, the outcome of %d is unknown", succeeded, unknown)
			return
		case time.Now().After(end):
			l.t.Fatal("no further deployment succeeds")
		}
	}
}
