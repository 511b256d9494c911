package clientcmd

import (
	"context"
	"fmt"
	"io"
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
	cmd := t.command("logs NODE", "Show the latest output of a node",
		func(ctx context.Context, r *run, args []string) error {
			if lines < 1 {
				return r.misuse("--lines %d: want a number from 1", lines)
			}
			c, err := r.connectExtended(ctx, "the outputs of nodes")
			if err != nil {
				return err
			}
			defer c.Close()
			l := nodeLog{run: r, client: c, node: args[0], lines: lines}
			latest, err := l.fetch(ctx)
			if err != nil {
				return err
			}
			if err := l.show(latest); err != nil || !follow {
				return err
			}
			return l.follow(ctx, latest)
		})
	cmd.Long = `Show the latest output of a node.

The node's standard output is written to standard output, and its standard error
to standard error. It is available only from zeekwire's agents. With --follow,
the command runs until it is interrupted, and then exits with 0.

With --json, the output has the keys node, stdout and stderr.`
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "maximum `NUMBER` of lines of each output")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for further output until interrupted")
	if t.Extended {
		usage.Exclude(cmd, "follow", "json")
	}
	return cmd
}

// nodeLog is the output of a node.
type nodeLog struct {
	run    *run
	client *client.Client
	node   string
	lines  int // maximum number of lines to show of each stream
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

// show prints the last lines of the output.
func (l *nodeLog) show(latest zeekapi.NodeLogs) error {
	r := l.run
	if latest.Remark != "" {
		r.messages.log(showErrors, "note", "%s does not run now: %s", l.node, latest.Remark)
	}
	shown := zeekapi.NodeOutputs{Stdout: lastLines(latest.Stdout, l.lines), Stderr: lastLines(latest.Stderr, l.lines)}
	if r.tool.flags.json {
		return r.print(map[string]string{"node": l.node, "stdout": shown.Stdout, "stderr": shown.Stderr})
	}
	return r.showOutputs(l.node, shown)
}

// follow requests the output repeatedly and prints the added text, until ctx ends.
func (l *nodeLog) follow(ctx context.Context, last zeekapi.NodeLogs) error {
	for sleep(ctx, pollPause) {
		latest, err := l.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.run.writeOutputs(zeekapi.NodeOutputs{
			Stdout: addedOutput(last.Stdout, latest.Stdout), Stderr: addedOutput(last.Stderr, latest.Stderr),
		}); err != nil {
			return err
		}
		last = latest
	}
	return nil
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
