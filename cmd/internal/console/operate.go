package console

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// verb is an action for several nodes at once.
type verb struct {
	Name   string // in addresses
	Title  string
	Danger bool
	effect func(nodes string, atOnce int) string
	call   *zeekapi.Request
	ask    func(nodes []string) zeekapi.Message // nil for a rolling restart
}

const rollingName = "rolling-restart"

// verbs are the actions for several nodes, in the order of the form.
var verbs = []verb{
	{
		Name: rollingName, Title: "Restart one after the other", call: zeekapi.RollingRestartCall.Request,
		effect: func(nodes string, atOnce int) string {
			return fmt.Sprintf("Restarts %s, %d at a time: loggers first, then managers, proxies and workers. The next ones follow when those before run again. "+
				"A node processes no traffic while it restarts. The rolling restart ends early if a node does not come up.", nodes, atOnce)
		},
	},
	{
		Name: "restart", Title: "Restart at once", Danger: true, call: zeekapi.RestartCall.Request,
		effect: func(nodes string, _ int) string {
			return fmt.Sprintf("Restarts %s at the same time. They process no traffic meanwhile.", nodes)
		},
		ask: askRestart,
	},
	{
		Name: "stop", Title: "Stop", Danger: true, call: zeekapi.StopCall.Request,
		effect: func(nodes string, _ int) string {
			return fmt.Sprintf("Stops %s. They stay stopped until you start them, also over deployments and restarts.", nodes)
		},
		ask: askStop,
	},
	{
		Name: "start", Title: "Start", call: zeekapi.StopCall.Request,
		effect: func(nodes string, _ int) string {
			return fmt.Sprintf("Starts %s, as far as they were stopped.", nodes)
		},
		ask: askStart,
	},
}

// The requests of actions for nodes.
func askRestart(nodes []string) zeekapi.Message { return zeekapi.RestartRequest{Nodes: nodes} }
func askStop(nodes []string) zeekapi.Message    { return zeekapi.StopRequest{Nodes: nodes, Stop: true} }
func askStart(nodes []string) zeekapi.Message   { return zeekapi.StopRequest{Nodes: nodes} }

func verbNamed(name string) (verb, error) {
	for _, v := range verbs {
		if v.Name == name {
			return v, nil
		}
	}
	return verb{}, notFound("There is no action %q.", name)
}

// operateView is the page for choosing nodes and an action.
type operateView struct {
	Stale *staleness
	Verbs []verb
	Words []string // that select nodes, as suggestions
	Most  int      // nodes at a time
	Job   *zeekapi.Job
	May   bool
}

// maxWords limits the suggestions.
const maxWords = 300

func (c *Console) operate(r *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	if name := r.FormValue("do"); name != "" {
		return c.confirmVerb(r, v, s, name)
	}
	o := operateView{Stale: stale(s), Verbs: verbs, Words: words(s.Config), Most: maxAtOnce, Job: s.Status.Job, May: v.May(zeekapi.RestartCall.Request)}
	return view{Name: "operate", Title: "Operate", Data: o, Still: true}, nil
}

// words returns the words that select nodes of a configuration, those for several nodes first.
func words(config zeekapi.Configuration) []string {
	all, groups := map[string]bool{}, map[string]bool{}
	var roles, nodes, instances []string
	for _, n := range config.Nodes {
		if role := "role:" + strings.ToLower(string(n.Role)); !all[role] {
			all[role] = true
			roles = append(roles, role)
		}
		for _, g := range n.Groups() {
			groups["group:"+g] = true
		}
		nodes = append(nodes, n.Name)
	}
	for _, i := range config.Instances {
		instances = append(instances, "instance:"+i.Name)
	}
	list := slices.Concat(roles, slices.Sorted(maps.Keys(groups)), instances, nodes)
	return list[:min(len(list), maxWords)]
}

// choice is a selection of nodes, with an action.
type choice struct {
	Verb   verb
	Text   string // words that select the nodes, "" for all
	AtOnce int    // of a rolling restart
	Nodes  []string
}

// maxAtOnce is the largest number of nodes that a rolling restart restarts at a time here.
const maxAtOnce = 1000

// choose reads a choice from a form.
func choose(r *http.Request, s snapshot, name string) (choice, error) {
	do, err := verbNamed(name)
	if err != nil {
		return choice{}, err
	}
	ch := choice{Verb: do, AtOnce: 1, Text: strings.TrimSpace(r.FormValue("nodes"))}
	if text := r.FormValue("at"); text != "" {
		if ch.AtOnce, err = strconv.Atoi(text); err != nil || ch.AtOnce < 1 || ch.AtOnce > maxAtOnce {
			return ch, &failure{http.StatusUnprocessableEntity, fmt.Sprintf("The number of nodes at a time is %.20q, want a number from 1 to %d.", text, maxAtOnce)}
		}
	}
	if len(s.Config.Nodes) == 0 {
		return ch, &failure{http.StatusConflict, "No configuration with nodes is deployed."}
	}
	q := selection.Query{Words: strings.FieldsFunc(ch.Text, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })}
	if ch.Nodes, err = q.Nodes(s.Config); err != nil {
		return ch, &failure{http.StatusUnprocessableEntity, "The nodes cannot be selected: " + err.Error() + "."}
	}
	return ch, nil
}

