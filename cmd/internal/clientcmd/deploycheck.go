package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// check has the agents check a configuration, the staged one unless it is from a
// file, and shows all problems.
func (d *deployer) check(ctx context.Context, config zeekapi.Configuration, fromFile bool) error {
	announcements, err := d.announcements(ctx, d.client, config)
	if err != nil {
		return err
	}
	p := newProgress("Checking", nil)
	p.fixed = true // the states of nodes do not change
	stop := d.showProgress(ctx, d.client, p, nil)
	long := *d.run
	long.timeout = max(d.timeout, client.CheckTimeout)
	result, err := askOn(ctx, &long, d.client, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
		if fromFile {
			return c.Check(ctx, &config)
		}
		return c.Check(ctx, nil)
	})
	stop()
	if err != nil {
		return requestError(err, "check")
	}
	result.Errors = append(announcements, result.Errors...)
	result.Failed = result.Failed || len(announcements) > 0
	if result.Failed {
		result.ID = ""
	}
	if err := d.showDeployment(deploymentOutput{DeployResult: result, check: true}); err != nil {
		return err
	}
	return failIf(result.Failed)
}

// problemLines limits the lines that are shown of one problem.
const problemLines = 10

// problemsOf returns the problems that a check found. Nodes with the same problem
// are shown together, with their lines in the cluster file.
func (r *run) problemsOf(nodes []client.DeployedNode) []terminal.Line {
	failed := slices.DeleteFunc(slices.Clone(nodes), func(n client.DeployedNode) bool { return n.Success })
	var lines []terminal.Line
	for _, g := range groups(failed, func(n client.DeployedNode) (text, name string) { return n.Problem(), n.Node }) {
		if g.text != "" {
			lines = append(lines, head(someOf(g.names)+r.linesOf(g.names)+":", g.text, problemLines)...)
		}
	}
	return lines
}

// linesOf returns the lines of nodes in the cluster file, as the end of a text, "" without
// a file.
func (r *run) linesOf(nodes []string) string {
	var lines []string
	for _, name := range nodes {
		if line := r.lineOf(name); line > 0 && !slices.Contains(lines, fmt.Sprint(line)) {
			lines = append(lines, fmt.Sprint(line))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s:%s)", r.places.Name, someOf(lines))
}

// lineOf returns the line of a node in the cluster file, 0 without a file.
func (r *run) lineOf(node string) int {
	if r.places == nil {
		return 0
	}
	return r.places.Places.Node(node, "")
}

// checkLine returns the line that ends the output of a check.
func checkLine(d client.DeployResult) terminal.Line {
	n := len(d.Errors)
	for _, node := range d.Nodes {
		if !node.Success {
			n++
		}
	}
	switch {
	case !d.Failed:
		return terminal.Text("No problems found. Nothing was deployed.")
	case n == 1:
		return terminal.Text("1 problem found. Nothing was deployed.")
	}
	return terminal.Text("%d problems found. Nothing was deployed.", n)
}

// head returns a title and the first lines of a text.
func head(title, text string, limit int) []terminal.Line {
	lines := []terminal.Line{{{Text: title, Style: terminal.Strong}}}
	all := strings.Split(text, "\n")
	for _, line := range all[:min(limit, len(all))] {
		lines = append(lines, terminal.Line{{Text: "  " + strings.TrimSuffix(line, "\r"), Style: terminal.Bad}})
	}
	if more := len(all) - limit; more > 0 {
		lines = append(lines, terminal.Text("  and %d more lines", more))
	}
	return lines
}

// someOf returns the first names of a list, and how many there are besides.
func someOf(names []string) string {
	const most = 8
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
