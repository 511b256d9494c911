package clientcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// complete registers the completion of the commands' arguments.
func (t *Tool) complete(commands []*cobra.Command) {
	for _, cmd := range commands {
		switch cmd.Name() {
		case "restart", "rolling-restart":
			cmd.ValidArgsFunction = t.completeNodes(0, maxArgs)
		case "logs":
			cmd.ValidArgsFunction = t.completeNodes(0, 1)
		case "get-id-value": // its identifiers cannot be listed
			cmd.ValidArgsFunction = t.completeNodes(1, maxArgs)
		case "drain", "undrain":
			cmd.ValidArgsFunction = t.completeInstances
		case "rollback":
			cmd.ValidArgsFunction = t.completeDeployments
		}
		t.CompleteFlags(cmd)
	}
}

// CompleteFlags has the shell complete the values of those flags of cmd that are
// ours. Commands does that for every command.
func (t *Tool) CompleteFlags(cmd *cobra.Command) {
	complete := func(flag string, f cobra.CompletionFunc) {
		if cmd.Flag(flag) != nil {
			// It only fails for flags that are not there or have one.
			_ = cmd.RegisterFlagCompletionFunc(flag, f)
		}
	}
	completion.Words(cmd, "role", "manager", "logger", "proxy", "worker")
	completion.Words(cmd, "color", "auto", "always", "never")
	completion.Words(cmd, "transport", "auto", "websocket", "native")
	completion.Words(cmd, "dialect", "auto", "management", "cluster")
	complete("number", t.completeDeployments)
	complete("set", t.completeSettings)
}

// maxArgs is how many names of nodes the shell is offered, one after the other.
const maxArgs = 1 << 10

// offer is something to choose from.
type offer struct{ name, about string }

// offers returns those that can be chosen: not those that were already, nor
// any whose name could do something to a terminal.
func offers(all []offer, chosen []string) []cobra.Completion {
	var completions []cobra.Completion
	for _, o := range all {
		if o.name != "" && terminal.Safe(o.name) == o.name && !slices.Contains(chosen, o.name) {
			completions = append(completions, cobra.CompletionWithDesc(o.name, terminal.Safe(o.about)))
		}
	}
	return completions
}

// completeNodes completes names of nodes after so many other arguments, up to
// so many arguments.
func (t *Tool) completeNodes(from, to int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) < from || len(args) >= to {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, _ := askShortly(cmd, t, func(ctx context.Context, c *client.Client) ([]offer, error) {
			config, err := currentConfiguration(ctx, c)
			var all []offer
			for _, n := range config.Nodes {
				all = append(all, offer{n.Name, strings.ToLower(string(n.Role)) + " on " + n.Instance})
			}
			return all, err
		})
		return offers(all, args[from:]), cobra.ShellCompDirectiveNoFileComp
	}
}

func (t *Tool) completeInstances(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := askShortly(cmd, t, func(ctx context.Context, c *client.Client) ([]offer, error) {
		config, err := currentConfiguration(ctx, c)
		var all []offer
		for _, i := range config.Instances {
			all = append(all, offer{i.Name, plural(len(config.NodesOn(i.Name)), "node")})
		}
		return all, err
	})
	return offers(all, nil), cobra.ShellCompDirectiveNoFileComp
}

func (t *Tool) completeDeployments(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := askShortly(cmd, t, func(ctx context.Context, c *client.Client) ([]offer, error) {
		history, err := c.History(ctx, 0)
		var all []offer
		for _, d := range history {
			all = append(all, offer{strconv.FormatUint(d.Number, 10), fmt.Sprintf("%s %s, %s", localTime(d.Started), d.Action, d.Outcome)})
		}
		return all, err
	})
	return offers(all, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeSettings completes SECTION.KEY, and says what it is now, but for what
// nobody should see on a screen.
func (t *Tool) completeSettings(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	t.flags.quiet = true
	r, err := t.prepare(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []offer
	for _, section := range r.settings.sections {
		for _, x := range section.settings {
			name, about := x.section+"."+x.key, "not set"
			switch {
			case name == "ssl.passphrase", name == "client.token":
				about = ""
			case x.value != "":
				about = "now " + x.value
			}
			all = append(all, offer{name + "=", about})
		}
	}
	return offers(all, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// currentConfiguration returns what is deployed, or else what is staged: what
// the controller knows itself, and so says at once.
func currentConfiguration(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
	config, err := c.GetConfiguration(ctx, true)
	if err != nil {
		config, err = c.GetConfiguration(ctx, false)
	}
	slices.SortFunc(config.Nodes, func(a, b zeekapi.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(config.Instances, func(a, b zeekapi.Instance) int { return cmp.Compare(a.Name, b.Name) })
	return config, err
}

// askShortly makes a call with the settings that cmd was given so far. It says
// nothing, whatever is wrong.
func askShortly[T any](cmd *cobra.Command, t *Tool, call func(context.Context, *client.Client) (T, error)) (T, error) {
	var none T
	t.flags.quiet = true
	r, err := t.prepare(cmd)
	if err != nil {
		return none, err
	}
	r.attempts = 1
	ctx, cancel := context.WithTimeout(cmd.Context(), cmp.Or(t.CompletionPatience, time.Second))
	defer cancel()
	c, err := r.connectAll(ctx)
	if err != nil {
		return none, err
	}
	defer c.Close()
	return call(ctx, c)
}
