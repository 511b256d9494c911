package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// rollingRestarts names the feature in the error for a controller without it.
const rollingRestarts = "rolling restarts"

func (t *Tool) rollingRestart() *cobra.Command {
	var roles []string
	var atOnce uint64
	var cancel, detach bool
	cmd := t.command("rolling-restart [NODE...]", "Restart nodes a few at a time (default: all nodes)",
		func(ctx context.Context, r *run, args []string) error {
			wanted, err := clusterRoles(roles)
			if err == nil && atOnce == 0 {
				err = errors.New("--at-once: want at least 1")
			}
			if err != nil {
				return r.misuse("%v", err)
			}
			c, err := r.connectExtended(ctx, rollingRestarts)
			if err != nil {
				return err
			}
			defer c.Close()
			job, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Job, error) {
				if cancel {
					return c.CancelJob(ctx)
				}
				return c.RollingRestart(ctx, args, wanted, atOnce)
			})
			if err != nil {
				return requestError(err, "job")
			}
			if !cancel && !detach {
				if job, err = r.followJob(ctx, c, job); err != nil {
					return err
				}
			}
			if err := r.present(newJobView(job), func() []terminal.Line { return jobLines(job) }); err != nil {
				return err
			}
			return failIf(!cancel && job.Error != "")
		})
	cmd.Long = cmd.Short + `.

Loggers are restarted first, then managers, proxies and workers. The next nodes
follow when the previous ones are running again.

The controller performs the restart; this command waits for its end and shows
progress. If the command is interrupted, the controller continues. --cancel ends
the restart after the nodes that are being restarted now.

The JSON has the keys
` + jobHelp + "." + jsonHelp
	cmd.Flags().StringSliceVar(&roles, "role", nil, "`ROLE` of the nodes to restart: manager, logger, proxy or worker; may be repeated")
	cmd.Flags().Uint64Var(&atOnce, "at-once", 1, "maximum `NUMBER` of nodes to restart at the same time")
	cmd.Flags().BoolVar(&detach, "detach", false, "return without waiting for the end")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "cancel the current rolling restart")
	usage.Exclude(cmd, "cancel", "role")
	usage.Exclude(cmd, "cancel", "at-once")
	usage.Exclude(cmd, "cancel", "detach")
	return cmd
}

func clusterRoles(names []string) ([]zeekapi.ClusterRole, error) {
	var roles []zeekapi.ClusterRole
	for _, name := range names {
		role := zeekapi.ClusterRole(strings.ToUpper(strings.TrimSpace(name)))
		if !role.Valid() || role == zeekapi.RoleNone {
			return nil, fmt.Errorf("role %q: want manager, logger, proxy or worker", name)
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// followJob waits for the end of a job and shows its progress.
func (r *run) followJob(ctx context.Context, c *client.Client, job zeekapi.Job) (zeekapi.Job, error) {
	wake := make(chan struct{}, 1)
	c.OnEvent(func(n zeekapi.ClusterEvent) {
		if n.Kind == zeekapi.EventJob {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	live := terminal.NewLive(r.progress, r.progressScreen)
	defer live.Clear()
	began := time.Now()
	for job.Ended.IsZero() {
		live.Update(jobProgress(job, time.Since(began))...)
		select {
		case <-wake:
		case <-time.After(pollPause):
		case <-ctx.Done():
		}
		s, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
		switch {
		case err != nil:
			live.Clear()
			r.error("stopped waiting; the controller continues rolling restart %d. See status, or cancel it with rolling-restart --cancel.", job.Number)
			return job, err
		case s.Job == nil || s.Job.Number < job.Number:
			return job, fmt.Errorf("the controller has lost rolling restart %d", job.Number)
		case s.Job.Number > job.Number:
			return job, fmt.Errorf("rolling restart %d has taken the place of %d", s.Job.Number, job.Number)
		}
		job = *s.Job
	}
	return job, nil
}

// jobProgress returns the progress of a job after the duration d.
func jobProgress(j zeekapi.Job, d time.Duration) []terminal.Line {
	lines := []terminal.Line{{
		{Text: "Restarting", Style: terminal.Strong},
		cell(fmt.Sprintf(": %d of %d nodes done", len(j.Done), len(j.Done)+len(j.Now)+len(j.Next))),
		{Text: " (" + age(d) + ")", Style: terminal.Faint},
	}}
	for _, part := range []struct {
		label string
		nodes []string
		style terminal.Style
	}{{"now", j.Now, terminal.Warn}, {"next", j.Next, terminal.Plain}, {"done", j.Done, terminal.Good}} {
		if len(part.nodes) > 0 {
			lines = append(lines, terminal.Line{cell(fmt.Sprintf("  %-5s", part.label)), {Text: strings.Join(part.nodes, ", "), Style: part.style}})
		}
	}
	return lines
}

// jobLines returns the progress of a job or, if it has ended, its result.
func jobLines(j zeekapi.Job) []terminal.Line {
	switch {
	case j.Error != "":
		return []terminal.Line{errorLine("Rolling restart %d ended early: %s", j.Number, inOneLine(j.Error)), terminal.Text("Restarted: %s", orNone(strings.Join(j.Done, ", ")))}
	case j.Ended.IsZero():
		return jobProgress(j, time.Since(j.Started))
	case len(j.Done) == 0:
		return []terminal.Line{terminal.Text("There was nothing to restart.")}
	}
	return []terminal.Line{terminal.Text("Restarted: %s", strings.Join(j.Done, ", "))}
}
