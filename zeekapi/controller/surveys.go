package controller

import (
	"slices"
	"time"
)

// surveySize is the largest number of agents that are asked at once.
const surveySize = 100

// surveys asks all agents for the states of their nodes from time to time. It asks many of
// them one group after another, so that their answers are spread over the interval. The
// answers are for nodeStates.
type surveys struct {
	*outbox
	agents   *agents
	requests *requests
	interval time.Duration // between two questions to an agent, 0 for never
	pause    time.Duration // between two groups
	rest     []string      // instances whose agents are asked later in this survey
	next     alarm
}

// start sets the time of the first survey.
func (s *surveys) start() {
	if s.interval > 0 {
		s.next = alarmAt(s.now.Add(s.interval))
	}
}

// hold asks the next agents if it is time to do so.
func (s *surveys) hold() {
	if !s.next.due(s.now) {
		return
	}
	if len(s.rest) == 0 {
		s.rest = s.agents.names()
		groups := max(1, (len(s.rest)+surveySize-1)/surveySize)
		s.pause = s.interval / time.Duration(groups)
	}
	s.next = alarmAt(s.now.Add(s.pause))
	n := min(surveySize, len(s.rest))
	s.ask(s.rest[:n])
	s.rest = s.rest[n:]
}

// ask asks the agents of instances that are still connected. It changes the slice.
func (s *surveys) ask(instances []string) {
	present := slices.DeleteFunc(instances, func(name string) bool { return s.agents.of(name) == nil })
	if len(present) == 0 {
		return
	}
	r := s.requests.start(statusTimeout, survey{})
	ask := joint(r, askStatus)
	for _, name := range present {
		s.requests.call(r, name, ask)
	}
}

// survey is a status request that ends silently at its deadline.
type survey struct{ takeStatus }
