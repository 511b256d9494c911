package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// performer carries out the outputs of a machine.
type performer struct {
	Config
	files   stateFiles
	sites   *siteKeeper
	workers *eventloop.Workers[Input] // do slow work outside the loop

	lock *os.File // of the state directory, nil without one
	lost string   // why it is not the agent's any more

	// The last errors when saving the state, "" after a success. They need not be logged
	// again.
	assignmentError, historyError, termError string
}

// perform carries out outputs in order, and returns the inputs that follow. Its
// error is always nil.
func (p *performer) perform(ctx context.Context, out []Output) ([]Input, error) {
	var in []Input
	for _, o := range out {
		in = append(in, p.performOne(ctx, o)...)
	}
	return in, nil
}

func (p *performer) performOne(ctx context.Context, out Output) []Input {
	switch out := out.(type) {
	case Publish:
		p.publish(ctx, out)
	case Keep:
		if a, ok := p.Launcher.(launch.Adopter); ok {
			a.Keep(out.Nodes)
		}
	case Scan:
		return p.scan()
	case Check:
		return p.check(out.Nodes, out.Trial)
	case Start:
		p.Log.Debug().Str("node", out.Node.Name).Str("role", string(out.Node.Role)).Msg("starting node")
		p.Launcher.Start(out.Node)
	case Stop:
		p.Log.Debug().Str("node", out.Node).Msg("stopping node")
		p.Launcher.Stop(out.Node)
	case LimitMemory:
		if l, ok := p.Launcher.(launch.Limiter); ok {
			l.LimitMemory(out.Node, out.Bytes)
		}
	case Dispatch:
		p.dispatch(ctx, out.Request)
	case Read:
		p.publish(ctx, Publish{Dialect: out.Dialect, Message: zeekapi.AgentLogsCall.Respond(out.ReqID, p.read(out))})
	case ReadInterfaces:
		return readInterfaces(out)
	case ListScripts:
		return p.listScripts(ctx, out)
	case Diagnose:
		return p.diagnose(out)
	case Cleanup:
		return p.cleanup(out)
	case StoreSite:
		return p.storeSite(out)
	case KeepSites:
		p.keepSites(out)
	case FreeSpace:
		if p.FreeSpace != nil {
			p.FreeSpace(out.Bytes)
		}
	case Persist:
		err := p.owning(func() error { return p.files.save(out.Assignment, out.Kept) })
		if isNew(&p.assignmentError, err) {
			p.Log.Error().Err(err).Msg("cannot save the configuration, trying again")
		}
		return []Input{Persisted{err}}
	case StoreTerm:
		return p.storeTerm(out)
	case Complain:
		p.Log.Error().Msg(out.Text)
	case Remember:
		err := p.owning(func() error { return p.files.saveHistory(out.Nodes) })
		if isNew(&p.historyError, err) {
			p.Log.Warn().Err(err).Msg("cannot save the history of nodes")
		}
	case Verify:
		return p.verify()
	}
	return nil
}

// storeTerm performs StoreTerm.
func (p *performer) storeTerm(out StoreTerm) []Input {
	p.Log.Info().Uint64("term", out.Term.Number).Str("controller", out.Address).Msg("a controller leads")
	err := p.owning(func() error { return p.files.saveTerm(out.Term) })
	if isNew(&p.termError, err) {
		p.Log.Error().Err(err).Msg("cannot save the term of the leader, trying again")
	}
	return []Input{TermStored{err}}
}

// owning calls save if the agent still has its state directory, and returns an error if
// it does not have it before or afterwards.
func (p *performer) owning(save func() error) error {
	err := p.own()
	if err == nil {
		err = save()
	}
	if err == nil {
		err = p.own()
	}
	return err
}

// own returns why the agent does not have its state directory, nil if it has.
func (p *performer) own() error {
	if p.lock == nil {
		return nil
	}
	return dirlock.Lost(p.lock)
}

// verify reports whether the agent still has its state directory, if that has changed.
func (p *performer) verify() []Input {
	err := p.own()
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why == p.lost {
		return nil
	}
	p.lost = why
	if err != nil {
		p.Log.Error().Err(err).Msg("lost the state directory, deployments are refused")
	} else {
		p.Log.Info().Msg("the state directory is back")
	}
	return []Input{StorageChanged{why}}
}

