package controller_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Clients and faults of the simulation.

// injectFault restarts processes, breaks connections, or sends an event or a request.
func (s *simulation) injectFault() {
	switch n := s.random.IntN(20); {
	case n < 4:
		for range 1 + len(s.agents)/50 {
			s.restart(s.anyAgent())
		}
	case n == 4:
		s.startController()
	case n == 5: // connections break, the agents keep running
		for range 1 + len(s.agents)/50 {
			a := s.anyAgent()
			s.lose(a.peer)
			s.connect(a, a.peer)
		}
	case n == 7:
		for range 1 + len(s.agents)/50 {
			s.intrude()
		}
	case n == 6:
		a := s.anyAgent()
		s.fromAgent(a, a.peer, zeekapi.AgentChange{Instance: a.name, Old: zeekapi.StateRunning, New: zeekapi.StateCrashed})
	default:
		s.request()
	}
}

func (s *simulation) request() {
	s.ids++
	s.ask(s.anyRequest(fmt.Sprintf("r%d", s.ids)))
}

// ask sends a client's request.
func (s *simulation) ask(msg zeekapi.Message) {
	id := msg.RequestID()
	s.deliver(func() {
		if t, ok := msg.(zeekapi.TestTimeoutRequest); !ok || t.WithState {
			if _, again := s.pending[id]; !again {
				limit := controller.DefaultSettings().RequestTimeout
				if _, check := msg.(zeekapi.CheckRequest); check {
					limit = controller.CheckLimit
				}
				s.pending[id] = s.now.Add(limit)
			}
		}
		s.step(controller.FromClient{Message: msg}, "")
	})
}

func (s *simulation) anyRequest(id string) zeekapi.Message {
	switch s.random.IntN(24) {
	case 0, 1:
		return stage(id, s.anyConfig())
	case 2, 3:
		return deploy(id)
	case 4:
		return set(id, s.anyConfig())
	case 5:
		return getNodes(id)
	case 6:
		return getID(id, "x", "w"+s.anyAgent().name, "wz")
	case 7:
		return restart(id)
	case 8:
		return zeekapi.TestTimeoutRequest{ReqID: reqID(id), WithState: s.chance(0.5)}
	case 9:
		return zeekapi.StatusRequest{ReqID: reqID(id)}
	case 10:
		return zeekapi.DeployStagedRequest{ReqID: reqID(id), DeployOptions: zeekapi.DeployOptions{Force: true}}
	case 11:
		return zeekapi.RollbackRequest{ReqID: reqID(id), Number: uint64(s.random.IntN(3))}
	case 12, 13:
		return zeekapi.DrainRequest{ReqID: reqID(id), Instance: s.anyAgent().name, Drain: s.chance(0.4)}
	case 14:
		return zeekapi.RollingRestartRequest{ReqID: reqID(id), AtOnce: uint64(s.random.IntN(3))}
	case 15:
		return zeekapi.CancelJobRequest{ReqID: reqID(id)}
	case 20, 21, 22:
		return s.anyStop(id)
	case 16:
		return zeekapi.HistoryRequest{ReqID: reqID(id)}
	case 18:
		return zeekapi.CheckRequest{ReqID: reqID(id)}
	case 19:
		return zeekapi.DeployStagedRequest{ReqID: reqID(id), DeployOptions: zeekapi.DeployOptions{Partial: true, NoRollback: s.chance(0.5)}}
	case 17:
		return zeekapi.EventsRequest{ReqID: reqID(id), Limit: 10}
	}
	return zeekapi.DryRunRequest{ReqID: reqID(id), Config: s.anyConfig()}
}

// anyStop returns a request to stop or start nodes.
func (s *simulation) anyStop(id string) zeekapi.Message {
	req := zeekapi.StopRequest{ReqID: reqID(id), Stop: s.chance(0.6), All: s.chance(0.2)}
	for range 1 + s.random.IntN(2) {
		if !req.All {
			req.Nodes = append(req.Nodes, "w"+s.anyAgent().name)
		}
	}
	return req
}

