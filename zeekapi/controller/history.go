package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
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

// action is the kind of request that began a deployment.
type action string

// The actions, as the history shows them.
const (
	actionDeploy   action = "deploy"
	actionForce    action = "force"
	actionPartial  action = "partial"
	actionRollback action = "rollback"
	actionSet      action = "set-configuration"
)

// history keeps the last deployments of clients.
type history struct {
	*outbox
	events *eventLog
	log    zerolog.Logger
	past   []pastRevision // the oldest first
}

// pastRevision is an entry of the history.
type pastRevision struct {
	zeekapi.Deployment
	revision   revision
	commitment *Commitment
}

func (p pastRevision) stored() Past {
	return Past{p.Deployment, p.revision.Configuration, p.commitment}
}

func newHistory(out *outbox, events *eventLog, configs *configurations, stored []Past, log zerolog.Logger) *history {
	h := &history{outbox: out, events: events, log: log}
	for _, p := range stored {
		h.past = append(h.past, pastRevision{p.Deployment, configs.revise(p.Configuration), p.Commitment})
	}
	return h
}

// endLost ends the deployment that the end of the controller interrupted before it
// changed anything.
func (h *history) endLost(target revision) {
	for i := range h.past {
		p := &h.past[i]
		if p.Outcome != zeekapi.OutcomePending || p.commitment != nil {
			continue
		}
		p.Outcome, p.Ended = zeekapi.OutcomeLost, h.now
		p.Errors = []string{"the controller ended before the deployment began; nothing has changed"}
		if p.Config == target.ID { // an earlier version stores no commitment
			p.Errors = []string{"the controller ended before the deployment did"}
		}
		h.save(*p)
	}
}

// interrupted returns the deployment that the end of the controller interrupted, after
// it had changed the target.
func (h *history) interrupted() (pastRevision, bool) {
	for _, p := range slices.Backward(h.past) {
		if p.Outcome == zeekapi.OutcomePending && p.commitment != nil {
			return p, true
		}
	}
	return pastRevision{}, false
}

// commit stores what the next life of the controller needs to end a deployment.
func (h *history) commit(number uint64, c Commitment) {
	h.change(number, func(p *pastRevision) { p.commitment = &c })
}

// change changes an entry and stores it. Nothing happens if it is no longer there.
func (h *history) change(number uint64, do func(*pastRevision)) {
	i := slices.IndexFunc(h.past, func(p pastRevision) bool { return p.Number == number })
	if i >= 0 {
		do(&h.past[i])
		h.save(h.past[i])
	}
}

func (h *history) save(p pastRevision) {
	h.emit(SaveDeployment{Past: p.stored(), Oldest: h.past[0].Number})
}

// begin adds a deployment that a client requested, and returns its number.
func (h *history) begin(by, request string, a action, r revision) uint64 {
	p := pastRevision{
		Deployment: zeekapi.Deployment{
			Number: 1, Config: r.ID, Action: string(a), By: by, Started: h.now,
			Outcome: zeekapi.OutcomePending,
		},
		revision: r,
	}
	if n := len(h.past); n > 0 {
		p.Number = h.past[n-1].Number + 1
	}
	h.past = append(h.past, p)
	h.trim()
	h.save(p)
	h.log.Info().Str("by", by).Str("request", clip(request)).Str("config", clip(r.ID)).Str("action", string(a)).Msg("deploying")
	h.events.add(zeekapi.EventDeploying, "", "", fmt.Sprintf("%s of configuration %s by %s", a, clip(r.ID), by))
	return p.Number
}

// trim removes the oldest entries if there are too many.
func (h *history) trim() {
	bytes, keep := 0, 0
	for _, p := range slices.Backward(h.past) {
		bytes += size(p.revision.Configuration)
		if keep == maxHistory || keep >= 2 && bytes > maxHistoryBytes {
			break
		}
		keep++
	}
	h.past = slices.Delete(h.past, 0, len(h.past)-keep)
}

// revise replaces the configuration of a deployment, before its agents get it.
func (h *history) revise(number uint64, r revision) {
	h.change(number, func(p *pastRevision) { p.revision = r })
}

// end ends a deployment.
func (h *history) end(number uint64, outcome zeekapi.Outcome, results []zeekapi.Result) {
	var p pastRevision
	h.change(number, func(entry *pastRevision) {
		entry.Outcome, entry.Ended, entry.Errors, entry.commitment = outcome, h.now, errorsOf(results), nil
		p = *entry
	})
	line := h.log.Info()
	if outcome != zeekapi.OutcomeDeployed {
		line = h.log.Warn().Str("errors", clip(strings.Join(p.Errors, "; ")))
	}
	line.Str("by", p.By).Str("config", clip(p.Config)).Str("outcome", string(outcome)).Msg("deployment ended")
	h.events.addAbout(string(outcome), zeekapi.EventDeployed, "", "", fmt.Sprintf("configuration %s: %s", clip(p.Config), outcome))
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
		if outputs, ok := dataOf[zeekapi.NodeOutputs](res.Data); ok {
			lines := strings.Split(strings.TrimSpace(outputs.Stderr), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(text, last) { // ours have the reason as output if there is none
				text += ": " + last
			}
		}
		for _, name := range []string{res.Node, res.Instance} {
			if name != "" && !strings.Contains(text, "instance "+name) {
				text = name + ": " + text
			}
		}
		errs = append(errs, clip(text))
	}
	return errs
}

// last returns the last deployment.
func (h *history) last() (zeekapi.Deployment, bool) {
	if len(h.past) == 0 {
		return zeekapi.Deployment{}, false
	}
	return h.past[len(h.past)-1].Deployment, true
}

// list returns the last deployments, the newest first. A limit of zero means
// all of them.
func (h *history) list(limit uint64) []zeekapi.Deployment {
	var list []zeekapi.Deployment
	for _, p := range slices.Backward(h.past) {
		if limit > 0 && uint64(len(list)) >= limit {
			break
		}
		list = append(list, p.Deployment)
	}
	return list
}

// find returns the configuration of a deployment.
func (h *history) find(number uint64) (revision, bool) {
	i := slices.IndexFunc(h.past, func(p pastRevision) bool { return p.Number == number })
	if i < 0 {
		return revision{}, false
	}
	return h.past[i].revision, true
}

// lastOther returns the configuration of the last successful deployment that
// differs from target.
func (h *history) lastOther(target revision) (revision, bool) {
	now := mustMarshal(target.Configuration)
	for _, p := range slices.Backward(h.past) {
		if p.Outcome != zeekapi.OutcomeDeployed {
			continue
		}
		if p.Config != target.ID || !broker.Equal(mustMarshal(p.revision.Configuration), now) {
			return p.revision, true
		}
	}
	return revision{}, false
}

// numberOf returns the number of the last deployment of a configuration before
// another deployment, 0 if there is none.
func (h *history) numberOf(r revision, before uint64) uint64 {
	for _, p := range slices.Backward(h.past) {
		if p.Number < before && p.Config == r.ID && p.Outcome != zeekapi.OutcomeRefused {
			return p.Number
		}
	}
	return 0
}

// deployedBefore reports whether a client had a configuration with that ID
// deployed before the last deployment. An agent that missed the deployments in
// between still runs it, perhaps with other addresses.
func (h *history) deployedBefore(id string) bool {
	earlier := h.past[:max(0, len(h.past)-1)]
	return slices.ContainsFunc(earlier, func(p pastRevision) bool { return p.Config == id && p.Outcome != zeekapi.OutcomeRefused })
}
