package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) cleanup() *cobra.Command {
	var dryRun bool
	cmd := t.command("cleanup [INSTANCE...]", "Remove unneeded files of agents (default: on all instances)",
		func(ctx context.Context, r *run, args []string) error {
			c, err := r.connectExtended(ctx, "cleaning up")
			if err != nil {
				return err
			}
			defer c.Close()
			r.timeout = max(r.timeout, client.CheckTimeout) // to remove large directories takes long
			all, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]client.InstanceLeftovers, error) {
				return c.Cleanup(ctx, dryRun, args...)
			})
			if err != nil {
				return requestError(err, "cleanup")
			}
			return r.showLeftovers(all, dryRun)
		})
	cmd.Long = cmd.Short + `:

  node    directories of nodes that are not part of the cluster any more
  core    core files of nodes
  crash   reports about crashes of such nodes
  site    sites that no node uses
  check   files of checks that did not end
  temp    incomplete files

Files that changed within the last hour are kept, and so are all files of nodes
that run, should run, or are stopped or drained, except their core files. A
directory with logs that were not archived is kept and reported as an error.
The agent's settings limit the age and size of archived logs.

The JSON has the keys errors, a list, and results, by instance, each a list
with path, kind, bytes, since (the last change) and error. The exit code is 1
if something cannot be removed.` + jsonHelp
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and its size, and remove nothing")
	return cmd
}

type leftoverView struct {
	Path  string     `json:"path"`
	Kind  string     `json:"kind"`
	Bytes uint64     `json:"bytes"`
	Since *time.Time `json:"since"`
	Error *string    `json:"error"`
}

// showLeftovers prints the leftovers of instances, and returns the error of the command.
func (r *run) showLeftovers(all []client.InstanceLeftovers, dryRun bool) error {
	out := newReport()
	t := &terminal.Table{Header: []string{"INSTANCE", "KIND", "SIZE", "AGE", "PATH"}, Right: []bool{2: true}}
	var notes []terminal.Line
	count, bytes, failed := 0, uint64(0), false
	for _, in := range all {
		if in.Err != nil {
			out.addError(in.Instance, requestError(in.Err, "cleanup").Error())
			continue
		}
		out.Results[in.Instance] = list(in.Leftovers, func(l zeekapi.Leftover) leftoverView {
			return leftoverView{l.Path, l.Kind, l.Bytes, orNullTime(l.Since), orNull(l.Error)}
		})
		for _, l := range in.Leftovers {
			t.Add(cell(in.Instance), cell(l.Kind), cell(sizeText(l.Bytes)), cell(since(l.Since, time.Now())), cell(l.Path))
			if l.Error != "" {
				failed = true
				notes = append(notes, errorLine("%s: %s %s", in.Instance, l.Path, inOneLine(l.Error)))
				continue
			}
			count++
			bytes += l.Bytes
		}
	}
	err := r.present(out, func() []terminal.Line {
		summary := terminal.Text("Removed %s, %s.", plural(count, "item"), sizeText(bytes))
		switch {
		case count == 0 && len(notes) == 0:
			summary = terminal.Text("Nothing to remove.")
		case dryRun:
			summary = terminal.Text("Would remove %s, %s.", plural(count, "item"), sizeText(bytes))
		}
		lines := slices.Concat(notes, reportErrorLines(out), []terminal.Line{summary})
		if t.Len() > 0 {
			lines = append(t.Lines(r.screen), lines...)
		}
		return lines
	})
	if err != nil {
		return err
	}
	return failIf(len(out.Errors) > 0 || failed && !dryRun)
}

// sizeText formats a number of bytes with a binary unit.
func sizeText(bytes uint64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%dB", bytes)
	}
	return memoryText(bytes)
}
