package clientcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) diff() *cobra.Command {
	cmd := t.command("diff [FILE]", "Show what deploying a configuration would change",
		func(ctx context.Context, r *run, args []string) error {
			if len(args) == 0 && t.flags.site != "" {
				return r.misuse("--site requires FILE")
			}
			var config zeekapi.Configuration
			if len(args) > 0 {
				var err error
				if config, err = r.readConfig(ctx, args[0], true); err != nil {
					return err
				}
			}
			c, err := r.connectExtended(ctx, "dry runs")
			if err != nil {
				return err
			}
			defer c.Close()
			if len(args) == 0 {
				return r.dryRunStaged(ctx, c)
			}
			return r.dryRun(ctx, c, config)
		})
	cmd.Long = cmd.Short + `, and change nothing.

The command compares the staged configuration, or the one in FILE, with the
current target of the cluster. With --strict-exit, the exit code is 3 if they
differ, or if the scripts of a node changed since it started: a deployment
restarts such a node. For a site, it shows the files that were added, removed
and changed since the deployed configuration.` + fileHelp + diffHelp
	t.addSiteFlag(cmd)
	return cmd
}

// dryRunStaged prints the changes that deploying the staged configuration would
// make.
func (r *run) dryRunStaged(ctx context.Context, c *client.Client) error {
	config, err := askOn(ctx, r, c, getConfiguration(false))
	if err != nil {
		return requestError(err, "configuration")
	}
	return r.dryRun(ctx, c, config)
}

// dryRun prints the changes that deploying a configuration would make.
func (r *run) dryRun(ctx context.Context, c *client.Client, config zeekapi.Configuration) error {
	d, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Diff, error) {
		return c.DryRun(ctx, config)
	})
	if err != nil {
		return requestError(err, "dry run")
	}
	announcements, err := r.announcements(ctx, c, config)
	if err != nil {
		return err
	}
	r.warnAll(announcements)
	all := differences{Diff: d, places: r.places}
	if all.site, err = r.compareSites(ctx, c, config); err != nil {
		return err
	}
	status, err := r.requestStatus(ctx, c, true)
	if err != nil {
		return err
	}
	all.edited = editedIn(status).keptBy(d)
	if err := r.present(newDiffView(all, r.age()), all.lines); err != nil {
		return err
	}
	if r.tool.flags.strictExit && all.any() {
		return &ExitError{Code: Attention}
	}
	return nil
}

// differences are what deploying a configuration would change.
type differences struct {
	zeekapi.Diff
	places *configcheck.Locator // in the file of the new configuration; nil without one
	site   *siteDiff            // nil: the site does not change
	edited editedNodes          // that restart although they do not change
}

// any reports whether anything would change.
func (d differences) any() bool {
	return d.site != nil || len(d.edited) > 0 || countChanges(d.Instances)+countChanges(d.Nodes) > 0
}

// The kinds of zeekapi.Change.
const (
	added   = "added"
	removed = "removed"
	changed = "changed"
	kept    = "kept"
)

// countChanges returns the number of instances or nodes that are not kept.
func countChanges(all []zeekapi.Change) (n int) {
	for _, c := range all {
		if c.Kind != kept {
			n++
		}
	}
	return n
}

func (d differences) lines() []terminal.Line {
	var lines []terminal.Line
	for _, c := range d.Instances {
		lines = append(lines, d.changeLines("instance", d.placedInstance(c))...)
	}
	for _, c := range d.Nodes {
		lines = append(lines, d.changeLines("node", d.placedNode(c))...)
	}
	for _, n := range d.edited {
		lines = append(lines, n.diffLines()...)
	}
	if d.site != nil {
		lines = append(lines, d.site.lines()...)
	}
	if !d.any() {
		lines = []terminal.Line{terminal.Text("Nothing would change.")}
	} else if same := len(d.Instances) + len(d.Nodes) - countChanges(d.Instances) - countChanges(d.Nodes) - len(d.edited); same > 0 {
		lines = append(lines, terminal.Line{{Text: fmt.Sprintf("  %d kept", same), Style: terminal.Faint}})
	}
	for _, name := range d.Missing {
		lines = append(lines, terminal.Line{{Text: "The agent of " + name + " is not connected.", Style: terminal.Warn}})
	}
	return lines
}

// placedChange is a change with its lines in the cluster file. A line is 0 if it is not
// known.
type placedChange struct {
	zeekapi.Change
	line   int
	fields []int // line of each field
}

func (d differences) placedInstance(c zeekapi.Change) placedChange {
	p := placedChange{Change: c, fields: make([]int, len(c.Fields))}
	if d.places != nil {
		p.line = d.places.Places.Instance(c.Name)
		for i := range p.fields {
			p.fields[i] = p.line
		}
	}
	return p
}

func (d differences) placedNode(c zeekapi.Change) placedChange {
	p := placedChange{Change: c, fields: make([]int, len(c.Fields))}
	if d.places != nil && c.Kind != removed {
		p.line = d.places.Places.Node(c.Name, "")
		for i, f := range c.Fields {
			p.fields[i] = d.places.Places.Change(c.Name, f)
		}
	}
	return p
}

// at returns a line of the file as the end of an output line, nothing for 0.
func (d differences) at(line int) terminal.Span {
	if line == 0 {
		return terminal.Span{}
	}
	return terminal.Span{Text: fmt.Sprintf(" (%s:%d)", d.places.Name, line), Style: terminal.Faint}
}

func (d differences) changeLines(kind string, c placedChange) []terminal.Line {
	sign, style := " ", terminal.Plain
	switch c.Kind {
	case added:
		sign, style = "+", terminal.Good
	case removed:
		sign, style = "-", terminal.Bad
	case changed:
		sign, style = "~", terminal.Warn
	case kept:
		return nil
	}
	lines := []terminal.Line{{{Text: sign + " " + kind + " " + c.Name, Style: style}, d.at(c.line)}}
	for i, f := range c.Fields {
		lines = append(lines, terminal.Line{
			cell("    " + f.Field + ": "), {Text: orNone(f.Old), Style: terminal.Bad}, cell(" -> "), {Text: orNone(f.New), Style: terminal.Good}, d.at(c.fields[i]),
		})
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
