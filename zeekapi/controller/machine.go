// Package controller is a controller for Zeek's agents: it keeps the cluster's
// configuration, tells the agents of the instances what to run, and answers
// clients.
//
// Machine is the controller without I/O, a state machine that takes inputs and
// returns outputs. Run connects it to buses, a clock and a store.
package controller

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const errEnding = "the controller is shutting down"

// Machine is the controller without I/O. It is put together from parts. Each
// part owns its state and is given the parts that it uses, all of which are
// above it in this list. Machine routes inputs to the parts and collects their
// outputs. It must not be used concurrently.
type Machine struct {
	out        *outbox
	log        zerolog.Logger
	complaints *complaints

	events  *eventLog
	storage *storage
	configs *configurations
	history *history
	names   *nameSets
	stopped *stoppedNodes
	states  *nodeStates

	agents   *agents
	clients  *clients
	requests *requests
	sites    *sites
	members  *members
	contests *contests
	leading  *leading
	arrivals *arrivals
	reports  *reports
	surveys  *surveys

	deployments *deployments
	trials      *trials
	drains      *drains
	stops       *stops
	jobs        *jobs

	staging  *staging
	queries  *queries
	changes  *changeRequests
	overview *overview
	alerting *alerting
	handlers handlers

	post    *Post
	passed  *passed
	phase   Phase
	speaker string // instance whose agent the last input is from, "" for other inputs
}

// NewMachine returns a controller that continues from the state of an earlier
// life. newID makes the IDs of the controller's own requests. The error is about
// invalid settings. Call Start first.
func NewMachine(settings Settings, state State, newID func() string, log zerolog.Logger) (*Machine, error) {
	settings, err := settings.complete()
	if err != nil {
		return nil, err
	}
	m := &Machine{out: new(outbox), log: log, complaints: newComplaints(log), post: &Post{Leads: true, Term: state.Term}, passed: newPassed()}
	m.keep(state)
	m.reach(settings, newID)
	m.change(settings, state)
	m.serve(settings)
	return m, nil
}

// keep makes the parts that keep the state.
func (m *Machine) keep(state State) {
	m.events = newEventLog(m.out, state.Events)
	m.storage = &storage{outbox: m.out, events: m.events, log: m.log}
	m.configs = newConfigurations(m.out, state.Configs)
	m.history = newHistory(m.out, m.events, m.configs, state.History, m.log)
	m.names = newNameSets(m.out, state, m.log)
	m.stopped = newStoppedNodes(m.out, state.Stopped)
	m.states = newNodeStates(m.configs, m.names, m.stopped)
}

// reach makes the parts that know agents and clients.
func (m *Machine) reach(settings Settings, newID func() string) {
	m.agents = newAgents(m.out)
	m.clients = newClients()
	m.requests = newRequests(m.out, m.agents, m.clients, m.complaints, newID, settings.RequestTimeout, m.log)
	m.sites = newSites(m.out, m.configs, m.history, m.agents, m.requests, m.log)
	m.members = newMembers(m.out, m.agents, m.names, newID, settings.RequestTimeout)
	m.contests = newContests(m.out, m.agents, m.requests, m.events, m.log)
	m.leading = &leading{
		outbox: m.out, post: m.post, newID: newID, agents: m.agents, contacts: m.members.contact, events: m.events, log: m.log,
	}
	m.arrivals = &arrivals{
		outbox: m.out, agents: m.agents, leading: m.leading, members: m.members, names: m.names, requests: m.requests, contests: m.contests,
		states: m.states, events: m.events, complaints: m.complaints, log: m.log,
	}
	m.contests.replace = m.arrivals.replace
	m.reports = &reports{
		outbox: m.out, agents: m.agents, members: m.members, events: m.events, complaints: m.complaints, log: m.log,
	}
	m.surveys = &surveys{outbox: m.out, agents: m.agents, requests: m.requests, interval: settings.StatusInterval}
}

// change makes the parts that change what runs.
func (m *Machine) change(settings Settings, state State) {
	m.deployments = newDeployments(deploymentParts{
		configs: m.configs, history: m.history, agents: m.agents, names: m.names, stopped: m.stopped, members: m.members,
		arrivals: m.arrivals, requests: m.requests, states: m.states, events: m.events, sites: m.sites,
	}, state.Sent, settings, m.log)
	m.trials = &trials{deployments: m.deployments, settings: settings}
	m.sites.pushed = func(instance string) {
		m.trials.sent(instance)
		m.deployments.sited(instance)
	}
	m.drains = &drains{
		outbox: m.out, agents: m.agents, members: m.members, names: m.names, states: m.states,
		requests: m.requests, trials: m.trials, events: m.events, log: m.log,
	}
	m.stops = &stops{
		outbox: m.out, configs: m.configs, agents: m.agents, members: m.members, names: m.names, stopped: m.stopped,
		states: m.states, requests: m.requests, trials: m.trials, events: m.events, log: m.log,
	}
	checks := &restartChecks{agents: m.agents, requests: m.requests}
	m.jobs = &jobs{
		outbox: m.out, configs: m.configs, agents: m.agents, members: m.members, names: m.names, stopped: m.stopped,
		requests: m.requests, storage: m.storage, checks: checks, events: m.events, timeout: settings.RequestTimeout, log: m.log, last: lastJob(state),
	}
}

