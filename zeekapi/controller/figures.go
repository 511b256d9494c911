package controller

import (
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// measures reports whether an agent knows the requests for measurements and scripts.
func (a *agent) measures() bool { return a.revision >= 2 }

// maxAnswers limits the memory of the answers of all agents to one request, in bytes.
const maxAnswers = 128 << 20

// Reasons why the measurements of an instance are missing.
const (
	noFigures      reason = "agent sent something else than measurements"
	noScripts      reason = "agent sent something else than scripts"
	tooMuch        reason = "the answers of all agents are too large"
	zeeksMeasure   reason = "Zeek's own agent does not measure nodes and disks"
	earlierMeasure reason = "the agent is of an earlier version, which does not measure nodes and disks"
)

// answers counts the memory of the answers to one request, in bytes.
type answers struct{ memory int }

// take reports whether there is room for the data of an answer.
func (a *answers) take(data broker.Value) bool {
	a.memory += data.Memory()
	return a.memory <= maxAnswers
}

// figuresReport is the task of a request for measurements. The results have
// zeekapi.InstanceFigures as their data.
type figuresReport struct {
	basicTask
	answers
	overview *overview
}

func (t *figuresReport) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	response, ok := msg.(zeekapi.AgentFiguresResponse)
	if !ok {
		return t.acceptNodes(c, msg)
	}
	result := response.Result
	switch figures, ok := dataOf[zeekapi.InstanceFigures](result.Data); {
	case !ok || result.Success && result.Data.IsNone():
		return c.request.unanswered(c.instance, noFigures), true
	case len(figures.Nodes) > maxNodesTold || !t.take(result.Data):
		return c.request.unanswered(c.instance, tooMuch), true
	}
	return []zeekapi.Result{result}, true
}

// acceptNodes takes the nodes of an agent that does not measure them.
func (t *figuresReport) acceptNodes(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	results, ok := takeStatus{}.accept(c, msg)
	if !ok || len(results) != 1 || results[0].Error != "" || !t.take(results[0].Data) {
		return results, ok
	}
	nodes, _ := dataOf[[]zeekapi.NodeDetail](results[0].Data) // takeStatus has checked the data
	why := zeeksMeasure
	if c.agent != nil && c.agent.isOurs() {
		why = earlierMeasure
	}
	results[0].Data = mustMarshal(zeekapi.InstanceFigures{Nodes: nodes, Note: string(why)})
	return results, true
}

func (t *figuresReport) ended(r *request) {
	r.results = []zeekapi.Result{successWith(r.id, t.overview.figures(r.results))}
}

// requestFigures asks all agents for their measurements.
func (o *overview) requestFigures(by broker.Peer, req zeekapi.FiguresRequest) {
	r := o.requests.begin(by, req)
	if r == nil {
		return
	}
	o.requests.setTimeout(r, statusTimeout)
	r.task = &figuresReport{overview: o}
	for _, name := range o.agents.names() {
		o.requests.call(r, name, joint(r, askFigures(o.agents.of(name), req.MaxAge)))
	}
	o.requests.settle(r)
}

// askFigures asks an agent for its measurements, or for its nodes if it has no measurements.
func askFigures(a *agent, maxAge time.Duration) question {
	if !a.measures() {
		return askStatus
	}
	return question{message: func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentFiguresRequest{ReqID: id, MaxAge: maxAge}
	}}
}

// figures returns the measurements in the answers of agents, and the nodes that should run
// on instances that did not answer.
func (o *overview) figures(answers []zeekapi.Result) zeekapi.Figures {
	byInstance := byName(answers, func(res zeekapi.Result) string { return res.Instance })
	f := zeekapi.Figures{Controller: o.settings.Name}
	if o.directories != nil {
		f.Directories = o.directories()
	}
	silent := o.silentNodes(byInstance)
	for _, name := range o.instances() {
		var i zeekapi.InstanceFigures
		res, ok := byInstance[name]
		switch {
		case ok && res.Error != "":
			i.Error = clip(res.Error)
		case ok:
			i, _ = dataOf[zeekapi.InstanceFigures](res.Data) // figuresReport has checked the data
		case o.agents.of(name) == nil && o.names.drained(name):
			i.Note = string(drained)
		case o.agents.of(name) == nil:
			i.Error = string(notConnected)
		default:
			i.Error = "no answer when asked for measurements"
		}
		i.Instance = name
		i.Nodes = append(i.Nodes, silent[name]...)
		f.Instances = append(f.Instances, i)
	}
	return f
}

// takeScripts is the task of a request for scripts.
type takeScripts struct {
	basicTask
	answers
}

func (t *takeScripts) accept(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	response, ok := msg.(zeekapi.AgentScriptsResponse)
	if !ok {
		return nil, false
	}
	if len(response.Results) > maxNodesTold {
		return c.request.unanswered(c.instance, tooMuch), true
	}
	results := slices.Clone(response.Results)
	for i, r := range results {
		why := tooMuch
		if t.take(r.Data) {
			why = noScripts
			if scripts, ok := dataOf[zeekapi.NodeScripts](r.Data); ok && len(scripts.Scripts) <= maxScripts {
				continue
			}
		}
		results[i].Success, results[i].Data, results[i].Error = false, broker.None(), string(why)
	}
	return results, true
}

// maxScripts limits the scripts of a node in an answer.
const maxScripts = 20_000

// scripts passes a client's request for the scripts of nodes to the agents.
func (q *queries) scripts(by broker.Peer, req zeekapi.ScriptsRequest) {
	r := q.beginDeployed(by, req)
	if r == nil {
		return
	}
	r.task = &takeScripts{}
	q.forAble(r, req.Nodes, (*agent).measures, func(nodes []string) question {
		return joint(r, question{message: func(id zeekapi.ReqID) zeekapi.Message {
			return zeekapi.AgentScriptsRequest{ReqID: id, Nodes: nodes, All: req.All}
		}})
	})
}
