package clientcmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// bytesPerLine is the number of bytes to request for each line. It is more than the
// length of most lines.
const bytesPerLine = 512

func (t *Tool) logs() *cobra.Command {
	var lines int
	var follow bool
	cmd := t.command("logs [NODE...]", "Show the latest output of nodes",
		func(ctx context.Context, r *run, args []string) error {
			switch q, err := t.query(args); {
			case err != nil:
				return r.misuse("%v", err)
			case q.All():
				return r.misuse("missing NODE; usage: zeekwire logs NODE...")
			case lines < 1:
				return r.misuse("--lines %d: want a number from 1", lines)
			}
			c, names, err := r.connectForNodes(ctx, "the outputs of nodes", args)
			if err != nil {
				return err
			}
			defer c.Close()
			logs := list(names, func(name string) *nodeLog { return &nodeLog{run: r, client: c, node: name, lines: lines} })
			if len(logs) == 1 && slices.Equal(names, args) {
				err = logs[0].show(ctx)
			} else {
				err = r.showLogs(ctx, logs, follow)
			}
			if err != nil || !follow {
				return err
			}
			return followLogs(ctx, logs)
		})
	cmd.Long = cmd.Short + `.

A node's standard output is written to standard output, and its standard error
to standard error. It is available only from zeekwire's agents. With --follow,
the command runs until it is interrupted, and then exits with 0. If several
nodes are selected, each line begins with the name of its node.

With --json, the output has the keys node, stdout and stderr, in a list unless
NODE is a name.`
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "maximum `NUMBER` of lines of each output")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for further output until interrupted")
	if t.Extended {
		usage.Exclude(cmd, "follow", "json")
	}
	t.addSelection(cmd)
	return cmd
}

// nodeLog is the output of a node.
type nodeLog struct {
	run    *run
	client *client.Client
	node   string
	lines  int    // maximum number of lines to show of each stream
	prefix string // before each line
	last   zeekapi.NodeLogs
}

// fetch requests the end of the output.
func (l *nodeLog) fetch(ctx context.Context) (zeekapi.NodeLogs, error) {
	latest, err := askOn(ctx, l.run, l.client, func(ctx context.Context, c *client.Client) (zeekapi.NodeLogs, error) {
		return c.Logs(ctx, l.node, uint64(l.lines)*bytesPerLine)
	})
	if err != nil {
		return latest, fmt.Errorf("%s: %w", l.node, requestError(err, "output"))
	}
	return latest, nil
}

// outputs requests the output and returns its last lines. A node that does not run is
// noted.
func (l *nodeLog) outputs(ctx context.Context) (o zeekapi.NodeOutputs, err error) {
	if l.last, err = l.fetch(ctx); err != nil {
		return o, err
	}
	if l.last.Remark != "" {
		l.run.messages.log(showErrors, "note", "%s does not run now: %s", l.node, l.last.Remark)
	}
	return zeekapi.NodeOutputs{Stdout: lastLines(l.last.Stdout, l.lines), Stderr: lastLines(l.last.Stderr, l.lines)}, nil
}

// show prints the last lines of the output.
func (l *nodeLog) show(ctx context.Context) error {
	shown, err := l.outputs(ctx)
	if err != nil {
		return err
	}
	if l.run.tool.flags.json {
		return l.run.print(logView(l.node, shown))
	}
	return l.run.showOutputs(l.node, shown)
}

func logView(node string, o zeekapi.NodeOutputs) map[string]string {
	return map[string]string{"node": node, "stdout": o.Stdout, "stderr": o.Stderr}
}

// showLogs prints the last lines of the outputs of several nodes. It reports the nodes
// whose outputs are not available, and then fails.
func (r *run) showLogs(ctx context.Context, logs []*nodeLog, follow bool) error {
	views := []map[string]string{}
	var failed error
	for _, l := range logs {
		if !r.tables || follow {
			l.prefix = l.node + ": "
		}
		shown, err := l.outputs(ctx)
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil:
			failed = r.fail("%v", err)
		case r.tool.flags.json:
			views = append(views, logView(l.node, shown))
		case l.prefix != "":
			err = l.write(shown)
		default:
			err = r.showOutputs(l.node, shown)
		}
		if failed == nil && err != nil {
			return err
		}
	}
	if r.tool.flags.json {
		if err := r.print(views); err != nil {
			return err
		}
	}
	return failed
}

// followLogs requests the outputs repeatedly and prints the added text, until ctx ends.
func followLogs(ctx context.Context, logs []*nodeLog) error {
	for sleep(ctx, pollPause) {
		for _, l := range logs {
			latest, err := l.fetch(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if err := l.write(zeekapi.NodeOutputs{
				Stdout: addedOutput(l.last.Stdout, latest.Stdout), Stderr: addedOutput(l.last.Stderr, latest.Stderr),
			}); err != nil {
				return err
			}
			l.last = latest
		}
	}
	return nil
}

// write writes each stream to its own output, with the prefix.
func (l *nodeLog) write(o zeekapi.NodeOutputs) error {
	return l.run.writeOutputs(zeekapi.NodeOutputs{Stdout: prefixed(l.prefix, o.Stdout), Stderr: prefixed(l.prefix, o.Stderr)})
}

// prefixed returns a text with a prefix before each line. The last line gets a line end, so
// that other texts can follow. Without a prefix, the text is unchanged.
func prefixed(prefix, text string) string {
	if prefix == "" {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(prefix + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

// showOutputs writes both streams. If the command writes tables, each stream has a
// title.
func (r *run) showOutputs(node string, o zeekapi.NodeOutputs) error {
	if !r.tables {
		return r.writeOutputs(o)
	}
	for _, part := range []struct {
		stream, text string
	}{{"standard output", o.Stdout}, {"standard error", o.Stderr}} {
		title := terminal.Line{{Text: node + " wrote to " + part.stream + ":", Style: terminal.Strong}}
		if part.text == "" {
			title[0].Text = node + " wrote nothing to " + part.stream + "."
		}
		if err := r.screen.Write(r.page, title); err != nil {
			return err
		}
		if _, err := io.WriteString(r.stdout, part.text); err != nil {
			return err
		}
	}
	return nil
}

// writeOutputs writes each stream to its own output.
func (r *run) writeOutputs(o zeekapi.NodeOutputs) error {
	if _, err := io.WriteString(r.stdout, o.Stdout); err != nil {
		return err
	}
	_, err := io.WriteString(r.messages.w, o.Stderr)
	return err
}

// lastLines returns the last n lines of a text. It adds a missing line feed at the
// end.
func lastLines(text string, n int) string {
	if text == "" {
		return ""
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	from := len(text) - 1
	for range n {
		if from = strings.LastIndexByte(text[:from], '\n'); from < 0 {
			return text
		}
	}
	return text[from+1:]
}

// addedOutput returns the text that was added to an output of which only the end is
// known. The arguments are the earlier end and the current one. If they do not
// overlap, it returns all of the current one.
func addedOutput(old, now string) string {
	for cut := range old {
		if rest, ok := strings.CutPrefix(now, old[cut:]); ok {
			return rest
		}
	}
	return now
}
