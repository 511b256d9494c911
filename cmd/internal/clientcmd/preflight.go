package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// maxProblems limits the problems of a deployment that are listed.
const maxProblems = 20

// warnOf prints the warnings about a configuration that was read from a file.
func (r *run) warnOf(config zeekapi.Configuration) {
	all := slices.DeleteFunc(slices.Concat(clusterfile.Refusals(config), clusterfile.Advise(config)), func(a clusterfile.Advice) bool {
		return a.Zeek // see preflight
	})
	for _, e := range r.places.Merged(r.places.LocateAll(all)) {
		r.warning("%v", e)
	}
}

// preflight looks for reasons why a deployment of config must fail, with what the
// controller knows about the agents. It reports them as errors and returns the error
// of the command. With --force or --partial, and for a controller of Zeek's, it only
// warns.
func (d *deployer) preflight(ctx context.Context, config zeekapi.Configuration) error {
	if !d.tool.Extended || len(config.Instances) == 0 || !d.client.Has(zeekapi.GetInstancesRequest{}) {
		return nil
	}
	if !d.ours {
		d.warnForZeek(config)
	}
	connected, missing, err := d.awaitAgents(ctx, config)
	if err != nil {
		return err
	}
	var problems []string
	for _, name := range missing {
		problems = append(problems, fmt.Sprintf(d.missingText(), name))
	}
	if !d.ours {
		d.warnAll(problems)
		problems = nil
	}
	problems = append(problems, announcements(config, connected)...)
	switch {
	case len(problems) == 0:
		return nil
	case d.tolerant():
		d.warnAll(problems)
		return nil
	}
	for _, text := range problems[:min(len(problems), maxProblems)] {
		d.error("%s", text)
	}
	if more := len(problems) - maxProblems; more > 0 {
		d.error("and %d more", more)
	}
	return d.fail("nothing was deployed")
}

// past returns the configuration to which a rollback leads, the zero value if the
// controller knows none. The number is that of a deployment, or 0.
func (d *deployer) past(ctx context.Context, number uint64) (zeekapi.Configuration, error) {
	if number == 0 {
		all, err := askOn(ctx, d.run, d.client, func(ctx context.Context, c *client.Client) ([]zeekapi.Deployment, error) { return c.History(ctx, 0) })
		if err != nil {
			return zeekapi.Configuration{}, requestError(err, "history")
		}
		status, err := d.requestStatus(ctx, d.client, d.ours)
		if err != nil {
			return zeekapi.Configuration{}, err
		}
		i := slices.IndexFunc(all, func(x zeekapi.Deployment) bool {
			return x.Outcome == zeekapi.OutcomeDeployed && x.Config != status.Target
		})
		if i < 0 {
			return zeekapi.Configuration{}, nil // the rollback fails, or is to the same ID
		}
		number = all[i].Number
	}
	config, err := askOn(ctx, d.run, d.client, func(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
		return c.PastConfiguration(ctx, number)
	})
	if _, refused := refusal(err); refused {
		return config, nil // the rollback says why
	}
	return config, err
}

// missingText returns the format of the text about an agent that is not connected.
func (d *deployer) missingText() string {
	switch {
	case !d.ours:
		return "the agent of %s is not connected; the controller waits for it"
	case d.sent.Partial:
		return "the agent of %s is not connected; its nodes are left out"
	}
	return "the agent of %[1]s is not connected; start it, or run \"zeekwire drain %[1]s\" to deploy without it"
}

// announcements describes the addresses at which nodes could not be reached.
func announcements(config zeekapi.Configuration, connected []zeekapi.Instance) []string {
	return list(clusterfile.Announcements(withHosts(config, connected)), func(a clusterfile.Advice) string { return a.Text })
}

// announcements returns the texts for a configuration.
func (r *run) announcements(ctx context.Context, c *client.Client, config zeekapi.Configuration) ([]string, error) {
	connected, err := r.requestInstances(ctx, c)
	return announcements(config, connected), err
}

// warnForZeek prints the warnings that matter only with Zeek's own controller.
func (r *run) warnForZeek(config zeekapi.Configuration) {
	for _, a := range clusterfile.Advise(config) {
		if a.Zeek {
			r.warning("%s", a.Text)
		}
	}
	for _, n := range config.Nodes {
		if i := slices.IndexFunc(n.Scripts, zeekapi.IsAssignment); i >= 0 {
			r.warning("node %q has the assignment %s among its scripts; an agent of Zeek treats it as a script, and the node does not start", n.Name, n.Scripts[i])
			return // one warning is enough: [cluster] gives all nodes the same assignments
		}
	}
}

func (r *run) warnAll(texts []string) {
	for _, text := range texts {
		r.warning("%s", text)
	}
}

func (r *run) requestInstances(ctx context.Context, c *client.Client) ([]zeekapi.Instance, error) {
	instances, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]zeekapi.Instance, error) {
		return c.GetInstances(ctx)
	})
	if err != nil {
		err = requestError(err, "instance")
	}
	return instances, err
}

// missing returns the instances for which a deployment of config would wait in vain, and
// the latest time at which something happened that their agents may need some time to
// follow: the controller began, or lost one of them. That time is zero if it is not known.
// An agent that waits for the controller can be judged only if the controller has
// tried to connect to it, for an earlier deployment.
func (d *deployer) missing(ctx context.Context, config zeekapi.Configuration, connected []zeekapi.Instance) (names []string, changed time.Time, err error) {
	var absent []zeekapi.Instance
	here := byName(connected)
	for _, i := range config.Instances {
		if _, ok := here[i.Name]; !ok && (i.Connects() || d.ours) {
			absent = append(absent, i)
		}
	}
	known := map[string]zeekapi.InstanceStatus{}
	if len(absent) > 0 && d.ours {
		status, err := d.requestStatus(ctx, d.client, d.ours)
		if err != nil {
			return nil, time.Time{}, err
		}
		changed = began(status)
		for _, s := range status.Instances {
			known[s.Instance.Name] = s
		}
	}
	for _, i := range absent {
		s := known[i.Name]
		tried := s.Wanted && s.Instance.Port == i.Port && s.Instance.Host == i.Host
		if !s.Drained && (i.Connects() || tried) {
			names = append(names, i.Name)
			changed = latest(changed, s.Since)
		}
	}
	return names, changed, nil
}

// withHosts returns config with the addresses from which the agents are connected, as
// the controller fills them in.
func withHosts(config zeekapi.Configuration, connected []zeekapi.Instance) zeekapi.Configuration {
	here := byName(connected)
	config.Instances = slices.Clone(config.Instances)
	for k := range config.Instances {
		i := &config.Instances[k]
		if x, ok := here[i.Name]; ok && (!i.Host.IsValid() || i.Host.IsUnspecified()) {
			i.Host = x.Host
		}
	}
	return config
}

func byName(instances []zeekapi.Instance) map[string]zeekapi.Instance {
	m := make(map[string]zeekapi.Instance, len(instances))
	for _, i := range instances {
		m[i.Name] = i
	}
	return m
}
