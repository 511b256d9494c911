package clientcmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// bytesPerLine is how much to ask for in order to get a line, and more.
const bytesPerLine = 512

func (t *Tool) logs() *cobra.Command {
	var lines int
	var follow bool
	cmd := t.command("logs NODE", "Show the latest output of a node",
		func(ctx context.Context, r *run, args []string) error {
			node := args[0]
			if lines < 1 {
				return r.misuse("--lines %d: want a number from 1", lines)
			}
			c, err := r.operate(ctx, "the outputs of nodes")
			if err != nil {
				return err
			}
			defer c.Close()
			ask := func() (zeekapi.NodeLogs, error) {
				all, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.NodeLogs, error) {
					return c.Logs(ctx, node, uint64(lines)*bytesPerLine)
				})
				if err != nil {
					return all, fmt.Errorf("%s: %w", node, plain(err, "output"))
				}
				return all, nil
			}
			last, err := ask()
			if err != nil {
				return err
			}
			if last.Remark != "" {
				r.messages.say(showErrors, "note", "%s does not run now: %s", node, last.Remark)
			}
			shown := zeekapi.NodeOutputs{Stdout: lastLines(last.Stdout, lines), Stderr: lastLines(last.Stderr, lines)}
			if t.flags.json {
				return r.print(map[string]string{"node": node, "stdout": shown.Stdout, "stderr": shown.Stderr})
			}
			if err := r.showOutputs(node, shown); err != nil || !follow {
				return err
			}
			for {
				select {
				case <-time.After(pollPause):
				case <-ctx.Done():
					return nil
				}
				next, err := ask()
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if err := r.writeOutputs(zeekapi.NodeOutputs{
					Stdout: grown(last.Stdout, next.Stdout), Stderr: grown(last.Stderr, next.Stderr),
				}); err != nil {
					return err
				}
				last = next
			}
		})
	cmd.Long = `Show the latest output of a node.

The node's standard output is written to standard output, and its standard error
to standard error. It is available only from zeekwire's agents. With --follow,
the command runs until it is interrupted, and then exits with 0.

With --json, the output has the keys node, stdout and stderr.`
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "maximum `NUMBER` of lines of each output")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for further output until interrupted")
	if t.People {
		usage.Exclude(cmd, "follow", "json")
	}
	return cmd
}

// showOutputs writes what there is of both, with titles if both are on one
// terminal.
func (r *run) showOutputs(node string, o zeekapi.NodeOutputs) error {
	if !r.people {
		return r.writeOutputs(o)
	}
	for _, part := range []struct {
		what, text string
	}{{"standard output", o.Stdout}, {"standard error", o.Stderr}} {
		title := terminal.Line{{Text: node + " wrote to " + part.what + ":", Style: terminal.Strong}}
		if part.text == "" {
			title[0].Text = node + " wrote nothing to " + part.what + "."
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

func (r *run) writeOutputs(o zeekapi.NodeOutputs) error {
	if _, err := io.WriteString(r.stdout, o.Stdout); err != nil {
		return err
	}
	_, err := io.WriteString(r.messages.w, o.Stderr)
	return err
}

// lastLines returns the last n lines of a text, each of which ends with a line
// feed.
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

// grown returns what came to a text of which only the end is known: old is its
// end before, and now is its end now.
func grown(old, now string) string {
	for cut := range old {
		if rest, ok := strings.CutPrefix(now, old[cut:]); ok {
			return rest
		}
	}
	return now
}
