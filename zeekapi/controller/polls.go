package controller

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// joinPatience is the longest time that a call waits for the answer to the previous
// question of its line.
const joinPatience = 500 * time.Millisecond

// appointment is the time at which the next question of a line is sent.
type appointment struct {
	line *line
	at   time.Time
}

// polls has the questions without an answer, and the calls that share them.
type polls struct {
	*outbox
	agents *agents
	newID  func() string

	byID         map[string]*poll
	lines        map[lineKey]*line
	appointments []appointment // in order; some are no longer needed
}

func newPolls(out *outbox, a *agents, newID func() string) *polls {
	return &polls{outbox: out, agents: a, newID: newID, byID: make(map[string]*poll), lines: make(map[lineKey]*line)}
}

// joint returns a question that requests share if they ask an agent for the same at the same
// time. The question must not change anything at the agent. Questions of large requests are
// not shared.
func joint(r *request, q question) question {
	if r.memory == 0 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%#v", q.message(zeekapi.ReqID{})))
		q.joint = string(sum[:])
	}
	return q
}

// join adds a call whose question may be shared to its line.
func (p *polls) join(c *call) {
	key := lineKey{c.agent, c.question.joint}
	l := p.lines[key]
	if l == nil {
		l = &line{key: key, waiting: make(calls)}
		p.lines[key] = l
	}
	c.line = l
	l.waiting[c] = true
	switch {
	case l.last == nil:
		p.proceed(l)
	case !l.due.set:
		l.due = alarmAt(p.now.Add(joinPatience))
		p.appointments = append(p.appointments, appointment{l, l.due.at})
	}
}

// proceed sends the next question of a line, if calls wait for it.
func (p *polls) proceed(l *line) {
	l.due = alarm{}
	if len(l.waiting) == 0 {
		return
	}
	next := &poll{calls: l.waiting, line: l}
	l.waiting, l.last = make(calls), next
	l.open++
	for c := range next.calls {
		c.poll = next
		next.instance, next.agent, next.question = c.instance, c.agent, c.question // equal in all of them
	}
	p.send(next)
}

// ask sends a question that is not shared, on behalf of a call.
func (p *polls) ask(c *call) {
	c.poll = &poll{instance: c.instance, agent: c.agent, question: c.question, calls: calls{c: true}}
	p.send(c.poll)
}

// send asks an agent.
func (p *polls) send(next *poll) {
	next.id = p.newID()
	p.byID[next.id] = next
	ask := next.question
	p.agents.send(next.instance, ToAgent{Message: ask.message(zeekapi.ReqID{ID: next.id}), Content: ask.content, Part: ask.part})
}

// answered sends the next question of the line of a poll that has its answer.
func (p *polls) answered(by *poll) {
	if l := by.line; l != nil && l.last == nil {
		p.proceed(l)
	}
}

// leave removes a call from its poll or, while it waits, from its line. A poll without calls
// ends, because no request needs its answer.
func (p *polls) leave(c *call) {
	if c.poll != nil {
		if delete(c.poll.calls, c); len(c.poll.calls) == 0 {
			p.end(c.poll)
		}
	} else if c.line != nil {
		if delete(c.line.waiting, c); len(c.line.waiting) == 0 {
			c.line.due = alarm{}
		}
		p.forget(c.line)
	}
}

// end ends a poll. A later answer is ignored.
func (p *polls) end(ended *poll) {
	if p.byID[ended.id] != ended {
		return
	}
	delete(p.byID, ended.id)
	if l := ended.line; l != nil {
		l.open--
		if l.last == ended {
			l.last = nil
		}
		p.forget(l)
	}
}

// forget removes a line without calls.
func (p *polls) forget(l *line) {
	if l.open == 0 && len(l.waiting) == 0 {
		delete(p.lines, l.key)
	}
}

// hurry sends the questions whose time has come.
func (p *polls) hurry() {
	for p.waiting().due(p.now) {
		p.proceed(p.appointments[0].line)
	}
}

// waiting returns the time of the next appointment, not set if there is none.
func (p *polls) waiting() alarm {
	for len(p.appointments) > 0 {
		if next := p.appointments[0]; next.line.due == alarmAt(next.at) {
			return next.line.due
		}
		p.appointments = p.appointments[1:]
	}
	return alarm{}
}