// serve makes the parts that take requests of clients.
func (m *Machine) serve(settings Settings) {
	m.staging = &staging{
		settings: settings, configs: m.configs, agents: m.agents, members: m.members, requests: m.requests,
		events: m.events, log: m.log,
	}
	m.queries = &queries{
		configs: m.configs, agents: m.agents, members: m.members, names: m.names, stopped: m.stopped, requests: m.requests,
		checks: m.jobs.checks, log: m.log,
	}
	m.changes = &changeRequests{
		configs: m.configs, staging: m.staging, history: m.history, requests: m.requests,
		trials: m.trials, jobs: m.jobs,
	}
	m.overview = &overview{
		settings: settings, configs: m.configs, history: m.history, events: m.events, agents: m.agents,
		members: m.members, names: m.names, stopped: m.stopped, requests: m.requests, jobs: m.jobs, storage: m.storage,
		post: m.post,
	}
	m.alerting = &alerting{outbox: m.out, events: m.events, requests: m.requests}
	h := make(handlers)
	handle(h, zeekapi.StageConfigurationCall, storing(m.storage, m.requests, m.staging.stageConfiguration))
	handle(h, zeekapi.GetConfigurationCall, m.staging.getConfiguration)
	handle(h, zeekapi.DryRunCall, m.staging.dryRun)
	handle(h, zeekapi.DeployCall, storing(m.storage, m.requests, m.changes.deploy))
	handle(h, zeekapi.DeployStagedCall, storing(m.storage, m.requests, m.changes.deployStaged))
	handle(h, zeekapi.SetConfigurationCall, storing(m.storage, m.requests, m.changes.setConfiguration))
	handle(h, zeekapi.CheckCall, m.changes.check)
	handle(h, zeekapi.UploadSiteCall, m.sites.upload)
	handle(h, zeekapi.DownloadSiteCall, m.sites.download)
	handle(h, zeekapi.RollbackCall, storing(m.storage, m.requests, m.changes.rollback))
	handle(h, zeekapi.RollingRestartCall, storing(m.storage, m.requests, m.changes.rollingRestart))
	handle(h, zeekapi.CancelJobCall, storing(m.storage, m.requests, m.jobs.cancel))
	handle(h, zeekapi.DrainCall, storing(m.storage, m.requests, m.drains.drain))
	handle(h, zeekapi.StopCall, storing(m.storage, m.requests, func(by broker.Peer, req zeekapi.StopRequest) {
		m.stops.change(by, req)
		m.jobs.advance()
	}))
	handle(h, zeekapi.GetInstancesCall, m.queries.getInstances)
	handle(h, zeekapi.GetNodesCall, m.queries.getNodes)
	handle(h, zeekapi.GetIDValueCall, m.queries.getIDValue)
	handle(h, zeekapi.RestartCall, m.queries.restart)
	handle(h, zeekapi.TestTimeoutCall, m.queries.testTimeout)
	handle(h, zeekapi.LogsCall, m.queries.logs)
	handle(h, zeekapi.AlertsCall, m.alerting.list)
	handle(h, zeekapi.TestAlertsCall, m.alerting.test)
	handle(h, zeekapi.ScriptsCall, m.queries.scripts)
	handle(h, zeekapi.FiguresCall, m.overview.requestFigures)
	handle(h, zeekapi.DiagnoseCall, m.queries.diagnose)
	handle(h, zeekapi.CleanupCall, m.queries.cleanup)
	handle(h, zeekapi.StatusCall, m.overview.requestStatus)
	handle(h, zeekapi.ControllersCall, m.overview.listControllers)
	handle(h, zeekapi.HistoryCall, m.overview.listHistory)
	handle(h, zeekapi.GetPastCall, m.overview.getPast)
	handle(h, zeekapi.EventsCall, m.overview.listEvents)
	handle(h, zeekapi.StepDownCall, m.stepDown)
	m.handlers = h
}

