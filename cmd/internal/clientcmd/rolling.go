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
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// rollingRestarts names the feature in the error for a controller without it.
const rollingRestarts = "rolling restarts"

func (t *Tool) rollingRestart() *cobra.Command {
	var atOnce uint64
	var cancel, detach bool
	cmd := t.command("rolling-restart [NODE...]", "Restart nodes a few at a time (default: all nodes)",
		func(ctx context.Context, r *run, args []string) error {
			q, err := t.query(args)
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
			f := &jobFollower{session: &session{run: r, client: c, work: "the rolling restart", limit: defaultWait}}
			defer f.close()
			var job zeekapi.Job
			if cancel {
				job, err = askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Job, error) { return c.CancelJob(ctx) })
			} else {
				job, err = f.restart(ctx, q, atOnce)
			}
			if err != nil {
				return requestError(err, "job")
			}
			if !cancel && !detach {
				if job, err = f.follow(ctx, job); err != nil {
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
progress. If the command is interrupted, the controller continues, also after a
restart of its own. If the connection is lost, the command reconnects and shows
the outcome. --cancel ends the restart after the nodes that are being restarted
now.

The JSON has the keys
` + jobHelp + "." + jsonHelp
	t.addSelection(cmd)
	cmd.Flags().Uint64Var(&atOnce, "at-once", 1, "maximum `NUMBER` of nodes to restart at the same time")
	cmd.Flags().BoolVar(&detach, "detach", false, "return without waiting for the end")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "cancel the current rolling restart")
	for _, flag := range []string{"role", "group", "instance"} {
		usage.Exclude(cmd, "cancel", flag)
	}
	usage.Exclude(cmd, "cancel", "at-once")
	usage.Exclude(cmd, "cancel", "detach")
	return cmd
}

// jobFollower begins a job and waits for its end.
type jobFollower struct{ *session }

// restart begins a rolling restart of the selected nodes. The controller selects roles
// itself.
func (f *jobFollower) restart(ctx context.Context, q selection.Query, atOnce uint64) (zeekapi.Job, error) {
	nodes, roles := q.Words, q.Roles
	if q.Roles = nil; !q.All() && !q.Names() {
		var err error
		if nodes, err = f.selectNodes(ctx, f.client, nodes); err != nil {
			return zeekapi.Job{}, err
		}
		roles = nil
	}
	return f.begin(ctx, func(ctx context.Context, c *client.Client) (zeekapi.Job, error) {
		return c.RollingRestart(ctx, nodes, roles, atOnce)
	})
}

// begin makes the request that begins a job. If the connection is lost before there is a
// response, it returns the job that the controller has begun.
func (f *jobFollower) begin(ctx context.Context, call func(context.Context, *client.Client) (zeekapi.Job, error)) (zeekapi.Job, error) {
	before, err := f.last(ctx)
	if err != nil {
		return zeekapi.Job{}, err
	}
	job, lost := askOn(ctx, f.run, f.client, call)
	if !isLost(lost) || ctx.Err() != nil {
		return job, lost
	}
	if err := f.reconnect(ctx, lost); err != nil {
		return job, err
	}
	switch job, err = f.last(ctx); {
	case err != nil:
		return job, err
	case job.Number <= before.Number:
		return job, fmt.Errorf("%w; the controller had not begun the rolling restart, run the command again", lost)
	}
	return job, nil
}

// last returns the last job, the zero value if there was none.
func (f *jobFollower) last(ctx context.Context) (zeekapi.Job, error) {
	s, err := askAgain(ctx, f.session, func(ctx context.Context, c *client.Client) (zeekapi.Status, error) { return c.Status(ctx) })
	if err != nil || s.Job == nil {
		return zeekapi.Job{}, err
	}
	return *s.Job, nil
}

// follow waits for the end of a job and shows its progress, also over a lost connection.
func (f *jobFollower) follow(ctx context.Context, job zeekapi.Job) (zeekapi.Job, error) {
	wake := make(chan struct{}, 1)
	live := terminal.NewLive(f.progress, f.progressScreen)
	defer live.Clear()
	f.work = fmt.Sprintf("rolling restart %d", job.Number)
	f.detach = func() { live.Clear() }
	f.attach = func(c *client.Client) {
		c.OnEvent(func(n zeekapi.ClusterEvent) {
			if n.Kind == zeekapi.EventJob {
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		})
	}
	f.attach(f.client)
	began := time.Now()
	for job.Ended.IsZero() {
		live.Update(jobProgress(job, time.Since(began))...)
		select {
		case <-wake:
		case <-time.After(pollPause):
		case <-ctx.Done():
		}
		now, err := f.last(ctx)
		switch {
		case err != nil:
			live.Clear()
			f.error("stopped waiting; the controller continues rolling restart %d. See status, or cancel it with rolling-restart --cancel.", job.Number)
			return job, err
		case now.Number < job.Number:
			return job, fmt.Errorf("the controller has lost rolling restart %d", job.Number)
		case now.Number > job.Number:
			return job, fmt.Errorf("rolling restart %d has taken the place of %d", now.Number, job.Number)
		}
		job = now
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
