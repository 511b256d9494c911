package clientcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

const (
	// initialEvents is the number of earlier events that watch shows first.
	initialEvents = 10

	// statusDelay is the time from an event to the next request for the status.
	// Further events restart it.
	statusDelay = 200 * time.Millisecond
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
				return nil // an interrupt is the normal end
			}
			return err
		})
	cmd.Long = cmd.Short + `.

Events of zeekwire's controller are shown as they occur. The status is requested
after every event, and every few seconds. If the connection is lost, the command
reconnects. The exit code after an interrupt is 0.

On a terminal, the status is below the events. If it has more lines than the
terminal, instances and nodes with problems are shown first, and the others are
counted; "zeekwire status" shows all.

To a pipe or with --json, every line is an object with one key: "event",
"status" (if it changed) or "connection" ("lost" or "restored"). The values have
the form of the commands events and status.`
	cmd.Flags().DurationVar(&every, "every", 5*time.Second, "`TIME` between requests for the status")
	return cmd
}

// liveScreen returns the screen of standard output. Its lines are updated only if
// the command writes tables.
func (r *run) liveScreen() terminal.Screen {
	s := r.screen
	s.Moves = s.Moves && r.tables
	return s
}

type watcher struct {
	*run
	every time.Duration
	live  *terminal.Live

	last  zeekapi.ClusterEvent // the last event that was shown
	shown string               // the last status that was shown, as JSON without its age

	disks    disks     // that the status shows
	diskTime time.Time // of the last request for them
}

// watch shows events and the status until ctx ends. It reconnects after a lost
// connection. An error of the first connection ends it, and so does a controller that
// refuses the next one.
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
			return requestError(err, "status")
		}
		if websocket.IsRefusal(err) {
			return err
		}
		if err := w.emit("connection", "lost", errorLine("%s  Connection lost: %v", localTime(time.Now()), err)); err != nil {
			return err
		}
		quiet := *w.run
		quiet.show = showNothing // no messages about attempts to reconnect
		for c = nil; c == nil; {
			if !sleep(ctx, reconnectPause) {
				return nil
			}
			if c, err = quiet.connectAll(ctx); websocket.IsRefusal(err) {
				return fmt.Errorf("cannot connect again: %s", explain(errors.Unwrap(err), w.remote()))
			}
		}
		if err := w.emit("connection", "restored", terminal.Text("%s  Connected again.", localTime(time.Now()))); err != nil {
			c.Close()
			return err
		}
		w.shown = ""
	}
}

// watchOn shows events and the status until the connection is lost.
func (w *watcher) watchOn(ctx context.Context, c *client.Client) error {
	events := make(chan zeekapi.ClusterEvent, eventBacklog)
	c.OnEvent(func(n zeekapi.ClusterEvent) {
		select {
		case events <- n:
		default: // fetched with the next event, because of the gap in the numbers
		}
	})
	extended, err := w.speaksOperations(ctx, c)
	if err != nil {
		return err
	}
	if extended {
		if err := w.fetch(ctx, c, initialEvents); err != nil {
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
			refresh.Reset(statusDelay)
		case <-refresh.C:
			var s zeekapi.Status
			if s, err = w.requestStatus(ctx, c, extended); err == nil {
				if extended && time.Since(w.diskTime) >= disksAge {
					w.disks, w.diskTime = w.requestDisks(ctx, c), time.Now()
				}
				addDisks(s, w.disks)
				err = w.showStatus(s, extended)
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

// fetch requests the last events, and shows those that were not shown before.
func (w *watcher) fetch(ctx context.Context, c *client.Client, limit uint64) error {
	all, err := askOn(ctx, w.run, c, func(ctx context.Context, c *client.Client) ([]zeekapi.ClusterEvent, error) {
		return c.Events(ctx, 0, limit)
	})
	if errors.As(err, new(*client.RefusedError)) {
		return nil // the client has no permission to read events
	}
	if err == nil && w.isOther(all) {
		w.last = zeekapi.ClusterEvent{}
	}
	for _, n := range all {
		err = errors.Join(err, w.show(n))
	}
	return err
}

// isOther reports whether the last event that was shown is not one of the controller:
// it has lost its state, and numbers events from 1 again. The order of times says nothing,
// because a clock may be set back.
func (w *watcher) isOther(all []zeekapi.ClusterEvent) bool {
	if w.last.Number == 0 || len(all) == 0 || all[len(all)-1].Number < w.last.Number {
		return w.last.Number > 0
	}
	return slices.ContainsFunc(all, func(n zeekapi.ClusterEvent) bool {
		return n.Number == w.last.Number && !n.Time.Equal(w.last.Time)
	})
}

// show shows an event, unless it was shown before.
func (w *watcher) show(n zeekapi.ClusterEvent) error {
	if n.Number <= w.last.Number {
		return nil
	}
	w.last = n
	return w.emit("event", newEventView(n), eventLine(n))
}

// showStatus shows a status. Where lines cannot be updated, it prints the first
// status, and later ones only if no events report the changes.
func (w *watcher) showStatus(s zeekapi.Status, extended bool) error {
	view := newStatusView(s)
	compared := view
	compared.AsOf, compared.ageView = nil, ageView{} // they change although nothing happens
	text, err := json.Marshal(compared)
	if err != nil {
		return err
	}
	changed := string(text) != w.shown
	first := w.shown == ""
	w.shown = string(text)
	switch {
	case w.tables && w.liveScreen().Moves:
		return w.live.Update(fitStatus(w.screen, s, extended, time.Now())...)
	case w.tables && (first || changed && !extended): // there are no events
		return w.live.Print(statusLines(w.screen, s, extended, time.Now())...)
	case !w.tables && changed:
		return w.emit("status", view, nil)
	}
	return nil
}

// emit prints a line above the status or, in JSON, an object with one key.
func (w *watcher) emit(key string, v any, line terminal.Line) error {
	if w.tables {
		return w.live.Print(line)
	}
	text, err := json.Marshal(map[string]any{key: v})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "%s\n", text)
	return err
}
