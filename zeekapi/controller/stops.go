package controller

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// stops serves requests to stop and to start nodes. A stopped node stays in the
// configuration and in the layout of the cluster, but its agent is not told to run it.
type stops struct {
	*outbox
	configs  *configurations
	agents   *agents
	members  *members
	names    *nameSets
	stopped  *stoppedNodes
	states   *nodeStates
	requests *requests
	trials   *trials
	events   *eventLog
	log      zerolog.Logger

	waiting []*stopping
}

// change takes a client's request to stop nodes, or to start them.
func (s *stops) change(by broker.Peer, req zeekapi.StopRequest) {
	on, err := s.selected(req)
	if err == nil {
		err = s.obstacle(req, on)
	}
	if err != nil {
		s.requests.answer(by, req, zeekapi.Failure(req.ID, "%s", err))
		return
	}
	r := s.requests.begin(by, req)
	if r == nil {
		return
	}
	s.store(nameOf(by), req, on)
	t := &stopping{stops: s, request: r, stop: req.Stop, left: make(map[string]map[string]bool)}
	r.task = t
	s.waiting = append(s.waiting, t)
	for _, instance := range sortedKeys(on) {
		t.begin(instance, on[instance])
	}
	for _, instance := range sortedKeys(t.left) {
		t.ask(instance)
	}
	s.requests.settle(r)
}

// selected returns the nodes of the target that a request is about, by instance.
func (s *stops) selected(req zeekapi.StopRequest) (map[string][]string, error) {
	switch {
	case len(s.members.byName) == 0:
		return nil, errors.New("no active cluster deployment")
	case req.All == (len(req.Nodes) > 0):
		return nil, errors.New("want either the names of nodes, or all nodes")
	}
	missing, on := setOf(req.Nodes), make(map[string][]string)
	for _, n := range s.configs.target().Nodes {
		if missing[n.Name] || req.All && (req.Stop || s.stopped.has(n.Name)) {
			on[n.Instance] = append(on[n.Instance], n.Name)
		}
		delete(missing, n.Name)
	}
	if unknown := sortedKeys(missing); len(unknown) > 0 {
		return nil, errors.New("unknown cluster node " + clip(unknown[0]))
	}
	for _, names := range on {
		slices.Sort(names)
	}
	return on, nil
}

// obstacle returns why nodes cannot be stopped or started now, nil if they can.
func (s *stops) obstacle(req zeekapi.StopRequest, on map[string][]string) error {
	if p := s.trials.underWay(); p != nil {
		return fmt.Errorf(errPending, p.id)
	}
	if !req.Stop {
		return nil
	}
	count := len(s.stopped.byName)
	for _, instance := range sortedKeys(on) {
		count += len(on[instance])
		if a := s.agents.of(instance); a != nil && !a.isOurs() || a != nil && a.described && !a.checks() {
			return fmt.Errorf("instance %s: %s; drain the instance, or deploy a configuration without the node", instance, cannotStop)
		}
	}
	if count > maxNames {
		return fmt.Errorf("more than %d nodes are stopped", maxNames)
	}
	return nil
}

// store keeps which nodes are stopped, and reports those that change.
func (s *stops) store(by string, req zeekapi.StopRequest, on map[string][]string) {
	kind := zeekapi.EventStarted
	if req.Stop {
		kind = zeekapi.EventStopped
	}
	for _, instance := range sortedKeys(on) {
		changed := slices.DeleteFunc(slices.Clone(on[instance]), func(n string) bool { return s.stopped.has(n) == req.Stop })
		if len(changed) == 0 {
			continue
		}
		s.log.Info().Str("by", by).Str("instance", instance).Str("nodes", clip(listed(changed))).Msg("nodes are " + kind)
		if req.Stop {
			s.stopped.stop(changed, by)
		} else {
			s.stopped.start(changed)
			s.trials.sites.doubt(instance)
		}
		s.states.count(instance)
		if len(changed) == 1 {
			s.events.add(kind, instance, changed[0], "by "+by)
		} else {
			s.events.add(kind, instance, "", clip(listed(changed))+" by "+by)
		}
	}
}

// poll asks for the nodes of the instances whose time has come.
func (s *stops) poll() {
	for _, t := range slices.Clone(s.waiting) {
		if t.next.due(s.now) {
			t.next = alarm{}
			for _, instance := range sortedKeys(t.left) {
				t.ask(instance)
			}
			s.requests.settle(t.request)
		}
	}
}