// anyConfig returns a configuration with a new ID and a random subset of the agents.
func (s *simulation) anyConfig() zeekapi.Configuration {
	s.ids++
	var names []string
	for _, a := range s.agents {
		if s.chance(0.8) {
			names = append(names, a.name)
		}
	}
	if s.chance(0.05) {
		names = append(names, "missing")
	}
	c := config(fmt.Sprintf("c%d", s.ids), names...)
	for i := range c.Nodes {
		if s.chance(0.2) {
			c.Nodes[i].Role = zeekapi.RoleProxy
		}
	}
	for i := range c.Instances {
		if a := s.byName[c.Instances[i].Name]; a != nil && s.chance(0.2) {
			at := netip.MustParseAddrPort(s.address(a))
			c.Instances[i].Host, c.Instances[i].Port = at.Addr(), broker.TCP(at.Port())
		}
	}
	if len(s.agents) <= 1000 && s.chance(0.3) { // sending a site to 10 000 agents would take minutes
		c.Site = strings.Repeat("0", 63) + fmt.Sprint(s.random.IntN(3))
	}
	s.staged[c.ID] = c
	return c
}

// Checks.

func (s *simulation) failf(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("life %d, at %v: %s", s.life, s.now.Sub(testStart), fmt.Sprintf(format, args...))
	}
}

// answered checks that a request gets one response, in time, and that acknowledged
// changes are stored.
func (s *simulation) answered(msg zeekapi.Message) {
	s.answers++
	id := msg.RequestID()
	deadline, ok := s.pending[id]
	if !ok {
		s.failf("%s: unexpected or repeated response", describe(controller.ToClients{Message: msg}))
		return
	}
	if s.now.After(deadline) {
		s.failf("%s: response after the deadline", id)
	}
	delete(s.pending, id)
	switch msg := msg.(type) {
	case zeekapi.StageConfigurationResponse:
		if config, ok := acknowledged(msg.Results); ok {
			s.acknowledged = config
			s.checkKept(id, config, controller.Staged, controller.Ready)
		}
	case zeekapi.SetConfigurationResponse:
		// Unless the request was refused, its configuration was staged.
		s.acknowledged = s.state.Configs[controller.Staged].ID
	case zeekapi.DeployResponse:
		s.checkDeployed(id, msg.Results)
	case zeekapi.DeployStagedResponse:
		s.checkDeployed(id, msg.Results)
	case zeekapi.RollbackResponse:
		s.checkDeployed(id, msg.Results)
	case zeekapi.DrainResponse:
		s.checkDrained(id, msg.Results)
	case zeekapi.StopResponse:
		s.checkStopped(id, msg.Results)
	}
}

// checkStopped checks that a node that is reported as stopped, and is stopped, does not
// run.
func (s *simulation) checkStopped(request string, results []zeekapi.Result) {
	for _, r := range results {
		a := s.byName[r.Instance]
		if a == nil || !r.Success || r.Node != "w"+a.name {
			continue
		}
		s.stops++
		if s.stopped(r.Node) && !s.impostors.fooled[a.name] && a.running != "" && !a.stopped && !slices.Contains(s.state.Drained, a.name) {
			s.failf("%s: %s is reported as stopped, but runs", request, r.Node)
		}
	}
}

// stopped reports whether a node is stored as stopped.
func (s *simulation) stopped(node string) bool {
	return slices.ContainsFunc(s.state.Stopped, func(n zeekapi.StoppedNode) bool { return n.Node == node })
}

// checkDrained checks that an instance that was reported as drained has no nodes,
// unless it was undrained, or an impostor reported that. A remark says that the agent is not connected, so that its
// nodes may run until it returns.
func (s *simulation) checkDrained(request string, results []zeekapi.Result) {
	for _, r := range results {
		if a := s.byName[r.Instance]; a != nil && !s.impostors.fooled[a.name] && r.Success && r.Data.IsNone() && slices.Contains(s.state.Drained, a.name) && a.running != "" {
			s.failf("%s: %s is reported as drained, but runs %s", request, a.name, a.running)
		}
	}
}

func acknowledged(results []zeekapi.Result) (config string, ok bool) {
	last := results[len(results)-1]
	config, _ = last.Data.Text()
	return config, last.Success && last.Instance == "" && last.Node == ""
}