// Start returns what to do first: resume or end what an earlier life left undone, and
// make the target configuration true again.
func (m *Machine) Start(now time.Time) []Output {
	m.out.now, m.overview.started = now, now
	m.history.endLost(m.configs.target())
	m.surveys.start()
	if target, ok := m.configs.get(Target); ok {
		m.members.recall(target.Instances, m.events.lastContacts())
		m.deployments.adopt(target.Configuration)
		if !m.deployments.resume() {
			m.deployments.redeploy()
		}
	}
	m.jobs.resume()
	m.sites.keep()
	return m.out.take()
}

// takeOver starts a machine that leads, with the agents that are connected. It adds no event
// for an agent whose last event says that it is connected: it was connected to the leader
// before.
func (m *Machine) takeOver(now time.Time, former *Machine, agents []Input) []Output {
	m.phase = former.phase
	contacts := m.events.lastContacts()
	m.out.now = now
	if m.post.shared() {
		m.events.add(zeekapi.EventLeader, "", "", fmt.Sprintf("controller %s leads, term %d", m.overview.settings.Name, m.post.Term))
	}
	out := m.Start(now)
	m.overview.started = former.overview.started
	for _, in := range agents {
		if from, ok := in.(FromAgent); ok {
			if hello, ok := from.Message.(zeekapi.AgentHello); ok {
				m.events.quiet = contacts[hello.Instance].Kind == zeekapi.EventConnected
			}
		}
		out = append(out, m.Step(now, in)...)
	}
	m.events.quiet = false
	return out
}

// stepDown lets another controller lead.
func (m *Machine) stepDown(by broker.Peer, req zeekapi.StepDownRequest) {
	switch {
	case !m.post.shared():
		m.requests.answer(by, req, zeekapi.Failure(req.ID, "this controller is the only one: its state is in a file"))
	case len(m.post.Members) < 2:
		m.requests.answer(by, req, zeekapi.Failure(req.ID, "no other controller stands by"))
	default:
		m.log.Info().Str("by", nameOf(by)).Msg("stepping down")
		m.requests.answer(by, req, successWith(req.ID, m.post.Members))
		m.out.emit(StepDown{})
	}
}

// succeed starts a machine in place of another one, because the last changes of that
// could not be stored. The inputs are those from which it knows its agents.
func (m *Machine) succeed(now time.Time, former *Machine, why string, agents []Input) []Output {
	m.phase = former.phase
	m.out.now = now
	m.storage.changed(why)
	out := m.Start(now)
	m.overview.started = former.overview.started
	m.events.quiet = true
	for _, in := range agents {
		out = append(out, m.Step(now, in)...)
	}
	m.events.quiet = false
	return out
}

// Step takes an input at the given time and returns what to do, in order.
func (m *Machine) Step(now time.Time, in Input) []Output {
	m.out.now, m.speaker = now, ""
	switch in := in.(type) {
	case PeerAdded:
		// The hello of an agent, or the first request of a client, says more.
	case PeerLost:
		m.arrivals.peerLost(in.Peer)
		m.clients.lost(in.Peer.ID)
		m.passed.lost(in.Peer.ID)
		m.complaints.lost(in.Peer.ID)
	case FromAgent:
		m.fromAgent(in.Peer, in.Dialect, in.Message)
	case FromClient:
		m.requests.arriving = in.Memory
		m.fromClient(in.Peer, in.Message)
		m.requests.arriving = 0
	case AgentRefused:
		if a := m.agents.speaking(in.Peer.ID); a != nil && a.Name == in.Instance { // it was permitted before
			m.arrivals.peerLost(in.Peer)
		}
		m.events.add(zeekapi.EventError, clip(in.Instance), "", "refused an agent from "+nameOf(in.Peer)+": "+clip(in.Why))
	case PartUnreadable:
		m.sites.unreadable(in)
	case SiteStored:
		m.sites.stored(in)
	case Forwarded:
		if m.passed.answered(in.Peer, in.Response) {
			m.out.emit(ToClients{in.Peer, in.Response})
		}
	case AlertsTested:
		m.alerting.tested(in)
	case Noted:
		m.alerting.note(in.Events)
	case Unsupported:
		m.requests.unsupported(in.ToAgent)
	case StorageChanged:
		m.storage.changed(in.Why)
		m.jobs.advance()
	case Shutdown:
		m.phase = max(m.phase, Ending)
	case Tick:
		m.requests.expire()
		m.requests.polls.hurry()
		m.trials.renew()
		m.members.repeat()
		m.sites.retry()
		m.jobs.poll()
		m.drains.poll()
		m.stops.poll()
		m.surveys.hold()
	}
	m.trials.follow()
	if m.phase == Ending && m.Pending() == 0 {
		m.phase = Ended
	}
	m.sites.keep()
	return m.out.take()
}

