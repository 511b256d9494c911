package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// How many deployments are kept. Those of large clusters are fewer: all their
// configurations take only so many bytes, see size, but for the last two.
const (
	maxHistory      = 100
	maxHistoryBytes = 64 << 20
)

// size returns about how many bytes a configuration takes. Clients choose what
// is in it, and a single node can be as large as a message.
func size(c zeekapi.Configuration) int {
	const perInstance, perNode, perItem = 100, 300, 50
	n := len(c.ID) + len(c.Instances)*perInstance + len(c.Nodes)*perNode
	for i := range c.Instances {
		n += len(c.Instances[i].Name)
	}
	for i := range c.Nodes {
		node := &c.Nodes[i]
		n += len(node.Name) + len(node.Instance) + len(node.Interface)
		for _, script := range node.Scripts {
			n += perItem + len(script)
		}
		for _, o := range node.Options {
			n += perItem + len(o.Name) + len(o.Value)
		}
		for name, value := range node.Env {
			n += perItem + len(name) + len(value)
		}
	}
	return n
}

// What clients do that begins a deployment.
const (
	actionDeploy   = "deploy"
	actionForce    = "force"
	actionRollback = "rollback"
	actionSet      = "set-configuration"
)

// record begins an entry of the history.
func (m *Machine) record(by broker.Peer, r *request, action string) {
	r.number = 1
	if n := len(m.history); n > 0 {
		r.number = m.history[n-1].Number + 1
	}
	past := Past{
		Deployment: zeekapi.Deployment{
			Number: r.number, Config: r.target.ID, Action: action, By: who(by), Started: m.now,
			Outcome: zeekapi.OutcomePending,
		},
		Configuration: r.target,
	}
	m.history = append(m.history, past)
	bytes, keep := 0, 0
	for _, p := range slices.Backward(m.history) {
		bytes += size(p.Configuration)
		if keep == maxHistory || keep >= 2 && bytes > maxHistoryBytes {
			break
		}
		keep++
	}
	m.history = slices.Delete(m.history, 0, len(m.history)-keep)
	m.emit(SaveDeployment{Past: past, Oldest: m.history[0].Number})
	m.log.Info().Str("by", who(by)).Str("request", clip(r.id)).Str("config", clip(r.target.ID)).Str("action", action).Msg("deploying")
	m.event(zeekapi.EventDeploying, "", "", fmt.Sprintf("%s of configuration %s by %s", action, clip(r.target.ID), who(by)))
}

// recordEnd ends the entry of a client's deployment, which is the last.
func (m *Machine) recordEnd(r *request, outcome zeekapi.Outcome, results []zeekapi.Result) {
	if r.number == 0 {
		return
	}
	past := &m.history[len(m.history)-1]
	past.Outcome, past.Ended, past.Errors = outcome, m.now, errorsOf(results)
	m.emit(SaveDeployment{Past: *past, Oldest: m.history[0].Number})
	line := m.log.Info()
	if outcome != zeekapi.OutcomeDeployed {
		line = m.log.Warn().Str("errors", clip(strings.Join(past.Errors, "; ")))
	}
	line.Str("by", past.By).Str("config", clip(past.Config)).Str("outcome", string(outcome)).Msg("deployment ended")
	m.event(zeekapi.EventDeployed, "", "", fmt.Sprintf("configuration %s: %s", clip(past.Config), outcome))
}

// errorsOf returns what failed, for people.
func errorsOf(results []zeekapi.Result) []string {
	const most = 100
	var errs []string
	for _, res := range results {
		if res.Success {
			continue
		}
		if len(errs) == most {
			return append(errs, "and more")
		}
		text := res.Error
		if text == "" {
			text = "failed"
		}
		var outputs zeekapi.NodeOutputs
		if !res.Data.IsNone() && record.Unmarshal(res.Data, &outputs) == nil {
			lines := strings.Split(strings.TrimSpace(outputs.Stderr), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(text, last) { // ours have the reason as output if there is none
				text += ": " + last
			}
		}
		for _, name := range []string{res.Node, res.Instance} {
			if name != "" {
				text = name + ": " + text
			}
		}
		errs = append(errs, clip(text))
	}
	return errs
}

func (m *Machine) past(number uint64) (Past, bool) {
	i := slices.IndexFunc(m.history, func(p Past) bool { return p.Number == number })
	if i < 0 {
		return Past{}, false
	}
	return m.history[i], true
}

func (m *Machine) historyRequest(req zeekapi.HistoryRequest) {
	var list []zeekapi.Deployment
	for _, p := range slices.Backward(m.history) {
		if req.Limit > 0 && uint64(len(list)) >= req.Limit {
			break
		}
		list = append(list, p.Deployment)
	}
	m.answer(zeekapi.HistoryResponse{ReqID: req.ReqID, Result: successWith(req.ID, list)})
}

func (m *Machine) getPast(req zeekapi.GetPastRequest) {
	result := zeekapi.Failure(req.ID, "no deployment %d in the history", req.Number)
	if p, ok := m.past(req.Number); ok {
		result = successWith(req.ID, p.Configuration)
	}
	m.answer(zeekapi.GetPastResponse{ReqID: req.ReqID, Result: result})
}

func (m *Machine) rollback(by broker.Peer, req zeekapi.RollbackRequest) {
	r := m.begin(by, req.ID, func(id zeekapi.ReqID, results []zeekapi.Result) zeekapi.Message {
		return zeekapi.RollbackResponse{ReqID: id, Results: results}
	})
	if r == nil {
		return
	}
	if m.pending() != nil {
		m.refuse(r, errPending)
		return
	}
	to, ok := m.past(req.Number)
	if req.Number == 0 {
		to, ok = m.lastOther()
	}
	switch {
	case ok:
		m.deploy(by, r, actionRollback, to.Configuration)
	case req.Number == 0:
		m.fail(r, "no other configuration was deployed before")
	default:
		m.fail(r, "no deployment %d in the history", req.Number)
	}
}

// lastOther returns the last deployment that went well and of another
// configuration than the target.
func (m *Machine) lastOther() (Past, bool) {
	target := m.configs[Target]
	now := mustMarshal(target)
	for _, p := range slices.Backward(m.history) {
		if p.Outcome != zeekapi.OutcomeDeployed {
			continue
		}
		if p.Config != target.ID || !broker.Equal(mustMarshal(p.Configuration), now) {
			return p, true
		}
	}
	return Past{}, false
}
