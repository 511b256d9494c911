package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// Timeout is the time that requests of the controller may take which do not wait for
// nodes.
const Timeout = client.DefaultTimeout

// statusAge is the largest age of a status that is shared. A controller with a thousand
// instances would otherwise spend its time on telling the same thing to each client.
const statusAge = time.Second

// statusCache shares the status of the cluster among requests. It may be used concurrently.
type statusCache struct {
	reader *client.Client

	mu      sync.Mutex
	last    *sharedStatus
	pending *pendingStatus
}

// sharedStatus is a status, with its representations.
type sharedStatus struct {
	Status zeekapi.Status
	at     time.Time

	body func() representation
}

type pendingStatus struct {
	done   chan struct{}
	result *sharedStatus
	err    error
}

// Status returns the status of the cluster, which is shared by all that ask, and at most
// a second old. The caller must not change it.
func (s *Server) Status(ctx context.Context) (zeekapi.Status, error) {
	shared, err := s.status.get(ctx)
	if err != nil {
		return zeekapi.Status{}, err
	}
	return shared.Status, nil
}

func newStatusCache(reader *client.Client) *statusCache { return &statusCache{reader: reader} }

// get returns a status that is at most statusAge old.
func (c *statusCache) get(ctx context.Context) (*sharedStatus, error) {
	c.mu.Lock()
	if c.last != nil && time.Since(c.last.at) < statusAge {
		defer c.mu.Unlock()
		return c.last, nil
	}
	p := c.pending
	if p == nil {
		p = &pendingStatus{done: make(chan struct{})}
		c.pending = p
		go c.fetch(p)
	}
	c.mu.Unlock()
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *statusCache) fetch(p *pendingStatus) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout) // for all that wait
	defer cancel()
	status, err := c.reader.Status(ctx) // ends when the client is closed
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.err = err; err == nil {
		s := &sharedStatus{Status: status, at: time.Now()}
		s.body = sync.OnceValue(func() representation { return represent(s.Status) })
		p.result, c.last = s, s
	}
	if c.pending == p {
		c.pending = nil
	}
	close(p.done)
}

// expire makes the next request get a new status.
func (c *statusCache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.pending = nil, nil
}

// Summary tells in numbers how a cluster is.
type Summary struct {
	Instances uint64 `zeek:"instances"` // of the target
	Connected uint64 `zeek:"connected"` // of these
	Drained   uint64 `zeek:"drained"`   // of these
	Nodes     uint64 `zeek:"nodes"`     // of the target, without agents
	Running   uint64 `zeek:"running"`   // of these
	Pending   uint64 `zeek:"pending"`   // of these
	Stopped   uint64 `zeek:"stopped"`   // of these, by a client, or because the instance is drained
	Failed    uint64 `zeek:"failed"`    // of these, also crashed ones
	Unknown   uint64 `zeek:"unknown"`   // of these
	Problems  uint64 `zeek:"problems"`  // that agents report

	Staged   string `zeek:"staged,optional"`
	Deployed string `zeek:"deployed,optional"`
	Target   string `zeek:"target,optional"`
	Storage  string `zeek:"storage,optional"` // why the controller cannot store changes

	Deployment uint64          `zeek:"deployment"`       // number of the last one, 0 for none
	Outcome    zeekapi.Outcome `zeek:"outcome,optional"` // of that
	Job        uint64          `zeek:"job"`              // number of the last rolling restart, 0 for none
	JobDone    uint64          `zeek:"job_done"`         // nodes that it has restarted
	JobLeft    uint64          `zeek:"job_left"`         // nodes that it is to restart
	JobEnded   bool            `zeek:"job_ended"`
}

// summaryOf returns the summary of a status.
func summaryOf(s zeekapi.Status) Summary {
	sum := Summary{Staged: s.Staged, Deployed: s.Deployed, Target: s.Target, Storage: s.Storage}
	if s.Last != nil {
		sum.Deployment, sum.Outcome = s.Last.Number, s.Last.Outcome
	}
	if j := s.Job; j != nil {
		sum.Job, sum.JobDone, sum.JobLeft, sum.JobEnded = j.Number, uint64(len(j.Done)), uint64(len(j.Now)+len(j.Next)), !j.Ended.IsZero()
	}
	for _, i := range s.Instances {
		sum.Problems += uint64(len(i.Problems))
		if !i.Wanted {
			continue
		}
		sum.Instances++
		if i.Connected {
			sum.Connected++
		}
		if i.Drained {
			sum.Drained++
		}
		for _, n := range i.Nodes {
			sum.count(n, i.Drained)
		}
	}
	return sum
}

// count counts a node.
func (s *Summary) count(n zeekapi.NodeDetail, drained bool) {
	if n.Status.ClusterRole == zeekapi.RoleNone && n.Status.ManagementRole != zeekapi.ManagementNode {
		return // an agent or a controller
	}
	s.Nodes++
	switch n.Status.State {
	case zeekapi.StateRunning:
		s.Running++
	case zeekapi.StatePending:
		s.Pending++
	case zeekapi.StateStopped:
		s.Stopped++
	case zeekapi.StateFailed, zeekapi.StateCrashed:
		s.Failed++
	default:
		s.Unknown++
	}
}
