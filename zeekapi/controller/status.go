package controller

import (
	"net/netip"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// overview serves requests of clients that the controller can answer by itself.
type overview struct {
	settings Settings
	started  time.Time
	configs  *configurations
	history  *history
	events   *eventLog
	agents   *agents
	members  *members
	names    *nameSets
	stopped  *stoppedNodes
	requests *requests
	jobs     *jobs
	storage  *storage
	post     *Post
	exposure func() zeekapi.Exposure // of Config

	directories func() []zeekapi.DirectorySpace // of the controller; nil: unknown

	last statusData
}

// statusData is the data of the response to a request for the status.
type statusData struct {
	round uint64  // see requests
	heard []*poll // by the request
	data  broker.Value
}

// statusFor returns the data of the response to a request. Requests that were answered
// together share it: for a large cluster, making it takes milliseconds.
func (o *overview) statusFor(r *request) broker.Value {
	last := o.last
	if len(r.heard) > 0 && last.round == o.requests.round && slices.Equal(last.heard, r.heard) && !slices.Contains(r.heard, nil) {
		return last.data
	}
	data := mustMarshal(o.status(r.results))
	o.last = statusData{o.requests.round, r.heard, data}
	return data
}

func (o *overview) listHistory(by broker.Peer, req zeekapi.HistoryRequest) {
	o.requests.answer(by, req, successWith(req.ID, o.history.list(req.Limit)))
}

func (o *overview) getPast(by broker.Peer, req zeekapi.GetPastRequest) {
	result := zeekapi.Failure(req.ID, "no deployment %d in the history", req.Number)
	if r, ok := o.history.find(req.Number); ok {
		result = successWith(req.ID, r.Configuration)
	}
	o.requests.answer(by, req, result)
}

func (o *overview) listEvents(by broker.Peer, req zeekapi.EventsRequest) {
	o.requests.answer(by, req, successWith(req.ID, o.events.list(req.After, req.Limit)))
}

// listControllers responds with the controllers. A leader that cannot reach the store does
// not know whether it leads, and does not say so: another one may lead.
func (o *overview) listControllers(by broker.Peer, req zeekapi.ControllersRequest) {
	all := zeekapi.Controllers{Leads: o.post.Leads, Term: o.post.Term, Members: o.post.Members, AsOf: o.post.AsOf}
	if all.Leads && o.post.shared() && !o.storage.available() {
		all.Leads, all.Members = false, slices.Clone(all.Members)
		for i := range all.Members {
			all.Members[i].Leads = false
		}
	}
	o.requests.answer(by, req, successWith(req.ID, all))
}

// statusReport is the task of a request for the status: the nodes come from the
// agents, the rest from the controller at the end.
type statusReport struct {
	takeStatus
	*roundCall
	overview *overview
}

func (t statusReport) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	results, ok := t.takeStatus.accept(c, msg)
	if t.excessive(c.instance, results) {
		results = []zeekapi.Result{{Error: "sends too much data"}}
	}
	return results, ok
}

func (t statusReport) expired(r *request) bool { return t.roundCall.expired(r) }

func (t statusReport) ended(r *request) {
	r.results = []zeekapi.Result{{ReqID: r.id, Success: true, Data: t.overview.statusFor(r)}}
}

func (o *overview) requestStatus(by broker.Peer, req zeekapi.StatusRequest) {
	r := o.requests.begin(by, req)
	if r == nil {
		return
	}
	t := statusReport{roundCall: &roundCall{members: o.members, requests: o.requests}, overview: o}
	r.task = t
	t.ask(r, joint(r, askStatus), statusTimeout)
	o.requests.settle(r)
}