func (m *Machine) fromAgent(peer broker.Peer, dialect string, msg zeekapi.Message) {
	if a := m.agents.speaking(peer.ID); a != nil {
		m.speaker = a.Name
		m.states.heard(a.Name, msg)
	}
	switch msg := msg.(type) {
	case zeekapi.AgentHello:
		m.arrivals.hello(peer, dialect, msg)
	case zeekapi.AgentDescription:
		m.agents.describe(peer.ID, msg)
	case zeekapi.AgentWelcomeResponse:
		if m.requests.expects(msg.ID) { // of a contest
			m.requests.answered(peer, msg)
		} else if w := m.arrivals.welcomed(peer, msg); w != nil {
			m.deployments.ready(w)
		}
	case zeekapi.AgentLeaderResponse:
		m.leading.answered(peer, msg)
	case zeekapi.AgentStandbyResponse:
		m.arrivals.stoodBy(peer, msg)
	case zeekapi.AgentError, zeekapi.AgentLog, zeekapi.AgentChange, zeekapi.AgentProblems:
		m.reports.take(peer, msg)
	default:
		if request, _ := zeekapi.ResponseOf(msg); request != nil {
			m.requests.answered(peer, msg)
		}
		// The rest are requests of another controller.
	}
}

func (m *Machine) fromClient(by broker.Peer, msg zeekapi.Message) {
	if !m.requests.admit(by, msg) {
		return
	}
	request := zeekapi.RequestOf(msg)
	do := m.handlers[request]
	switch {
	case do == nil: // a response of another controller
	case !m.post.serves(request) && m.post.forwards(by, request) && m.phase == Running:
		m.pass(by, msg)
	case !m.post.serves(request):
		m.requests.answer(by, msg, m.post.refusal(msg.RequestID()))
	case m.post.shared() && !m.storage.available() && request.Effect == zeekapi.Changes:
		m.requests.answer(by, msg, zeekapi.Failure(msg.RequestID(), "%s", m.storage.refusal()))
	case m.phase != Running:
		m.requests.answer(by, msg, zeekapi.Failure(msg.RequestID(), errEnding))
	default:
		if m.post.announces(request) {
			m.out.emit(ToClients{by.ID, zeekapi.StoredAnswer{ReqID: zeekapi.ReqID{ID: msg.RequestID()}, Controller: m.overview.settings.Name, AsOf: m.post.AsOf}})
		}
		do(by, msg)
	}
}

// pass passes a request to the leader.
func (m *Machine) pass(by broker.Peer, msg zeekapi.Message) {
	switch {
	case m.passed.has(by, msg):
		m.requests.repeated(by, msg)
	case m.passed.of(by.ID) >= maxForwardsPerClient:
		m.requests.excess(by, msg)
	default:
		m.passed.add(by, msg)
		m.out.emit(Forward{By: by, Message: msg})
	}
}

// underWay reports whether a client has a request with the same ID that has no response yet.
func (m *Machine) underWay(by broker.Peer, msg zeekapi.Message) bool {
	return m.requests.has(msg) || m.passed.has(by, msg)
}

// Deadline returns the time of the next Tick that the machine needs. The result
// is false if it needs none.
func (m *Machine) Deadline() (time.Time, bool) {
	next := m.requests.deadline().
		sooner(m.requests.polls.waiting()).
		sooner(m.members.again).
		sooner(m.sites.again).
		sooner(m.jobs.deadline()).
		sooner(m.trials.deadline()).
		sooner(m.drains.deadline()).
		sooner(m.stops.deadline()).
		sooner(m.surveys.next)
	return next.at, next.set
}

// Phase returns how far the machine is from its end.
func (m *Machine) Phase() Phase { return m.phase }

// Pending returns the number of requests whose response a client waits for.
func (m *Machine) Pending() int {
	return m.requests.awaited + m.sites.storing + m.alerting.testing + len(m.passed.requests)
}

// Snapshot returns the present numbers.
func (m *Machine) Snapshot() Snapshot {
	s := Snapshot{
		Agents:    len(m.agents.peers),
		Refused:   m.agents.refused,
		Pending:   m.Pending(),
		Instances: m.members.counts.copy(),
		Nodes:     m.states.total.copy(),
		Storage:   m.storage.why,
		Speaker:   m.speaker,
		Post:      *m.post,
		Target:    m.configs.target().Configuration,
		Revision:  m.configs.target().number,
	}
	if m.overview.directories != nil {
		s.Directories = m.overview.directories()
	}
	return s
}