func (s *simulation) checkKept(request, config string, slots ...controller.Slot) {
	for _, slot := range slots {
		if s.state.Configs[slot].ID != config {
			s.failf("%s: acknowledges %s, but the stored ID is %q (%s)", request, config, s.state.Configs[slot].ID, slot)
		}
	}
}

func (s *simulation) checkDeployed(request string, results []zeekapi.Result) {
	config, ok := acknowledged(results)
	if !ok {
		return
	}
	s.checkKept(request, config, controller.Deployed, controller.Target)
	last := s.state.History[len(s.state.History)-1]
	if last.Config != config || last.Configuration.ID != config || last.Ended.IsZero() {
		s.failf("%s: acknowledges %s, but the history ends with %s", request, config, last.Config)
	}
	for _, inst := range s.staged[config].Instances {
		if !s.ran[inst.Name][config] && !slices.Contains(s.state.Drained, inst.Name) && !slices.ContainsFunc(results, func(r zeekapi.Result) bool {
			return r.Instance == inst.Name && !r.Success
		}) {
			s.failf("%s: %s is reported as deployed, but never ran on %s", request, config, inst.Name)
		}
	}
}

// checkChange checks a change against the stored state.
func (s *simulation) checkChange(c controller.Change) {
	switch c := c.(type) {
	case controller.Announce:
		if n := len(s.state.Events); n > 0 && c.Event.Number != s.state.Events[n-1].Number+1 {
			s.failf("event %d follows %d", c.Event.Number, s.state.Events[n-1].Number)
		}
	case controller.SaveJob:
		s.checkJob(c.Job)
	case controller.Save:
		if c.Slot == controller.Target {
			s.checkTarget(c.Config)
		}
	case controller.SaveDeployment:
		s.outcomes[c.Past.Outcome]++
		s.checkDeployment(c.Past)
	}
}

// checkDeployment checks a change of the history. A deployment of an earlier life may
// continue, and be rolled back, until the next one begins.
func (s *simulation) checkDeployment(past controller.Past) {
	target := s.state.Configs[controller.Target].ID
	if slices.ContainsFunc(s.state.History, func(p controller.Past) bool { return p.Number == past.Number && p.Outcome != zeekapi.OutcomePending }) {
		s.failf("deployment %d changes after its end", past.Number)
	}
	switch known := slices.ContainsFunc(s.state.History, func(p controller.Past) bool { return p.Number == past.Number }); {
	case past.Outcome == zeekapi.OutcomePending && known: // other ports, or a commitment
	case past.Outcome == zeekapi.OutcomePending:
		s.targetBefore = target
		for _, p := range s.state.History {
			if p.Outcome == zeekapi.OutcomePending && p.Number != s.resumed || p.Number >= past.Number {
				s.failf("deployment %d begins while %d is %s", past.Number, p.Number, p.Outcome)
			}
		}
	case (past.Outcome == zeekapi.OutcomeRefused || past.Outcome == zeekapi.OutcomeRolledBack || past.Outcome == zeekapi.OutcomeLost) && past.Number != s.resumed && target != s.targetBefore:
		s.failf("deployment %d was %s, but the target changed from %s to %s", past.Number, past.Outcome, s.targetBefore, target)
	case past.Outcome == zeekapi.OutcomeLost && past.Number == s.resumed:
		s.failf("deployment %d was lost, although it had changed the target", past.Number)
	}
}

// checkJob checks that a job proceeds, also after a restart of the controller: restarted
// nodes stay restarted, and those of a complete job are other processes than before.
func (s *simulation) checkJob(j controller.StoredJob) {
	before := s.state.Job
	switch {
	case before == nil || before.Number != j.Number:
		if before != nil && (before.Ended.IsZero() || j.Number != before.Number+1) {
			s.failf("job %d begins after job %d, which has ended at %v", j.Number, before.Number, before.Ended)
		}
		s.processes = make(map[string]int64)
		for _, a := range s.agents {
			s.processes["w"+a.name] = a.pid
		}
	case !before.Ended.IsZero():
		s.failf("job %d changes after its end", j.Number)
	case len(j.Done) < len(before.Done) || !slices.Equal(j.Done[:len(before.Done)], before.Done):
		s.failf("job %d had restarted %v, and then %v", j.Number, before.Done, j.Done)
	}
	if j.Ended.IsZero() {
		return
	}
	s.jobs[jobOutcome(j)]++
	for _, a := range s.agents {
		if name := "w" + a.name; slices.Contains(j.Done, name) && a.pid == s.processes[name] {
			s.failf("job %d has restarted %s, but the process is the same", j.Number, name)
		}
	}
}

