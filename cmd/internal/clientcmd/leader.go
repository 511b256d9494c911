package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// target is one of the controllers to which a command may connect.
type target struct {
	remote
	options connect.Options
}

// targets returns the controllers to which the command may connect, the present one
// first. It reports invalid and deprecated settings.
func (r *run) targets() ([]target, error) {
	if len(r.remotes) == 0 && r.chosen.Load() == nil {
		o, err := r.checkedOptions()
		return []target{{r.at(), o}}, err
	}
	var all []target
	for _, a := range r.addresses() {
		o, err := r.optionsFor(a)
		if err != nil {
			return nil, err
		}
		all = append(all, target{a, o})
	}
	return all, nil
}

// optionsFor returns the options of a connection to one of several controllers.
func (r *run) optionsFor(a remote) (connect.Options, error) {
	at := *r
	at.use(a)
	at.chosen = new(atomic.Pointer[remote])
	o, err := at.checkedOptions()
	r.link = at.link
	return o, err
}

// tried returns the addresses of controllers, as messages show them.
func (r *run) tried(targets []target) string {
	var all []string
	for _, t := range targets {
		all = append(all, r.describe(t.remote))
	}
	return strings.Join(all, ", ")
}

// redirect returns a function that connects to the leader that a refusal names, or else
// to the next controller.
func (r *run) redirect(ctx context.Context, onError func(error), topics []string) client.Redirect {
	return func(call context.Context, refusal zeekapi.NotLeader) (broker.Bus, error) {
		next := r.next(refusal)
		err := fmt.Errorf("%w: no controller leads", errNoLeader)
		if len(next) == 0 && refusal.Leader.Name != "" {
			err = fmt.Errorf("%w: the address of controller %q, which leads, is unknown", client.ErrNoRedirect, refusal.Leader.Name)
		}
		for _, a := range next {
			var c *connect.Connection
			if c, err = r.dialOnce(call, a, onError, topics); err == nil {
				context.AfterFunc(ctx, c.Cut)
				r.info("controller %s stands by, continuing with %s", r.remote(), r.describe(a))
				r.chosen.Store(&a)
				r.trace(c)
				return c, nil
			}
		}
		return nil, err
	}
}

var errNoLeader = errors.New("cannot find the leader")

// next returns the controllers that may lead, after a refusal of the present one.
func (r *run) next(refusal zeekapi.NotLeader) []remote {
	all := r.addresses()[1:]
	address := refusal.Leader.Clients
	switch r.parameters.transport {
	case string(connect.Native):
		address = refusal.Leader.Agents
	case string(connect.HTTP):
		_, address = urlSettings(refusal.Leader.HTTP)
	}
	if address != "" {
		if leader, err := parseRemotes(address); err == nil {
			all = append(leader, all...)
		}
	}
	return slices.DeleteFunc(all, func(a remote) bool { return a == r.at() })
}

// dialOnce makes one attempt to connect to one of several controllers.
func (r *run) dialOnce(ctx context.Context, a remote, onError func(error), topics []string) (*connect.Connection, error) {
	at := *r
	at.use(a)
	o, err := at.options()
	if err != nil {
		r.warning("cannot follow the leader to %s: %v", r.describe(a), err)
		return nil, fmt.Errorf("%w: %w", client.ErrNoRedirect, err)
	}
	o.OnError, o.Topics = onError, topics
	return r.tool.Dial(ctx, o)
}

// seekPatience limits the time to find the leader before the first request.
const seekPatience = 3 * time.Second

// seekLeader makes a client connect to the leader. A failure has no consequences: the
// controller responds from what is stored, and a request that needs the leader seeks it.
func (r *run) seekLeader(ctx context.Context, c *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, min(seekPatience, r.timeout))
	defer cancel()
	all, err := c.SeekLeader(ctx)
	if err == nil && !all.Leads {
		r.warning("no controller leads; %s shows the state as of %s", r.remote(), all.AsOf.Local().Format(time.DateTime))
	}
}
