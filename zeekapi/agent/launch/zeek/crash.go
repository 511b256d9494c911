package zeek

import (
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/crashes"
)

// crashed keeps a report about a node that has ended by itself and with an error. The backtrace
// is made in the background, one at a time.
func (l *Launcher) crashed(name string, err error, outputs zeekapi.NodeOutputs) {
	l.mu.Lock()
	n := *l.nodes[name] // the caller removes it later
	l.mu.Unlock()
	if n.pid == 0 {
		return // it was not started
	}
	c := crashes.Crash{
		CrashReport: zeekapi.CrashReport{
			Node: name, Time: time.Now(), PID: int64(n.pid), Reason: err.Error(), Code: -1,
			Zeek: n.started.Zeek, Stderr: outputs.Stderr,
		},
		Dir: l.nodeDir(name), Program: l.zeek().binary, Started: n.started.Began,
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			c.Signal = int64(status.Signal())
		} else {
			c.Code = int64(exit.ExitCode())
		}
	}
	complete := l.crashes.Add(c)
	l.all.Go(func() {
		l.reporting.Lock()
		defer l.reporting.Unlock()
		complete(l.closing)
	})
}

// Crashes returns the last reports about a node, the newest first.
func (l *Launcher) Crashes(name string) []zeekapi.CrashReport { return l.crashes.List(name) }
