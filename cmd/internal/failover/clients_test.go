package failover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// callTime limits an operation of a client.
const callTime = 8 * time.Second

// visitor is a connection to whichever controller leads.
type visitor struct {
	*client.Client
	world *world
	at    int // number of the controller
	moves int // to other controllers
}

// visit connects to the controller with the given number, or to the next one that answers.
func (w *world) visit(ctx context.Context, at int) (*visitor, error) {
	v := &visitor{world: w, at: at % len(w.clients)}
	var bus broker.Bus
	var err error
	for range w.clients {
		if bus, err = v.dial(ctx); err == nil {
			break
		}
		v.at = (v.at + 1) % len(w.clients)
	}
	if err != nil {
		return nil, err
	}
	v.Client = client.New(bus, management.Dialect(management.DefaultTopics), operations.Dialect(operations.DefaultTopics))
	v.FollowLeader(func(ctx context.Context, refusal zeekapi.NotLeader) (broker.Bus, error) {
		v.moves++
		v.at = (v.at + 1) % len(w.clients)
		for i, p := range w.clients {
			if p.address() == refusal.Leader.Clients {
				v.at = i
			}
		}
		return v.dial(ctx)
	})
	return v, nil
}

func (v *visitor) dial(ctx context.Context) (broker.Bus, error) {
	return connect.Dial(ctx, connect.Options{
		Address: v.world.clients[v.at].address(), Transport: connect.WebSocket, Timeout: time.Second,
		Dialects: []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)},
		Topics:   []string{operations.DefaultTopics.Controller},
	})
}

// leading returns the term if the controller leads.
func (v *visitor) leading(ctx context.Context) (term uint64, ok bool) {
	c, err := v.Controllers(ctx)
	return c.Term, err == nil && c.Leads && c.Term > 0
}

// read returns the configuration in a register. It returns false if it is not certain
// that the controller led before and after it was read: others may know an older one.
func (v *visitor) read(ctx context.Context, r register) (id string, ok bool) {
	if _, err := v.SeekLeader(ctx); err != nil {
		return "", false
	}
	moves := v.moves
	before, leads := v.leading(ctx)
	if !leads {
		return "", false
	}
	c, err := v.GetConfiguration(ctx, r == target)
	if err != nil && !errors.As(err, new(*client.RefusedError)) { // there may be none
		return "", false
	}
	after, leads := v.leading(ctx)
	return c.ID, leads && after == before && v.moves == moves
}

// configuration returns a configuration of all agents. Of its nodes only one depends on
// the ID.
func configuration(id string, agents int) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: id}
	for i := range agents {
		name := agentName(i)
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: constant + name, Instance: name, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning})
	}
	c.Nodes = append(c.Nodes, zeekapi.Node{
		Name: "manager", Instance: agentName(0), Role: zeekapi.RoleManager, State: zeekapi.StateRunning, Env: map[string]string{"ID": id},
	})
	return c
}

// workload are the clients of a round, and what they did.
type workload struct {
	world  *world
	round  string
	agents int

	mu       sync.Mutex
	history  history
	deployed []string // acknowledged, in order
	acks     []time.Time
	count    int
}

// ran is what is known about a write.
type ran int

const (
	done    ran = iota // it has happened
	perhaps            // it has happened, or happens later, or never
	never
)

// classify determines from the error of a request whether it has happened.
func classify(err error) ran {
	var refused *client.RefusedError
	switch {
	case err == nil:
		return done
	case errors.As(err, &refused) && slices.ContainsFunc(refused.Texts, harmless):
		return never
	}
	return perhaps
}

// harmless reports whether a request that is refused with this text had no effect.
func harmless(text string) bool {
	return strings.Contains(text, "this controller stands by") || strings.Contains(text, "earlier deployment") ||
		strings.Contains(text, zeekapi.ErrorRefused) || strings.Contains(text, "is not staged: ")
}

// run does what a client does until ctx ends.
func (l *workload) run(ctx context.Context, number int, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		v, err := l.world.visit(ctx, r.IntN(members))
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for ctx.Err() == nil && l.act(number, r, v) {
			time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		}
		v.Close()
	}
}

// act does one operation. It returns false if the connection is not usable any more.
func (l *workload) act(number int, r *rand.Rand, v *visitor) bool {
	ctx, cancel := context.WithTimeout(context.Background(), callTime) // operations are not interrupted
	defer cancel()
	switch n := r.IntN(10); {
	case n < 4:
		return l.write(ctx, number, v, false) != perhaps
	case n < 6:
		return l.write(ctx, number, v, true) != perhaps
	case n < 8:
		return l.read(ctx, number, v, staged)
	default:
		return l.read(ctx, number, v, target)
	}
}

func (l *workload) read(ctx context.Context, number int, v *visitor, r register) bool {
	begin := time.Now()
	id, ok := v.read(ctx, r)
	if ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.history.add(number, operation{register: r}, begin, time.Now(), outcome{read: id})
	}
	return ctx.Err() == nil
}

// write uploads a configuration, and deploys it if that is wanted.
func (l *workload) write(ctx context.Context, number int, v *visitor, deploy bool) ran {
	l.mu.Lock()
	l.count++
	id := fmt.Sprintf("%s-%d-%d", l.round, number, l.count)
	l.mu.Unlock()
	begin := time.Now()
	_, err := v.Stage(ctx, configuration(id, l.agents))
	what := classify(err)
	l.record(number, operation{staged, id}, begin, what)
	if what != done || !deploy {
		return what
	}
	begin = time.Now()
	what = l.deploy(ctx, v, id)
	l.record(number, operation{target, id}, begin, what)
	return what
}

func (l *workload) deploy(ctx context.Context, v *visitor, id string) ran {
	d, err := v.DeployConfiguration(ctx, id, zeekapi.DeployOptions{})
	switch {
	case err != nil:
		return classify(err)
	case !d.Failed && d.ID == id:
		return done
	case d.Refused, slices.ContainsFunc(d.Errors, harmless):
		return never
	}
	return perhaps
}

func (l *workload) record(number int, op operation, begin time.Time, what ran) {
	end := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if what == never {
		return
	}
	l.history.add(number, op, begin, end, outcome{unknown: what == perhaps})
	if what == done {
		l.acks = append(l.acks, end)
		if op.register == target {
			l.deployed = append(l.deployed, op.write)
		}
	}
}
