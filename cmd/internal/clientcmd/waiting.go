package clientcmd

import (
	"errors"
	"syscall"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

// waiting tells people of a controller that cannot be reached yet.
type waiting struct {
	run   *run
	live  *terminal.Live // nil: not on a terminal
	tried int
	last  error
}

func (r *run) newWaiting() *waiting {
	w := &waiting{run: r}
	if r.progress != nil && r.show > showNothing {
		w.live = terminal.NewLive(r.progress, r.watcher)
	}
	return w
}

// failed says that an attempt failed.
func (w *waiting) failed(err error) {
	w.tried++
	w.last = err
	if w.live == nil || w.tried == w.run.attempts {
		return
	}
	why := "no answer"
	if errors.Is(err, syscall.ECONNREFUSED) {
		why = "nobody listens there"
	}
	w.live.Update(terminal.Text("Waiting for controller %s: %s (attempt %d of %d)", w.run.remote(), why, w.tried, w.run.attempts))
}

func (w *waiting) end() {
	if w.live != nil {
		w.live.Clear()
	}
}

// advise says what to do about a controller that could not be reached. The
// words before that are zeek-client's, whose users look for them.
func (w *waiting) advise() {
	switch {
	case !w.run.tool.People:
	case errors.Is(w.last, syscall.ECONNREFUSED):
		w.run.say(showErrors, "hint", "nobody listens there; start a controller by \"zeekwire controller\", or name another one by --controller HOST:PORT")
	default:
		w.run.say(showErrors, "hint", "check the address, which --controller HOST:PORT sets, and what filters packets on the way")
	}
}
