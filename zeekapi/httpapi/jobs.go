package httpapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Job is a request of the controller that takes long. It exists until it is forgotten, an
// hour after its end at the latest, or until the controller ends; the history of the
// controller keeps the outcomes of deployments.
type Job struct {
	ID      string           `zeek:"id"`
	Request string           `zeek:"request"` // name in the registry, such as "deploy_staged"
	By      string           `zeek:"by"`      // the client
	Started time.Time        `zeek:"started"`
	Ended   time.Time        `zeek:"ended,optional"` // zero: under way
	State   JobState         `zeek:"state"`
	Results []zeekapi.Result `zeek:"results"`        // of an ended job; streams omit them
	Error   string           `zeek:"error,optional"` // why there are no results
}

// JobState is the state of a Job.
type JobState string

// The states.
const (
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded" // no result is a failure
	JobFailed    JobState = "failed"
)

// Times of jobs.
const (
	longWait = 15 * time.Minute // that a job may take
	jobKept  = time.Hour        // after its end
)

// Limits of the jobs that are kept. The oldest are forgotten first.
const (
	maxJobs      = 1024
	maxJobMemory = 64 << 20 // bytes of their results; a single job may have more
)

// ErrJobs means that too many jobs are under way.
var ErrJobs = errors.New("too many jobs under way")

// jobs keeps the jobs. It may be used concurrently.
type jobs struct {
	ctx     context.Context // ends with the server
	limits  Limits
	hub     *hub
	log     zerolog.Logger
	running sync.WaitGroup

	mu   sync.Mutex
	byID map[string]*job
}

type job struct {
	Job
	client string // for limits
	memory int    // of the results, in bytes
	done   chan struct{}
}

// leastResult is the memory of a result without texts, in bytes.
const leastResult = 200

func sizeOf(results []zeekapi.Result) (n int) {
	for _, r := range results {
		n += leastResult + len(r.Error) + r.Data.Memory()
	}
	return n
}

func newJobs(ctx context.Context, limits Limits, h *hub, log zerolog.Logger) *jobs {
	return &jobs{ctx: ctx, limits: limits, hub: h, log: log, byID: make(map[string]*job)}
}

// Start makes a request of the controller as the principal, and returns it as a job that
// does not end with the HTTP request. It returns ErrJobs if too many are under way.
func (p *Principal) Start(q zeekapi.Message) (Job, error) {
	s := p.server
	r := zeekapi.ClientRequest(q)
	if r == nil {
		return Job{}, errors.New("httpapi: not a request of clients")
	}
	j := &job{client: p.key(), done: make(chan struct{})}
	j.Job = Job{ID: uuid.NewString(), Request: r.Name, By: p.Name, Started: time.Now().UTC(), State: JobRunning}
	if err := s.jobs.add(j); err != nil {
		return Job{}, err
	}
	started := j.Job
	s.hub.publish(Update{Job: &started}) // before the update that says how it ended
	c := s.callers.acquire(p.peer)
	s.jobs.running.Go(func() {
		defer s.callers.release(c)
		ctx, cancel := context.WithTimeout(s.jobs.ctx, longWait)
		defer cancel()
		results, err := c.client.Results(ctx, q)
		s.status.expire()
		s.jobs.end(j, results, err)
	})
	return started, nil
}

// Job returns a job.
func (s *Server) Job(id string) (Job, bool) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	j := s.jobs.byID[id]
	if j == nil {
		return Job{}, false
	}
	return j.Job, true
}

// Jobs returns all jobs that are kept, the newest first.
func (s *Server) Jobs() []Job {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	all := make([]Job, 0, len(s.jobs.byID))
	for _, j := range s.jobs.byID {
		all = append(all, j.Job)
	}
	slices.SortFunc(all, func(a, b Job) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// AwaitJob waits until a job has ended, or ctx has, and returns it as it is then.
func (s *Server) AwaitJob(ctx context.Context, id string) (Job, bool) {
	s.jobs.mu.Lock()
	j := s.jobs.byID[id]
	s.jobs.mu.Unlock()
	if j == nil {
		return Job{}, false
	}
	select {
	case <-j.done:
	case <-ctx.Done():
	}
	return s.Job(id)
}

func (s *jobs) add(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	own, all := 0, 0
	for _, x := range s.byID {
		if x.State == JobRunning {
			if all++; x.client == j.client {
				own++
			}
		}
	}
	if own >= s.limits.JobsPerClient || all >= s.limits.Jobs {
		return ErrJobs
	}
	s.byID[j.ID] = j
	return nil
}

// count returns the number of jobs that are under way.
func (s *jobs) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, j := range s.byID {
		if j.State == JobRunning {
			n++
		}
	}
	return n
}

// forget removes old jobs, so that there is room for another one. It must be called with
// the lock held.
func (s *jobs) forget(now time.Time) {
	var ended []*job
	memory := 0
	for id, j := range s.byID {
		switch {
		case j.State == JobRunning:
		case now.Sub(j.Ended) > jobKept:
			delete(s.byID, id)
		default:
			ended = append(ended, j)
			memory += j.memory
		}
	}
	slices.SortFunc(ended, func(a, b *job) int { return a.Ended.Compare(b.Ended) })
	for _, j := range ended {
		if len(s.byID) < maxJobs && memory <= maxJobMemory {
			return
		}
		delete(s.byID, j.ID)
		memory -= j.memory
	}
}

func (s *jobs) end(j *job, results []zeekapi.Result, err error) {
	s.mu.Lock()
	j.Ended, j.Results, j.State = time.Now().UTC(), results, JobSucceeded
	if err != nil {
		j.Error = err.Error()
	}
	if err != nil || slices.ContainsFunc(results, func(r zeekapi.Result) bool { return !r.Success }) {
		j.State = JobFailed
	}
	j.memory = sizeOf(results)
	ended := j.Job
	ended.Results = nil // streams have only what is small
	s.mu.Unlock()
	close(j.done)
	s.hub.publish(Update{Job: &ended})
}

// close waits for the jobs, after the server's context has ended.
func (s *jobs) close() { s.running.Wait() }
