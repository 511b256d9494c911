package clientcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) scripts() *cobra.Command {
	var all bool
	cmd := t.command("scripts [NODE...]", "Show the scripts that nodes have loaded",
		func(ctx context.Context, r *run, args []string) error {
			c, names, err := r.connectForNodes(ctx, "the scripts of nodes", args)
			if err != nil {
				return err
			}
			defer c.Close()
			nodes, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]client.NodeScripts, error) {
				return c.Scripts(ctx, all, names...)
			})
			if err != nil {
				return requestError(err, "scripts")
			}
			s := newLoadedScripts(nodes)
			if err := r.present(s.report, func() []terminal.Line { return s.lines(r.screen) }); err != nil {
				return err
			}
			return failIf(len(s.report.Errors) > 0)
		})
	cmd.Long = cmd.Short + `, in the order of
loading: of all nodes that run, or of the named ones. Each script has a
fingerprint, the SHA-256 of the content that the node has loaded, and a mark if
its file has changed since. "deploy" restarts nodes with changed scripts.

Scripts of the Zeek installation are counted. With --all, they are listed
without fingerprints: their version is compared instead. Signature files, and
scripts inside plugins, are not listed. Only zeekwire's agents know the scripts.

The JSON has the keys results, by node, each with scripts (a list with path,
sha256 and changed), changes (other changes since the start, such as the version
of Zeek) and omitted (the number of scripts of the Zeek installation that are
not listed), and errors, a list with source (a node) and error. Unknown
fingerprints are null.`
	t.addSelection(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also the scripts of the Zeek installation")
	return cmd
}

type scriptView struct {
	Path    string  `json:"path"`
	SHA256  *string `json:"sha256"`
	Changed bool    `json:"changed"`
}

type nodeScriptsView struct {
	Scripts []scriptView `json:"scripts"`
	Changes []string     `json:"changes"`
	Omitted uint64       `json:"omitted"`
}

// loadedScripts are the scripts of nodes.
type loadedScripts struct {
	report *report
	groups []scriptGroup
}

// scriptGroup are nodes that have loaded the same scripts.
type scriptGroup struct {
	nodes   []string
	scripts zeekapi.NodeScripts
}

func newLoadedScripts(all []client.NodeScripts) loadedScripts {
	s := loadedScripts{report: newReport()}
	for _, n := range all {
		text, refused := refusal(n.Err)
		switch {
		case refused:
			s.report.addError(cmp.Or(n.Node, n.Instance), text)
		case n.Err != nil:
			s.report.addError(cmp.Or(n.Node, n.Instance), n.Err.Error())
		default:
			s.report.Results[n.Node] = nodeScriptsView{
				list(n.Scripts, func(l zeekapi.LoadedScript) scriptView { return scriptView{l.Path, orNull(l.Hash), l.Changed} }),
				names(n.Changes), n.Omitted,
			}
			s.group(n)
		}
	}
	return s
}

func (s *loadedScripts) group(n client.NodeScripts) {
	for i, g := range s.groups {
		if slices.Equal(g.scripts.Scripts, n.Scripts) && slices.Equal(g.scripts.Changes, n.Changes) && g.scripts.Omitted == n.Omitted {
			s.groups[i].nodes = append(g.nodes, n.Node)
			return
		}
	}
	s.groups = append(s.groups, scriptGroup{[]string{n.Node}, n.NodeScripts})
}

// shownHash is the number of characters of a fingerprint in a table.
const shownHash = 12

func (s loadedScripts) lines(screen terminal.Screen) []terminal.Line {
	var lines []terminal.Line
	for _, g := range s.groups {
		if len(lines) > 0 {
			lines = append(lines, terminal.Line{})
		}
		lines = append(lines, terminal.Line{{Text: someOf(g.nodes) + ":", Style: terminal.Strong}})
		t := &terminal.Table{Header: []string{"", "SCRIPT", "FINGERPRINT", ""}, Right: []bool{0: true}, Spare: []int{0}}
		for i, l := range g.scripts.Scripts {
			changed := terminal.Span{}
			if l.Changed {
				changed = terminal.Span{Text: "changed since start", Style: terminal.Warn}
			}
			t.Add(cell(fmt.Sprint(i+1)), cell(l.Path), cell(l.Hash[:min(shownHash, len(l.Hash))]), changed)
		}
		if t.Len() > 0 {
			lines = append(lines, t.Lines(screen)...)
		} else {
			lines = append(lines, faint("no scripts of your own"))
		}
		for _, change := range g.scripts.Changes {
			lines = append(lines, terminal.Line{{Text: "changed since start: " + inOneLine(change), Style: terminal.Warn}})
		}
		if g.scripts.Omitted > 0 {
			lines = append(lines, faint("%d scripts of the Zeek installation, see --all", g.scripts.Omitted))
		}
	}
	if len(lines) == 0 && len(s.report.Errors) == 0 {
		lines = append(lines, terminal.Text("There are no nodes."))
	}
	return append(lines, reportErrorLines(s.report)...)
}