// isNew reports whether an error differs from the last one of its kind.
func isNew(last *string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	changed := text != *last
	*last = text
	return changed && err != nil
}

// scan makes the launcher look for changed scripts. If the launcher is no
// launch.Scanner, scan reports no changes.
func (p *performer) scan() []Input {
	if s, ok := p.Launcher.(launch.Scanner); ok {
		s.Scan()
		return nil
	}
	return []Input{Launched{launch.Edited{}}}
}

// check makes the launcher check nodes. If it cannot, only their layouts are
// checked.
func (p *performer) check(nodes []launch.Node, trial bool) []Input {
	if c, ok := p.Launcher.(launch.Checker); ok {
		c.Check(nodes, trial)
		return nil
	}
	var checked []Input
	for _, n := range nodes {
		_, err := n.Layout.Members()
		checked = append(checked, Launched{launch.Checked{Node: n, Trial: trial, Err: err}})
	}
	return checked
}

// dispatch sends a request to nodes, by the launcher or on the bus.
func (p *performer) dispatch(ctx context.Context, req zeekapi.NodeDispatchRequest) {
	if d, ok := p.Launcher.(launch.Dispatcher); ok {
		if req.Nodes = d.Dispatch(req); len(req.Nodes) == 0 { // on the bus, no names would mean all nodes
			return
		}
	}
	p.send(ctx, uuid.Nil, nil, func(t zeekapi.Topics) string { return t.Node }, req)
}

// read returns the ends of a node's outputs.
func (p *performer) read(out Read) zeekapi.Result {
	r := zeekapi.Result{ReqID: out.ReqID, Instance: p.Settings.Name, Node: out.Node}
	o, ok := p.Launcher.(launch.Outputter)
	if !ok {
		r.Error = "the launcher does not store the outputs of nodes"
		return r
	}
	outputs, err := o.Outputs(out.Node, out.Bytes)
	switch {
	case errors.Is(err, launch.ErrNoOutputs) && out.Gone:
		r.Error = fmt.Sprintf("no node %q on instance %s", out.Node, p.Settings.Name)
		return r
	case errors.Is(err, launch.ErrNoOutputs): // the node has not been started yet
	case err != nil:
		r.Error = err.Error()
		return r
	}
	logs := zeekapi.NodeLogs{NodeOutputs: outputs}
	if out.Gone {
		logs.Remark = "it is no longer assigned to this instance"
	}
	r.Success, r.Data = true, mustMarshal(logs)
	return r
}

func (p *performer) publish(ctx context.Context, out Publish) {
	switch msg := out.Message.(type) {
	case zeekapi.AgentError:
		p.Log.Warn().Str("node", msg.Node).Msg(msg.Text)
	case zeekapi.AgentChange:
		p.Log.Info().Str("node", msg.Node.Name).Str("old", string(msg.Old)).Str("new", string(msg.New)).Msg("node changed state")
	}
	p.send(ctx, out.To, out.Dialect, func(t zeekapi.Topics) string { return t.Agent(p.Settings.Name) }, out.Message)
}

// send publishes a message for a peer, or for all, in one dialect, or in all that have the
// message.
func (p *performer) send(ctx context.Context, to uuid.UUID, only *zeekapi.Dialect, topic func(zeekapi.Topics) string, msg zeekapi.Message) {
	for _, d := range p.Dialects {
		if only != nil && only != d || !d.Has(msg) {
			continue
		}
		ev, err := d.Encode(msg)
		if err == nil {
			p.Log.Debug().Str("event", ev.Name).Str("reqid", msg.RequestID()).Msg("publishing")
			err = p.publishEvent(ctx, to, topic(d.Topics), ev)
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Error().Err(err).Str("dialect", d.Name).Msg("cannot publish")
		}
	}
}

// publishEvent publishes an event for a peer, or for all. A bus that cannot do the former
// publishes it for all.
func (p *performer) publishEvent(ctx context.Context, to uuid.UUID, topic string, ev broker.Event) error {
	if direct, ok := p.Bus.(broker.Director); ok && to != uuid.Nil {
		_, err := direct.PublishTo(ctx, to, topic, ev.Value()) // the peer may have gone already
		return err
	}
	return broker.PublishEvent(ctx, p.Bus, topic, ev)
}
