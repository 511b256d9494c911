package console

import (
	"net/http"
	"net/url"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// machineView is the page of a machine.
type machineView struct {
	Stale    *staleness
	Machine  machineRow
	Figures  zeekapi.InstanceFigures
	Failed   string // why there are no figures
	Events   []zeekapi.ClusterEvent
	MayDrain bool
	Restart  string // address of the page that asks whether to restart the nodes
}

// figuresAge is the largest age of shown measurements.
const figuresAge = 15 * time.Second

func (c *Console) machine(r *http.Request, v Visitor) (view, error) {
	name := r.PathValue("name")
	s, _ := c.watch.get()
	i, ok := instanceOf(s.Status, name)
	if !ok {
		return view{}, notFound("The cluster has no machine %q.", name)
	}
	m := machineView{Stale: stale(s), Machine: newMachine(i), Events: about(s.Events, name, ""), MayDrain: v.May(zeekapi.DrainCall.Request),
		Restart: instanceNodes(rollingName, name)}
	m.Machine.draw(s.charts)
	all, err := cached(&c.answers, "figures", figuresAge, func() (zeekapi.Figures, error) {
		ctx, cancel := c.background(client.DefaultTimeout)
		defer cancel()
		return c.client.Figures(ctx, time.Minute)
	})
	if err != nil {
		m.Failed = errorText(err)
	}
	for _, f := range all.Instances {
		if f.Instance == name {
			m.Figures = f
		}
	}
	return view{Name: "machine", Title: name, Data: m, Poll: figuresAge}, nil
}

func instanceOf(s zeekapi.Status, name string) (zeekapi.InstanceStatus, bool) {
	for _, i := range s.Instances {
		if i.Instance.Name == name {
			return i, true
		}
	}
	return zeekapi.InstanceStatus{}, false
}

// shownEvents limits the events on pages about something else.
const shownEvents = 10

// about returns the latest events about a machine or a node, the newest first.
func about(events []zeekapi.ClusterEvent, machine, node string) []zeekapi.ClusterEvent {
	var all []zeekapi.ClusterEvent
	for k := len(events) - 1; k >= 0 && len(all) < shownEvents; k-- {
		if e := events[k]; (machine == "" || e.Instance == machine) && (node == "" || e.Node == node) {
			all = append(all, e)
		}
	}
	return all
}

func (c *Console) drain(r *http.Request, v Visitor) (string, error) { return c.setDrained(r, v, true) }
func (c *Console) undrain(r *http.Request, v Visitor) (string, error) {
	return c.setDrained(r, v, false)
}

func (c *Console) setDrained(r *http.Request, v Visitor, drained bool) (string, error) {
	name := r.PathValue("name")
	o := operation{By: v, Title: "Drain " + name, Back: "/machines/" + url.PathEscape(name)}
	if !drained {
		o.Title = "Undrain " + name
	}
	return c.start(o, zeekapi.DrainRequest{Instance: name, Drain: drained}, (*running).finish)
}
