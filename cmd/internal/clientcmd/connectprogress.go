package clientcmd

import (
	"errors"
	"syscall"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

// connectProgress shows failed attempts to connect to the controller.
type connectProgress struct {
	run      *run
	live     *terminal.Live // nil if standard error cannot show progress
	attempts int
	last     error
}

func (r *run) newConnectProgress() *connectProgress {
	p := &connectProgress{run: r}
	if r.progress != nil && r.show > showNothing {
		p.live = terminal.NewLive(r.progress, r.progressScreen)
	}
	return p
}

// addFailure shows the error of an attempt, unless it was the last attempt.
func (p *connectProgress) addFailure(err error) {
	p.attempts++
	p.last = err
	if p.live == nil || p.attempts == p.run.attempts {
		return
	}
	reason := "no answer"
	if errors.Is(err, syscall.ECONNREFUSED) {
		reason = "nobody listens there"
	}
	p.live.Update(terminal.Text("Waiting for controller %s: %s (attempt %d of %d)", p.run.remote(), reason, p.attempts, p.run.attempts))
}

// clear removes the progress from the screen.
func (p *connectProgress) clear() {
	if p.live != nil {
		p.live.Clear()
	}
}

// printHint prints a way to solve the last error. The error itself has the text of
// zeek-client, because scripts may search for it.
func (p *connectProgress) printHint() {
	switch {
	case !p.run.tool.Extended:
	case errors.Is(p.last, syscall.ECONNREFUSED):
		p.run.log(showErrors, "hint", "nobody listens there; start a controller by \"zeekwire controller\", or name another one by --controller HOST:PORT")
	default:
		p.run.log(showErrors, "hint", "check the address, which --controller HOST:PORT sets, and what filters packets on the way")
	}
}
