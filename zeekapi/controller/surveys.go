package controller

import "time"

// surveys asks all agents for the states of their nodes from time to time. The
// answers are for nodeStates.
type surveys struct {
	*outbox
	agents   *agents
	requests *requests
	interval time.Duration // 0 for never
	next     alarm
}

// start sets the time of the first survey.
func (s *surveys) start() {
	if s.interval > 0 {
		s.next = alarmAt(s.now.Add(s.interval))
	}
}

// hold asks all agents if it is time to do so.
func (s *surveys) hold() {
	if !s.next.due(s.now) {
		return
	}
	s.start()
	names := s.agents.names()
	if len(names) == 0 {
		return
	}
	r := s.requests.start(statusTimeout, survey{})
	ask := joint(r, askStatus)
	for _, name := range names {
		s.requests.call(r, name, ask)
	}
}

// survey is a status request that ends silently at its deadline.
type survey struct{ takeStatus }