// jobOutcome returns the outcome of a job, without names.
func jobOutcome(j controller.StoredJob) string {
	switch _, reason, found := strings.Cut(j.Error, ": "); {
	case j.Error == "":
		return "complete"
	case found:
		return reason
	case strings.Contains(j.Error, "is not back"):
		return "not back"
	case strings.Contains(j.Error, "no longer part"):
		return "no longer part"
	}
	return j.Error
}

// checkTarget checks that a new target, without stopped nodes, passed the check of all agents that can check,
// and that no impostor replaced, and that all instances have agents,
// unless that was not required or the target is the one before. The first deployment
// does not wait for all agents. The controller leaves the agent of an instance that moved.
func (s *simulation) checkTarget(c zeekapi.Configuration) {
	last := s.state.History[len(s.state.History)-1]
	if i := slices.IndexFunc(s.state.History, func(p controller.Past) bool { return p.Number == s.resumed && p.Outcome == zeekapi.OutcomePending }); i >= 0 && s.state.History[i].Config != c.ID {
		s.targetBefore = c.ID // rolled back
		return
	}
	if last.Action == "force" || last.Action == "partial" || c.ID == s.targetBefore || len(s.state.Configs[controller.Deployed].Nodes) == 0 {
		return
	}
	before := make(map[string]zeekapi.Instance)
	for _, i := range s.state.Configs[controller.Target].Instances {
		before[i.Name] = i
	}
	for _, i := range c.Instances {
		a, holder := s.byName[i.Name], s.machine.AgentOf(i.Name)
		if w, ok := before[i.Name]; holder == uuid.Nil && !slices.Contains(s.state.Drained, i.Name) && (!ok || w == i) {
			s.failf("%s is the target, but %s has no agent", c.ID, i.Name)
		}
		if a == nil || s.impostors.fooled[a.name] || !s.machine.Checks(a.name) || slices.Contains(s.state.Drained, a.name) {
			continue
		}
		if !a.passed[c.ID] && !s.stopped("w"+a.name) || a.checked[c.ID] != holder {
			s.failf("%s is the target, but the agent %s of %s did not pass its check", c.ID, holder, i.Name)
		} else if !s.stopped("w"+a.name) && !s.portsAreFree(a, c.Nodes) {
			s.failf("%s is the target, but has ports that are in use on %s", c.ID, i.Name)
		}
	}
}

func (s *simulation) checkToAgent(o controller.ToAgent) {
	var config string
	switch msg := o.Message.(type) {
	case zeekapi.AgentDeployRequest:
		config = msg.Config.ID
	case zeekapi.AgentDeployNodesRequest:
		config = msg.Config
		if runs := len(msg.Nodes) > 0; runs == s.stopped("w"+o.Instance) {
			s.failf("%s gets %s with its node: %t, but the node is stopped: %t", o.Instance, config, runs, !runs)
		}
	default:
		return
	}
	if !s.machine.IsReady(o.Instance) {
		s.failf("%s gets %s, but is not ready", o.Instance, config)
	}
	if slices.Contains(s.state.Drained, o.Instance) {
		s.failf("%s gets %s, but is drained", o.Instance, config)
	}
	if target := s.state.Configs[controller.Target].ID; config != target {
		s.failf("%s gets %s, the target is %s", o.Instance, config, target)
	}
}

