package clientcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

const (
	// watchBegin is how many events of before watch shows.
	watchBegin = 10

	// watchSettle is how long watch waits after a event for others, before it
	// asks for the status.
	watchSettle = 200 * time.Millisecond

	// reconnectPause is between two attempts to reach a controller again.
	reconnectPause = time.Second
)

func (t *Tool) watch() *cobra.Command {
	var every time.Duration
	cmd := t.command("watch", "Show events and the status until interrupted",
		func(ctx context.Context, r *run, _ []string) error {
			if every < 100*time.Millisecond {
				return r.misuse("--every %v: want 100ms or more", every)
			}
			w := &watcher{run: r, every: every, live: terminal.NewLive(r.page, r.liveScreen())}
			err := w.watch(ctx)
			w.live.Leave()
			if ctx.Err() != nil {
				return nil // how it is meant to end
			}
			return err
		})
	cmd.Long = cmd.Short + `.

Events of zeekwire's controller are shown as they occur. The status is requested
after every event, and every few seconds. If the connection is lost, the command
reconnects. The exit code after an interrupt is 0.

To a pipe or with --json, every line is an object with one key: "event",
"status" (if it changed) or "connection" ("lost" or "restored"). The values have
the form of the commands events and status.`
	cmd.Flags().DurationVar(&every, "every", 5*time.Second, "`TIME` between requests for the status")
	return cmd
}

// liveScreen is the screen, on which lines move only if people watch.
func (r *run) liveScreen() terminal.Screen {
	s := r.screen
	s.Moves = s.Moves && r.people
	return s
}

type watcher struct {
	*run
	every time.Duration
	live  *terminal.Live

	last  zeekapi.ClusterEvent // that was shown
	shown string               // the last status, as JSON
}

// watch watches over connections that come and go. Only the first one must be
// there.
func (w *watcher) watch(ctx context.Context) error {
	c, err := w.connectAll(ctx)
	if err != nil {
		return err
	}
	for {
		err := w.watchOn(ctx, c)
		c.Close()
		if ctx.Err() != nil {
			return err
		}
		if errors.As(err, new(*client.RefusedError)) {
			return plain(err, "status")
		}
		if err := w.say("connection", "lost", wrong("%s  Connection lost: %v", localTime(time.Now()), err)); err != nil {
			return err
		}
		quiet := *w.run
		quiet.show = showNothing // of attempts to connect again
		for c = nil; c == nil; {
			select {
			case <-time.After(reconnectPause):
			case <-ctx.Done():
				return nil
			}
			c, _ = quiet.connectAll(ctx)
		}
		if err := w.say("connection", "restored", terminal.Text("%s  Connected again.", localTime(time.Now()))); err != nil {
			c.Close()
			return err
		}
		w.shown = ""
	}
}

// watchOn watches until the connection is lost.
func (w *watcher) watchOn(ctx context.Context, c *client.Client) error {
	events := make(chan zeekapi.ClusterEvent, eventBacklog)
	c.OnEvent(func(n zeekapi.ClusterEvent) {
		select {
		case events <- n:
		default: // is fetched with the next one, which is not in sequence
		}
	})
	ours, err := w.isOurs(ctx, c)
	if err != nil {
		return err
	}
	if ours {
		if err := w.fetch(ctx, c, watchBegin); err != nil {
			return err
		}
	}
	refresh := time.NewTimer(0)
	defer refresh.Stop()
	for {
		select {
		case n := <-events:
			if n.Number > w.last.Number+1 {
				err = w.fetch(ctx, c, eventBacklog)
			} else {
				err = w.show(n)
			}
			refresh.Reset(watchSettle)
		case <-refresh.C:
			var s zeekapi.Status
			if s, err = w.askStatus(ctx, c, ours); err == nil {
				err = w.showStatus(s, ours)
			}
			refresh.Reset(w.every)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// fetch shows the last events, except for those that were shown.
func (w *watcher) fetch(ctx context.Context, c *client.Client, limit uint64) error {
	all, err := askOn(ctx, w.run, c, func(ctx context.Context, c *client.Client) ([]zeekapi.ClusterEvent, error) {
		return c.Events(ctx, 0, limit)
	})
	if errors.As(err, new(*client.RefusedError)) {
		return nil // a controller that keeps them from us
	}
	for _, n := range all {
		err = errors.Join(err, w.show(n))
	}
	return err
}

// show shows a event, unless that was done already. A controller that lost its
// state counts events from 1 again.
func (w *watcher) show(n zeekapi.ClusterEvent) error {
	if n.Number <= w.last.Number && !n.Time.After(w.last.Time) {
		return nil
	}
	w.last = n
	return w.say("event", newEventView(n), eventLine(n))
}

func (w *watcher) showStatus(s zeekapi.Status, ours bool) error {
	view := newStatusView(s)
	text, err := json.Marshal(view)
	if err != nil {
		return err
	}
	changed := string(text) != w.shown
	first := w.shown == ""
	w.shown = string(text)
	switch lines := statusLines(w.screen, s, ours, time.Now()); {
	case w.people && w.liveScreen().Moves:
		return w.live.Update(slices.Insert(lines, 0, terminal.Line{})...)
	case w.people && (first || changed && !ours): // there are no events
		return w.live.Print(lines...)
	case !w.people && changed:
		return w.say("status", view, nil)
	}
	return nil
}

// say writes a line that stays, or an object with one key.
func (w *watcher) say(key string, v any, line terminal.Line) error {
	if w.people {
		return w.live.Print(line)
	}
	text, err := json.Marshal(map[string]any{key: v})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "%s\n", text)
	return err
}