// Count returns the number of nodes as text.
func (ch choice) Count() string { return countText(len(ch.Nodes), "node") }

// Effect describes the effect of the action.
func (ch choice) Effect() string { return ch.Verb.effect(ch.Count(), ch.AtOnce) }

// Mark identifies the nodes, so that a confirmation counts for these nodes only.
func (ch choice) Mark() string {
	sum := sha256.Sum256([]byte(strings.Join(ch.Nodes, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// Rolling reports whether the nodes restart one after the other.
func (ch choice) Rolling() bool { return ch.Verb.ask == nil }

// confirmation is the page that asks whether to perform an action.
type confirmation struct {
	choice
	Shown []string
	More  int
	Job   *zeekapi.Job // that is under way
}

func (c *Console) confirmVerb(r *http.Request, v Visitor, s snapshot, name string) (view, error) {
	ch, err := choose(r, s, name)
	if err != nil {
		return view{}, err
	}
	if !v.May(ch.Verb.call) {
		return view{}, v.refusal()
	}
	p := confirmation{choice: ch, Shown: ch.Nodes}
	if n := len(p.Shown); n > maxProgress {
		p.Shown, p.More = p.Shown[:maxProgress], n-maxProgress
	}
	if j := s.Status.Job; j != nil && j.Ended.IsZero() && ch.Rolling() {
		p.Job = j
	}
	return view{Name: "confirm", Title: ch.Verb.Title, Data: p, Still: true}, nil
}

// perform returns the handler of a confirmed action.
func (c *Console) perform(do verb) func(*http.Request, Visitor) (string, error) {
	return func(r *http.Request, v Visitor) (string, error) {
		s, _ := c.watch.get()
		ch, err := choose(r, s, do.Name)
		if err != nil {
			return "", err
		}
		if r.FormValue("mark") != ch.Mark() {
			return "", &failure{http.StatusConflict, "Nothing was done: other nodes are selected now than those that you have seen. Look at them again."}
		}
		if !ch.Rolling() {
			o := operation{Title: do.Title + ": " + ch.Count(), By: v, Back: "/operate"}
			return c.start(o, do.ask(ch.Nodes), (*running).finishNodes)
		}
		ctx, cancel := within(r, client.DefaultTimeout)
		defer cancel()
		job, err := v.Client.RollingRestart(ctx, ch.Nodes, nil, uint64(ch.AtOnce))
		return jobPath(job.Number), err
	}
}

func jobPath(number uint64) string { return "/rolling-restart/" + strconv.FormatUint(number, 10) }

// jobView is the page of a rolling restart.
type jobView struct {
	Stale     *staleness
	Job       *zeekapi.Job // nil: not known yet
	Later     uint64       // number of a later one, 0 for none
	All       int
	MayCancel bool
}

// Shown returns the first names of a list, for the page.
func (jobView) Shown(names []string) string {
	const most = 40
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (c *Console) job(r *http.Request, v Visitor) (view, error) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil || number == 0 {
		return view{}, notFound("%q is not the number of a rolling restart.", r.PathValue("number"))
	}
	s, _ := c.watch.get()
	j := jobView{Stale: stale(s), MayCancel: v.May(zeekapi.CancelJobCall.Request)}
	x := view{Name: "job", Title: "Rolling restart " + strconv.FormatUint(number, 10)}
	switch last := s.Status.Job; {
	case last != nil && last.Number == number:
		j.Job, j.All = last, len(last.Done)+len(last.Now)+len(last.Next)
	case last != nil && last.Number > number:
		j.Later = last.Number
	}
	if j.Later == 0 && (j.Job == nil || j.Job.Ended.IsZero()) {
		x.Poll = c.watch.busy
		c.watch.refresh()
	}
	x.Data = j
	return x, nil
}

func (c *Console) cancelJob(r *http.Request, v Visitor) (string, error) {
	ctx, cancel := within(r, client.DefaultTimeout)
	defer cancel()
	job, err := v.Client.CancelJob(ctx)
	return jobPath(job.Number), err
}

// instanceNodes returns the address of a confirmation for the nodes of a machine.
func instanceNodes(do, machine string) string {
	return "/operate?" + url.Values{"do": {do}, "nodes": {"instance:" + machine}}.Encode()
}
