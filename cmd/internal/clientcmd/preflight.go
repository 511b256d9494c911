package clientcmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// maxProblems limits the problems of a deployment that are listed.
const maxProblems = 20

// warnOf prints the warnings about a configuration that was read from a file.
func (r *run) warnOf(file *configFile, config zeekapi.Configuration) {
	places := locator{file.name, clusterfile.FindPlaces(file.text)}
	for _, a := range clusterfile.Advise(config) {
		if a.Zeek {
			continue // see preflight
		}
		e := places.locate(a.Node, a.Instance, a.Key)
		e.Text = a.Text
		r.warning("%v", e)
	}
}

// preflight looks for reasons why a deployment of config must fail, with what the
// controller knows about the agents. It reports them as errors and returns the error
// of the command. With force, and for a controller of Zeek's, it only warns.
func (r *run) preflight(ctx context.Context, c *client.Client, config zeekapi.Configuration, force bool) error {
	if !r.tool.Extended || len(config.Instances) == 0 || !c.Has(zeekapi.GetInstancesRequest{}) {
		return nil
	}
	connected, err := r.requestInstances(ctx, c)
	if err != nil {
		return err
	}
	extended, err := r.speaksOperations(ctx, c)
	if err != nil {
		return err
	}
	if !extended {
		r.warnForZeek(config)
	}
	missing, err := r.missing(ctx, c, config, connected, extended)
	if err != nil {
		return err
	}
	var problems []string
	for _, name := range missing {
		text := "the agent of %[1]s is not connected; start it, or run \"zeekwire drain %[1]s\" to deploy without it"
		if !extended {
			text = "the agent of %[1]s is not connected; the controller waits for it"
		}
		problems = append(problems, fmt.Sprintf(text, name))
	}
	if !extended {
		r.warnAll(problems)
		problems = nil
	}
	for _, a := range clusterfile.Announcements(withHosts(config, connected)) {
		problems = append(problems, a.Text)
	}
	switch {
	case len(problems) == 0:
		return nil
	case force:
		r.warnAll(problems)
		return nil
	}
	for _, text := range problems[:min(len(problems), maxProblems)] {
		r.error("%s", text)
	}
	if more := len(problems) - maxProblems; more > 0 {
		r.error("and %d more", more)
	}
	return r.fail("nothing was deployed")
}

// warnAnnouncements warns about addresses at which nodes could not be reached.
func (r *run) warnAnnouncements(ctx context.Context, c *client.Client, config zeekapi.Configuration) error {
	connected, err := r.requestInstances(ctx, c)
	for _, a := range clusterfile.Announcements(withHosts(config, connected)) {
		r.warning("%s", a.Text)
	}
	return err
}

// warnForZeek prints the warnings that matter only with Zeek's own controller.
func (r *run) warnForZeek(config zeekapi.Configuration) {
	for _, a := range clusterfile.Advise(config) {
		if a.Zeek {
			r.warning("%s", a.Text)
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

// missing returns the instances for which a deployment of config would wait in vain.
// An agent that waits for the controller can be judged only if the controller has
// tried to connect to it, for an earlier deployment.
func (r *run) missing(ctx context.Context, c *client.Client, config zeekapi.Configuration, connected []zeekapi.Instance, extended bool) ([]string, error) {
	var absent []zeekapi.Instance
	for _, i := range config.Instances {
		if !slices.ContainsFunc(connected, func(x zeekapi.Instance) bool { return x.Name == i.Name }) && (i.Connects() || extended) {
			absent = append(absent, i)
		}
	}
	var drained, tried map[string]bool
	if len(absent) > 0 && extended {
		status, err := r.requestStatus(ctx, c, extended)
		if err != nil {
			return nil, err
		}
		drained, tried = map[string]bool{}, map[string]bool{}
		for _, s := range status.Instances {
			drained[s.Instance.Name] = s.Drained
			i, _ := config.Instance(s.Instance.Name)
			tried[s.Instance.Name] = s.Wanted && s.Instance.Port == i.Port && s.Instance.Host == i.Host
		}
	}
	var names []string
	for _, i := range absent {
		if !drained[i.Name] && (i.Connects() || tried[i.Name]) {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

// withHosts returns config with the addresses from which the agents are connected, as
// the controller fills them in.
func withHosts(config zeekapi.Configuration, connected []zeekapi.Instance) zeekapi.Configuration {
	config.Instances = slices.Clone(config.Instances)
	for k := range config.Instances {
		i := &config.Instances[k]
		if i.Host.IsValid() && !i.Host.IsUnspecified() {
			continue
		}
		for _, x := range connected {
			if x.Name == i.Name {
				i.Host = x.Host
			}
		}
	}
	return config
}
