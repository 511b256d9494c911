package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// selectionHelp describes the arguments of commands that select nodes.
const selectionHelp = `

NODE is the name of a node, a glob such as 'worker-*', a pattern such as
'worker-[1-4]', or one of role:ROLE, group:NAME and instance:NAME. --role,
--group and --instance leave out other nodes. Groups are those of the deployed
configuration.`

// selectionFlags are the flags that select nodes.
type selectionFlags struct {
	roles, groups, instances []string
}

func (f *selectionFlags) set() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.StringSliceVar(&f.roles, "role", nil, "only nodes with this `ROLE`: manager, logger, proxy or worker; may be repeated")
	fs.StringSliceVar(&f.groups, "group", nil, "only nodes of the group `NAME`, see [group NAME] in a cluster file; may be repeated")
	fs.StringArrayVar(&f.instances, "instance", nil, "only nodes on the instance `NAME`, which may be a glob or a pattern; may be repeated")
	return fs
}

// addSelection adds the flags that select nodes to a command with the arguments NODE....
// Zeek's client has none.
func (t *Tool) addSelection(cmd *cobra.Command) {
	if !t.Extended {
		return
	}
	if t.selection == nil {
		t.selection = t.flags.selection.set()
	}
	cmd.Flags().AddFlagSet(t.selection)
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += selectionHelp
}

// query returns the selection of the arguments and flags of a command.
func (t *Tool) query(args []string) (selection.Query, error) {
	f := t.flags.selection
	q := selection.Query{Words: args, Groups: f.groups, Instances: f.instances}
	for _, name := range f.roles {
		role, err := selection.ParseRole(name)
		if err != nil {
			return q, err
		}
		q.Roles = append(q.Roles, role)
	}
	return q, nil
}

// selectNodes returns the names of the nodes that the arguments and flags of a command
// select, nil for all nodes. If the arguments are only names, it returns them unchanged,
// and the controller decides whether they exist.
func (r *run) selectNodes(ctx context.Context, c *client.Client, args []string) ([]string, error) {
	if !r.tool.Extended {
		return args, nil
	}
	q, err := r.tool.query(args)
	if err != nil {
		return nil, r.misuse("%v", err)
	}
	if q.All() || q.Names() {
		return args, nil
	}
	if !c.Has(zeekapi.GetConfigurationRequest{}) {
		return nil, r.fail("the controller %s does not report its configuration, so nodes can be selected by their full names only", r.remote())
	}
	config, err := askOn(ctx, r, c, currentConfiguration)
	if err != nil {
		return nil, requestError(err, "configuration")
	}
	names, err := q.Nodes(config)
	return names, withSuggestion(err)
}

// connectForNodes is connectExtended for a command with the arguments NODE.... It also
// returns the names that selectNodes returns.
func (r *run) connectForNodes(ctx context.Context, feature string, args []string) (*client.Client, []string, error) {
	c, err := r.connectExtended(ctx, feature)
	if err != nil {
		return nil, nil, err
	}
	names, err := r.selectNodes(ctx, c, args)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, names, nil
}

// withSuggestion adds the most similar name to an error about a name that does not exist.
func withSuggestion(err error) error {
	var missing *selection.NotFoundError
	if !errors.As(err, &missing) || selection.IsGlob(missing.Word) {
		return err
	}
	if name, near := nearest.Name(missing.Word, missing.Known); near {
		return fmt.Errorf("there is no %s %q; did you mean %q?", missing.Kind, missing.Word, name)
	}
	return err
}

// selectStatus removes all nodes from a status that are not selected, and the instances
// without any selected node.
func (r *run) selectStatus(ctx context.Context, c *client.Client, s zeekapi.Status, args []string) (zeekapi.Status, error) {
	names, err := r.selectNodes(ctx, c, args)
	if err != nil || len(names) == 0 {
		return s, err
	}
	selected, found := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		selected[name] = true
	}
	s.Instances = slices.Clone(s.Instances)
	for i := range s.Instances {
		in := &s.Instances[i]
		in.Nodes = slices.DeleteFunc(slices.Clone(in.Nodes), func(n zeekapi.NodeDetail) bool {
			found[n.Status.Node] = true
			return !selected[n.Status.Node]
		})
	}
	s.Instances = slices.DeleteFunc(s.Instances, func(i zeekapi.InstanceStatus) bool { return len(i.Nodes) == 0 })
	for _, name := range args {
		if selected[name] && !found[name] {
			return s, withSuggestion(&selection.NotFoundError{Kind: "node", Word: name, Known: slices.Sorted(maps.Keys(found))})
		}
	}
	return s, nil
}

// selectionCandidates returns the completions of a word that begins with role:, group: or
// instance:.
func selectionCandidates(config zeekapi.Configuration, word string) []candidate {
	prefix, _, ok := strings.Cut(word, ":")
	if !ok {
		return nil
	}
	var all []candidate
	switch prefix {
	case "role":
		for _, role := range []string{"manager", "logger", "proxy", "worker"} {
			all = append(all, candidate{"role:" + role, ""})
		}
	case "group":
		for _, g := range groupCandidates(config) {
			all = append(all, candidate{"group:" + g.name, g.about})
		}
	case "instance":
		for _, i := range instanceCandidates(config) {
			all = append(all, candidate{"instance:" + i.name, i.about})
		}
	}
	return all
}

func groupCandidates(config zeekapi.Configuration) []candidate {
	count := map[string]int{}
	for _, n := range config.Nodes {
		for _, g := range n.Groups() {
			count[g]++
		}
	}
	var all []candidate
	for _, g := range slices.Sorted(maps.Keys(count)) {
		all = append(all, candidate{g, plural(count[g], "node")})
	}
	return all
}

func instanceCandidates(config zeekapi.Configuration) []candidate {
	nodes := config.NodesByInstance()
	return list(config.Instances, func(i zeekapi.Instance) candidate {
		return candidate{i.Name, plural(len(nodes[i.Name]), "node")}
	})
}
