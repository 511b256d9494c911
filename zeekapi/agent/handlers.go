package agent

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// handler serves one kind of request.
type handler func(m *Machine, now time.Time, req request, msg zeekapi.Message)

// handlers has one handler for each request of zeekapi.AgentAPI.
var handlers = make(map[*zeekapi.Request]handler)

func init() {
	serve(zeekapi.AgentWelcomeCall, (*Machine).welcome)
	serve(zeekapi.AgentLeaderCall, func(m *Machine, _ time.Time, req request, msg zeekapi.AgentLeaderRequest) {
		m.leadership.claim(req, msg)
	})
	serve(zeekapi.AgentStandbyCall, (*Machine).standby)
	serve(zeekapi.AgentDeployCall, (*Machine).deploy)
	serve(zeekapi.AgentDeployNodesCall, (*Machine).deployNodes)
	serve(zeekapi.AgentCheckCall, (*Machine).check)
	serve(zeekapi.AgentCheckRestartCall, (*Machine).checkRestart)
	serve(zeekapi.AgentGetNodesCall, (*Machine).getNodes)
	serve(zeekapi.AgentStatusCall, (*Machine).status)
	serve(zeekapi.AgentLogsCall, (*Machine).logs)
	serve(zeekapi.AgentDispatchCall, (*Machine).dispatch)
	serve(zeekapi.AgentRestartCall, (*Machine).restart)
	serve(zeekapi.AgentDiagnoseCall, (*Machine).diagnose)
	serve(zeekapi.AgentCleanupCall, (*Machine).cleanup)
}

// serve makes a method the handler of a request.
func serve[Q, A zeekapi.Message](call zeekapi.Call[Q, A], handle func(m *Machine, now time.Time, req request, msg Q)) {
	handlers[call.Request] = func(m *Machine, now time.Time, req request, msg zeekapi.Message) {
		handle(m, now, req, msg.(Q))
	}
}

// Reasons for refusing requests.
const (
	errorBusy   = "too many requests at the same time"
	errorEnding = "the agent is shutting down"
)

// refuses returns the reason for refusing a request that waits for nodes, or ""
// if the agent accepts it.
func (m *Machine) refuses(req request) string {
	switch {
	case m.ending:
		return errorEnding
	case m.busy(req.peer):
		return errorBusy
	}
	return ""
}

func (m *Machine) welcome(_ time.Time, req request, _ zeekapi.AgentWelcomeRequest) {
	m.out.accept(req)
}

func (m *Machine) standby(now time.Time, req request, _ zeekapi.AgentStandbyRequest) {
	m.waits.supersede("the agent was told to stand by")
	m.nodes.assign(now, nil, renewal{})
	m.target.clear(req)
}

func (m *Machine) deploy(now time.Time, req request, msg zeekapi.AgentDeployRequest) {
	a, err := assign(msg.Config, m.settings.Name)
	m.deployAssignment(now, req, a, err, renewal{all: msg.Force}, 0)
}

func (m *Machine) deployNodes(now time.Time, req request, msg zeekapi.AgentDeployNodesRequest) {
	a, err := m.assignment(msg, req.peer)
	m.deployAssignment(now, req, a, err, renewal{all: msg.Force, edited: msg.Edited, same: msg.Continue}, msg.StartLimit)
}

// deployAssignment deploys a. If err is not nil, the assignment is invalid, and
// the request fails.
func (m *Machine) deployAssignment(now time.Time, req request, a *Assignment, err error, r renewal, startLimit time.Duration) {
	current := m.target.assignment
	same := err == nil && current != nil && current.equal(a) && !r.all && !(r.edited && m.nodes.edits())
	switch {
	case m.target.lost != "":
		m.out.refuse(req, "%s", m.target.lost)
		return
	case same && (m.ending || m.target.failed == nil && m.allRun(a)):
		m.target.identify(a.LayoutID)
		m.out.accept(req)
		return
	case m.ending:
		m.out.refuse(req, errorEnding)
		return
	case err != nil:
		m.out.refuse(req, "%v", err)
		return
	}
	m.waits.supersede("superseded by a newer deployment")
	if same {
		m.target.identify(a.LayoutID)
		m.nodes.again(now)
	} else {
		m.nodes.assign(now, a, r)
		m.target.replace(a)
	}
	timeout := m.settings.RequestTimeout
	stages := now.Add(timeout / 2)
	if startLimit > 0 {
		timeout = min(startLimit, MaxStartLimit)
	}
	m.waits.deployment(now, req, a.names(), stages, now.Add(timeout))
}

// allRun reports whether a deployment need not wait.
func (m *Machine) allRun(a *Assignment) bool {
	return !slices.ContainsFunc(a.Nodes, func(n zeekapi.Node) bool { return !m.nodes.runs(n.Name) })
}

func (m *Machine) restart(now time.Time, req request, msg zeekapi.AgentRestartRequest) {
	if why := m.refuses(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	m.restarts.begin(req, m.nodes.selected(msg.Nodes), now.Add(m.settings.RequestTimeout))
}

func (m *Machine) check(now time.Time, req request, msg zeekapi.AgentCheckRequest) {
	a, err := m.assignment(zeekapi.AgentDeployNodesRequest{
		Config: msg.Config, Nodes: msg.Nodes, Site: msg.Site, Layout: msg.Layout, LayoutID: msg.LayoutID,
	}, req.peer)
	switch why := m.refuses(req); {
	case why != "":
		m.out.refuse(req, "%s", why)
	case err != nil:
		m.out.refuse(req, "%v", err)
	default:
		m.trials.deployment(now, req, a, renewal{all: msg.Force, edited: true})
	}
}

func (m *Machine) checkRestart(now time.Time, req request, msg zeekapi.AgentCheckRestartRequest) {
	if why := m.refuses(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	m.trials.restart(now, req, msg.Nodes)
}

func (m *Machine) dispatch(now time.Time, req request, msg zeekapi.AgentDispatchRequest) {
	if why := m.refuses(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	m.dispatches.send(req, msg, now.Add(m.settings.RequestTimeout))
}

func (m *Machine) getNodes(_ time.Time, req request, _ zeekapi.AgentGetNodesRequest) {
	r := m.out.success(req.id)
	r.Data = mustMarshal(append([]zeekapi.NodeStatus{m.presence.status()}, m.nodes.statuses()...))
	m.out.respond(req, r)
}

func (m *Machine) status(_ time.Time, req request, _ zeekapi.AgentStatusRequest) {
	r := m.out.success(req.id)
	r.Data = mustMarshal(m.nodes.details())
	m.out.respond(req, r)
}

func (m *Machine) logs(_ time.Time, req request, msg zeekapi.AgentLogsRequest) {
	if err := zeekapi.CheckName(msg.Node); err != nil { // the name becomes part of a path
		m.out.refuse(req, "no node %q on instance %s", msg.Node, m.settings.Name)
		return
	}
	limit := msg.Bytes
	if limit == 0 {
		limit = LogBytes
	}
	m.out.emit(Read{
		Dialect: req.dialect, ReqID: req.id, Node: msg.Node,
		Bytes: int(min(limit, MaxLogBytes)), Gone: !m.nodes.knows(msg.Node),
	})
}
