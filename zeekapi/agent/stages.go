package agent

import "time"

// stages says whether nodes start stage by stage: loggers, managers, proxies,
// workers. Requests limit how long the agent takes for that.
type stages struct {
	limit timer // when to start all nodes; not set: no request limits it
	skip  bool  // all nodes start at once
}

// limitTo makes all nodes start at the given time.
func (s *stages) limitTo(at time.Time) { s.limit.start(at) }

// unlimited makes nodes start stage by stage, as long as it takes.
func (s *stages) unlimited() { *s = stages{} }

func (s *stages) expire(now time.Time) {
	if s.limit.due(now) {
		*s = stages{skip: true}
	}
}