// deadline returns the time of the next poll.
func (s *stops) deadline() (next alarm) {
	for _, t := range s.waiting {
		next = next.sooner(t.next)
	}
	return next
}

// stopping is the task of a request that waits until nodes have stopped, or run. It asks
// their agents until that is so.
type stopping struct {
	takeStatus
	*stops
	request *request
	stop    bool
	left    map[string]map[string]bool // nodes without a result, by instance
	next    alarm                      // for the next question about nodes
}

// begin has the agent of an instance run its nodes that are not stopped.
func (t *stopping) begin(instance string, nodes []string) {
	w, out := t.members.of(instance), t.names.drained(instance)
	switch {
	case out && t.stop:
		t.result(instance, nodes, "")
	case out:
		t.result(instance, nodes, "the instance is drained; the node starts when it is undrained")
	case !w.ready:
		t.result(instance, nodes, string(notConnected)+"; the node is "+participle(t.stop)+" when it returns")
	case !t.trials.rerun(w):
		t.result(instance, nodes, "the last deployment waits for other instances; the node is "+participle(t.stop)+" when they are connected or drained")
	default:
		t.left[instance] = setOf(nodes)
	}
}

func participle(stop bool) string {
	if stop {
		return "stopped"
	}
	return "started"
}

// result adds the result of nodes. An empty text is a success.
func (t *stopping) result(instance string, nodes []string, text string) {
	for _, node := range nodes {
		t.request.results = append(t.request.results, zeekapi.Result{
			ReqID: t.request.id, Success: text == "", Instance: instance, Node: node, Error: text,
		})
	}
}

// ask asks an agent which nodes it has.
func (t *stopping) ask(instance string) {
	if w := t.members.of(instance); w == nil || !w.ready {
		t.miss(instance, string(notConnected))
		return
	}
	t.requests.call(t.request, instance, askStatus)
}

// miss ends the wait for the nodes of an instance.
func (t *stopping) miss(instance, why string) {
	t.result(instance, sortedKeys(t.left[instance]), why)
	delete(t.left, instance)
}

// accept takes the states of the nodes of an instance.
func (t *stopping) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	results, ok := t.takeStatus.accept(c, msg)
	if !ok {
		return nil, false
	}
	if !results[0].Success {
		return nil, true // it is asked again
	}
	details, _ := dataOf[[]zeekapi.NodeDetail](results[0].Data) // takeStatus has checked the data
	known := byName(details, func(n zeekapi.NodeDetail) string { return n.Status.Node })
	for _, node := range sortedKeys(t.left[c.instance]) {
		detail, reported := known[node]
		if text, settled := t.outcome(node, detail, reported); settled {
			t.result(c.instance, []string{node}, text)
			delete(t.left[c.instance], node)
		}
	}
	if len(t.left[c.instance]) == 0 {
		delete(t.left, c.instance)
	}
	return nil, true
}

// outcome reports whether the request need not wait for a node any longer, and why the
// node is not as it should be, "" if it is.
func (t *stopping) outcome(node string, detail zeekapi.NodeDetail, reported bool) (text string, settled bool) {
	state := detail.Status.State
	switch {
	case t.stop != t.stopped.has(node):
		return "the node was " + participle(!t.stop) + " in the meantime", true
	case t.stop:
		return "", !reported
	case !reported:
		return "", false
	case state == zeekapi.StateRunning:
		return "", true
	case state == zeekapi.StateFailed, state == zeekapi.StateCrashed && detail.Restarts > 0:
		return clip("the node does not run: " + detail.LastError), true
	}
	return "", false
}

func (t *stopping) missed(c *call, why reason) ([]zeekapi.Result, bool) {
	t.miss(c.instance, string(why))
	return nil, true
}

func (t *stopping) complete(*request) bool {
	if len(t.left) > 0 {
		t.next = alarmAt(t.now.Add(drainInterval))
	}
	return len(t.left) == 0
}

func (t *stopping) expired(r *request) bool {
	text := "still starting"
	if t.stop {
		text = "still stopping"
	}
	for _, instance := range sortedKeys(t.left) {
		t.miss(instance, text)
	}
	t.requests.finish(r)
	return true
}

func (t *stopping) ended(*request) {
	t.waiting = slices.DeleteFunc(t.waiting, func(o *stopping) bool { return o == t })
}

func (t *stopping) awaited(*request) []string { return sortedKeys(t.left) }