// status returns the present state of the cluster, with the nodes in the answers
// of agents.
func (o *overview) status(answers []zeekapi.Result) zeekapi.Status {
	byInstance := byName(answers, func(res zeekapi.Result) string { return res.Instance })
	id := func(slot Slot) string {
		r, _ := o.configs.get(slot)
		return r.ID
	}
	s := zeekapi.Status{
		Controller: zeekapi.Process{Name: o.settings.Name, Version: o.settings.Version, Started: o.started},
		Staged:     id(Staged), Deployed: id(Deployed), Target: id(Target),
		Storage: o.storage.why,
	}
	s.Controllers, s.Term, s.AsOf = o.post.Members, o.post.Term, o.post.AsOf
	if !o.post.Leads {
		s.Storage = o.post.Trouble
	}
	if o.exposure != nil {
		exposure := o.exposure()
		s.Exposure = &exposure
	}
	if last, ok := o.history.last(); ok {
		s.Last = &last
	}
	if o.jobs.last != nil {
		last := o.jobs.last.snapshot()
		s.Job = &last
	}
	silent := o.silentNodes(byInstance)
	for _, name := range o.instances() {
		i := o.instanceStatus(name, byInstance)
		i.Nodes = o.withStopped(name, append(i.Nodes, silent[name]...))
		s.Instances = append(s.Instances, i)
	}
	return s
}

// silentNodes returns the nodes that should run on instances whose agents did
// not answer, by instance. Without them the nodes would look unwanted.
func (o *overview) silentNodes(answers map[string]zeekapi.Result) map[string][]zeekapi.NodeDetail {
	silent := make(map[string][]zeekapi.NodeDetail)
	for _, n := range o.configs.target().Nodes {
		answer, ok := answers[n.Instance]
		if o.names.drained(n.Instance) || o.stopped.has(n.Name) || ok && answer.Error == "" {
			continue
		}
		silent[n.Instance] = append(silent[n.Instance], zeekapi.NodeDetail{Status: zeekapi.NodeStatus{
			Node: n.Name, State: zeekapi.StateUnknown, ManagementRole: zeekapi.ManagementNone, ClusterRole: n.Role,
			Port: n.Port, MetricsPort: n.MetricsPort,
		}})
	}
	return silent
}

// withStopped adds the stopped nodes of an instance to those that its agent reports. A
// node that the agent reports is still being stopped.
func (o *overview) withStopped(instance string, nodes []zeekapi.NodeDetail) []zeekapi.NodeDetail {
	for _, status := range o.stopped.statuses(o.configs.target().Nodes, instance) {
		by := o.stopped.byName[status.Node]
		i := slices.IndexFunc(nodes, func(n zeekapi.NodeDetail) bool { return n.Status.Node == status.Node })
		if i < 0 {
			nodes = append(nodes, zeekapi.NodeDetail{Status: status, Since: by.Since, StoppedBy: by.By})
			continue
		}
		nodes[i].Since, nodes[i].StoppedBy, nodes[i].LastError = by.Since, by.By, "it is being stopped"
	}
	return nodes
}

// instances returns the instances that a status shows: the members, those with an
// agent, and those that are drained before they join.
func (o *overview) instances() []string {
	names := sortedKeys(o.members.contacts)
	for _, name := range o.names.all(Drained) {
		if o.members.contacts[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (o *overview) instanceStatus(name string, answers map[string]zeekapi.Result) zeekapi.InstanceStatus {
	i := zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()}, Drained: o.names.drained(name)}
	if c := o.members.contacts[name]; c != nil {
		i.Since, i.LastError = c.since.at, c.lastError
	}
	i.Refused = o.agents.refusals(name)
	w, a := o.members.of(name), o.agents.of(name)
	if w != nil {
		i.Wanted, i.Ready, i.Instance = true, w.ready, w.Instance
		if unspecified(i.Instance.Host) && w.host.IsValid() {
			i.Instance.Host = w.host
		}
	}
	if a == nil {
		return i
	}
	if c := o.members.contacts[name]; c != nil {
		i.Problems = c.problems
	}
	if w == nil {
		i.Instance = a.Instance
	}
	if from := a.from.Addr.Addr(); from.WithZone("") == i.Instance.Host {
		i.Zone = from.Zone()
	}
	i.Connected, i.Dialects, i.Agent, i.Zeek = true, slices.Sorted(slices.Values(a.dialects)), a.process, a.zeek
	answer, ok := answers[name]
	switch {
	case w != nil && misplaced(w.Instance, a):
		i.LastError = misplacedText(w.Instance, a)
	case !ok:
		i.LastError = "no answer when asked for the status"
	case answer.Error != "":
		i.LastError = clip(answer.Error)
	default:
		i.Nodes, _ = dataOf[[]zeekapi.NodeDetail](answer.Data) // takeStatus has checked the data
	}
	return i
}