// check runs after each step. In a large cluster, it runs the slow checks only after
// some steps.
func (s *simulation) check(agent string) {
	for id, deadline := range s.pending {
		if deadline.Before(s.now) {
			s.failf("%s: no response in time", id)
		}
	}
	peers, requests := s.machine.Held()
	if peers > len(s.peers) {
		s.failf("%d peers held, but %d are connected", peers, len(s.peers))
	}
	if most := len(s.pending) + 2*len(s.agents) + 4; requests > most {
		s.failf("%d requests held, but only %d are pending, besides the controller's own", requests, len(s.pending))
	}
	if now, most := s.machine.JobNow(); now > most {
		s.failf("%d nodes restart at once, want at most %d", now, most)
	}
	if agent != "" {
		s.checkReady(agent)
	}
	if len(s.agents) <= 100 {
		for _, a := range s.agents {
			s.checkHolder(a.name)
		}
	}
	if every := len(s.agents) / 4; every < 2 || s.steps%every == 0 {
		s.checkAll()
	}
}

func (s *simulation) checkAll() {
	if err := s.machine.Check(); err != nil {
		s.failf("%v", err)
	}
	for _, name := range s.machine.Ready() {
		s.checkReady(name)
	}
}

func (s *simulation) checkReady(name string) {
	if p := s.machine.AgentOf(name); s.machine.IsReady(name) && !s.greeted[p] {
		s.failf("%s is ready, but its agent %s did not respond to a welcome request", name, p)
	}
}

// checkLast checks that the last deployment, which began without faults, was
// successful.
func (s *simulation) checkLast(config string) {
	var past controller.Past
	if n := len(s.state.History); n > 0 {
		past = s.state.History[n-1]
	}
	if past.Config != config || past.Outcome != zeekapi.OutcomeDeployed {
		s.failf("at the end, the last deployment, of %q, is %q: %v", past.Config, past.Outcome, past.Errors)
	}
}

// checkEnd checks that without faults all agents of the target run it with the
// deployed layout or addresses, and that other agents run nothing. An impostor may
// have taken a message in place of an agent.
func (s *simulation) checkEnd() {
	if j := s.state.Job; j != nil && j.Ended.IsZero() && len(s.agents) <= 4 {
		s.failf("at the end, job %d has not ended: now %v, next %v", j.Number, j.Now, j.Next)
	}
	target, ok := s.state.Configs[controller.Target]
	if !ok || slices.ContainsFunc(target.Instances, func(i zeekapi.Instance) bool {
		return i.Name == "missing" && !slices.Contains(s.state.Drained, i.Name)
	}) {
		return
	}
	deployed := s.state.Configs[controller.Deployed]
	if deployed.ID != target.ID {
		s.failf("at the end, %s is deployed instead of %s", deployed.ID, target.ID)
	}
	layout := layoutOf(deployed)
	wanted := make(map[string]bool)
	for _, i := range target.Instances {
		wanted[i.Name] = !slices.Contains(s.state.Drained, i.Name)
	}
	same := make(map[*zeekapi.Instance]bool) // instance lists that are known to be equal
	for _, a := range s.agents {
		var at *zeekapi.Instance
		if len(a.instances) > 0 {
			at = &a.instances[0]
		}
		switch {
		case !wanted[a.name]:
			if a.running != "" && !s.impostors.fooled[a.name] {
				s.failf("at the end, %s runs %q instead of nothing", a.name, a.running)
			}
		case a.running != target.ID:
			s.failf("at the end, %s runs %q instead of %s; %d are ready, pending %v",
				a.name, a.running, target.ID, len(s.machine.Ready()), slices.Collect(maps.Keys(s.pending)))
		case a.stopped != s.stopped("w"+a.name) && !s.impostors.fooled[a.name]:
			s.failf("at the end, the node of %s is left out: %t, but it is stopped: %t", a.name, a.stopped, !a.stopped)
		case a.layout != "" && a.layout != layout && !s.impostors.fooled[a.name]:
			s.failf("at the end, %s runs %s with another layout than is deployed", a.name, target.ID)
		case a.layout == "" && !same[at] && !s.impostors.fooled[a.name] && !slices.Equal(a.instances, deployed.Instances):
			s.failf("at the end, %s runs %s with other addresses than are deployed:\n%v\n%v", a.name, target.ID, a.instances, deployed.Instances)
		default:
			same[at] = true
		}
	}
}
