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

// addCompletion registers completion of the arguments and flags of a command.
func (t *Tool) addCompletion(cmd *cobra.Command) {
	switch cmd.Name() {
	case "restart", "rolling-restart", "start", "stop", "logs", "status", "top", "netstats", "peers", "scripts":
		cmd.ValidArgsFunction = t.completeNodes(0, maxArgs)
	case "diag":
		cmd.ValidArgsFunction = t.completeNodes(0, 1)
	case "get-id-value": // its identifiers cannot be listed
		cmd.ValidArgsFunction = t.completeNodes(1, maxArgs)
	case "drain", "undrain":
		cmd.ValidArgsFunction = t.completeInstances(1)
	case "df", "cleanup":
		cmd.ValidArgsFunction = t.completeInstances(maxArgs)
	case "rollback":
		cmd.ValidArgsFunction = t.completeDeployments
	}
	t.CompleteFlags(cmd)
}

// CompleteFlags registers completion of the values of the client flags that cmd
// has. Commands calls it for every command.
func (t *Tool) CompleteFlags(cmd *cobra.Command) {
	completion.Words(cmd, "role", "manager", "logger", "proxy", "worker")
	completion.Words(cmd, "sort", topKeyNames()...)
	completion.Words(cmd, "color", "auto", "always", "never")
	completion.Words(cmd, "transport", "auto", "websocket", "native")
	completion.Words(cmd, "dialect", "auto", "management", "cluster")
	completion.Flag(cmd, "number", t.completeDeployments)
	completion.Flag(cmd, "node", t.completeNodes(0, maxArgs))
	completion.Flag(cmd, "set", t.completeSettings)
	completion.Flag(cmd, "group", t.completeNames(groupCandidates))
	completion.Flag(cmd, "instance", t.completeNames(instanceCandidates))
}

// maxArgs limits the number of arguments that are completed for one command.
const maxArgs = 1 << 10

// candidate is a possible completion and its description.
type candidate struct{ name, about string }

// completions returns completions for the candidates. It leaves out names that are
// already chosen, and names with characters that are not safe on a terminal.
func completions(all []candidate, chosen []string) []cobra.Completion {
	var result []cobra.Completion
	for _, o := range all {
		if o.name != "" && terminal.Safe(o.name) == o.name && !slices.Contains(chosen, o.name) {
			result = append(result, cobra.CompletionWithDesc(o.name, terminal.Safe(o.about)))
		}
	}
	return result
}

// completeNodes returns a function that completes names of nodes in the arguments
// with the indexes from (inclusive) to to (exclusive).
func (t *Tool) completeNodes(from, to int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) < from || len(args) >= to {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, _ := askForCompletion(cmd, t, func(ctx context.Context, c *client.Client) ([]candidate, error) {
			config, err := currentConfiguration(ctx, c)
			var all []candidate
			for _, n := range config.Nodes {
				all = append(all, candidate{n.Name, strings.ToLower(string(n.Role)) + " on " + n.Instance})
			}
			if t.Extended {
				all = append(all, selectionCandidates(config, word)...)
			}
			return all, err
		})
		return completions(all, args[from:]), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeInstances returns a function that completes names of instances in the first
// most arguments.
func (t *Tool) completeInstances(most int) cobra.CompletionFunc {
	complete := t.completeNames(instanceCandidates)
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, "")
	}
}

// completeNames returns a function that completes names that occur in the configuration.
func (t *Tool) completeNames(candidates func(zeekapi.Configuration) []candidate) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		all, _ := askForCompletion(cmd, t, func(ctx context.Context, c *client.Client) ([]candidate, error) {
			config, err := currentConfiguration(ctx, c)
			return candidates(config), err
		})
		return completions(all, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func (t *Tool) completeDeployments(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := askForCompletion(cmd, t, func(ctx context.Context, c *client.Client) ([]candidate, error) {
		history, err := c.History(ctx, 0)
		var all []candidate
		for _, d := range history {
			all = append(all, candidate{strconv.FormatUint(d.Number, 10), fmt.Sprintf("%s %s, %s", localTime(d.Started), d.Action, d.Outcome)})
		}
		return all, err
	})
	return completions(all, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeSettings completes SECTION.KEY. The description is the current value,
// except for secrets.
func (t *Tool) completeSettings(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	t.flags.quiet = true
	r, err := t.prepare(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []candidate
	for _, section := range r.settings.sections {
		for _, x := range section.settings {
			name, about := x.section+"."+x.key, "not set"
			switch {
			case name == "ssl.passphrase", name == "client.token":
				about = ""
			case x.value != "":
				about = "now " + x.value
			}
			all = append(all, candidate{name + "=", about})
		}
	}
	return completions(all, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// currentConfiguration returns the deployed configuration or, if there is none, the
// staged one. The controller returns them without asking agents, so completion is
// fast.
func currentConfiguration(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
	config, err := c.GetConfiguration(ctx, true)
	if err != nil {
		config, err = c.GetConfiguration(ctx, false)
	}
	slices.SortFunc(config.Nodes, func(a, b zeekapi.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(config.Instances, func(a, b zeekapi.Instance) int { return cmp.Compare(a.Name, b.Name) })
	return config, err
}

// askForCompletion makes a call with the settings of cmd within the time limit of
// shell completion. It prints no messages.
func askForCompletion[T any](cmd *cobra.Command, t *Tool, call func(context.Context, *client.Client) (T, error)) (T, error) {
	var none T
	t.flags.quiet = true
	r, err := t.prepare(cmd)
	if err != nil {
		return none, err
	}
	r.attempts, r.renewFrom = 1, ""
	ctx, cancel := context.WithTimeout(cmd.Context(), cmp.Or(t.CompletionPatience, time.Second))
	defer cancel()
	c, err := r.connectAll(ctx)
	if err != nil {
		return none, err
	}
	defer c.Close()
	return call(ctx, c)
}
