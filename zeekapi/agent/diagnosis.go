package agent

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/redact"
)

// diagnose serves a request about a node, which need not be assigned any more.
func (m *Machine) diagnose(_ time.Time, req request, msg zeekapi.AgentDiagnoseRequest) {
	if err := zeekapi.CheckName(msg.Node); err != nil { // the name becomes part of a path
		m.out.refuse(req, "no node %q on instance %s", msg.Node, m.settings.Name)
		return
	}
	if why := m.refusesSlow(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	d := zeekapi.Diagnosis{Instance: m.settings.Name}
	if want := m.nodes.wanted(msg.Node); want != nil {
		d.Node = &want.Node
	} else {
		d.Remark = "it is not assigned to this instance"
	}
	details := m.nodes.details()
	if i := slices.IndexFunc(details, func(n zeekapi.NodeDetail) bool { return n.Status.Node == msg.Node }); i >= 0 {
		d.Detail = &details[i]
	}
	m.slow++
	m.out.emit(Diagnose{
		Dialect: req.dialect, ReqID: req.id, Name: msg.Node, Diagnosis: d, Bytes: int(min(cmp.Or(msg.Bytes, LogBytes), MaxLogBytes)),
	})
}

// maxSlow limits the requests that are performed outside the loop at the same time. It is
// less than maxWorkers, so that sites can be completed at the same time.
const maxSlow = 2

// refusesSlow is refuses for requests that are performed outside the loop.
func (m *Machine) refusesSlow(req request) string {
	if why := m.refuses(req); why != "" || m.slow < maxSlow {
		return why
	}
	return errorBusy
}

// diagnose performs Diagnose. It reads files, so the loop does not wait.
func (p *performer) diagnose(out Diagnose) []Input {
	return p.finishLater(out.Dialect, zeekapi.AgentDiagnoseCall.Request, zeekapi.Result{ReqID: out.ReqID, Node: out.Name}, func() (any, error) {
		return p.diagnosis(out)
	})
}

// finishLater does slow work outside the loop. Finished follows, with a response that has the
// result r, completed by the data or the error of the work.
func (p *performer) finishLater(d *zeekapi.Dialect, call *zeekapi.Request, r zeekapi.Result, work func() (any, error)) []Input {
	r.Instance = p.Settings.Name
	begun := p.workers.Do(func() Input {
		if data, err := work(); err != nil {
			r.Error = err.Error()
		} else {
			r.Success, r.Data = true, mustMarshal(data)
		}
		return Finished{d, call.Respond(r.ReqID, r)}
	})
	if begun {
		return nil
	}
	r.Error = errorBusy
	return []Input{Finished{d, call.Respond(r.ReqID, r)}}
}

// diagnosis completes a diagnosis, and masks its secrets. It fails for an unknown node.
func (p *performer) diagnosis(out Diagnose) (zeekapi.Diagnosis, error) {
	d := out.Diagnosis
	if l, ok := p.Launcher.(launch.Diagnoser); ok {
		more := l.Diagnose(out.Name, out.Bytes)
		d.Facts, d.Scripts, d.Limits, d.Files = more.Facts, more.Scripts, more.Limits, more.Files
	}
	if o, ok := p.Launcher.(launch.Outputter); ok {
		d.Outputs, _ = o.Outputs(out.Name, out.Bytes) // without outputs, the rest may help
	}
	if c, ok := p.Launcher.(launch.Crasher); ok {
		d.Crashes = c.Crashes(out.Name)
	}
	known := d.Detail != nil || d.Node != nil || len(d.Crashes) > 0 || d.Outputs != (zeekapi.NodeOutputs{})
	if !known {
		return d, fmt.Errorf("no node %q on instance %s", out.Name, p.Settings.Name)
	}
	d.Facts = append([]zeekapi.Fact{
		{Name: "agent", Value: p.Settings.Version}, {Name: "zeek", Value: p.Settings.Zeek},
		{Name: "time", Value: time.Now().UTC().Format(time.RFC3339)},
	}, d.Facts...)
	return masked(d, environment()), nil
}

// environment returns the environment variables of the agent, which nodes inherit.
func environment() map[string]string {
	env := make(map[string]string)
	for _, v := range os.Environ() {
		if name, value, ok := strings.Cut(v, "="); ok {
			env[name] = value
		}
	}
	return env
}

// masked returns a diagnosis without secrets, also those in environment variables.
func masked(d zeekapi.Diagnosis, env map[string]string) zeekapi.Diagnosis {
	secrets := redact.Secrets(env)
	if d.Node != nil {
		secrets = append(secrets, redact.Secrets(d.Node.Env)...)
		n := *d.Node
		n.Env, n.Options = redact.Env(n.Env), slices.Clone(n.Options)
		for i, o := range n.Options {
			n.Options[i].Value = redact.Env(map[string]string{o.Name: o.Value})[o.Name]
		}
		n.Scripts = slices.Clone(n.Scripts)
		for i := range n.Scripts {
			n.Scripts[i] = redact.Without(secrets, n.Scripts[i])
		}
		d.Node = &n
	}
	mask := func(text *string) { *text = redact.Without(secrets, *text) }
	mask(&d.Outputs.Stdout)
	mask(&d.Outputs.Stderr)
	if d.Detail != nil {
		detail := *d.Detail
		mask(&detail.LastError)
		d.Detail = &detail
	}
	d.Crashes = slices.Clone(d.Crashes)
	for i := range d.Crashes {
		mask(&d.Crashes[i].Reason)
		mask(&d.Crashes[i].Stderr)
		mask(&d.Crashes[i].Backtrace)
	}
	for i := range d.Facts {
		mask(&d.Facts[i].Value)
	}
	for i := range d.Files {
		mask(&d.Files[i].Data)
	}
	return d
}
