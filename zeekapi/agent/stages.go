package agent

import "time"

// stages decides whether nodes start in stages: loggers, managers, proxies,
// workers. Requests limit the time for that.
type stages struct {
	limit timer // time at which all nodes start; not set: no limit
	skip  bool  // all nodes start at once
}

// limitTo makes all nodes start at the given time.
func (s *stages) limitTo(at time.Time) { s.limit.start(at) }

// unlimited makes nodes start in stages, without a time limit.
func (s *stages) unlimited() { *s = stages{} }

func (s *stages) expire(now time.Time) {
	if s.limit.due(now) {
		*s = stages{skip: true}
	}
}
