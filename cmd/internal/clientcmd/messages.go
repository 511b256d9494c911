package clientcmd

import (
	"fmt"
	"io"
	"time"
)

// verbosity says which messages are shown.
type verbosity int

// The levels of zeek-client; more shows no more. Where zeek-client shows the
// traffic of its WebSocket, we show messages.
const (
	showNothing verbosity = iota - 1
	showErrors
	showWarnings
	showInfos
	showDebugs
	showTraffic
)

// messages are the messages on standard error, in zeek-client's form.
type messages struct {
	w    io.Writer
	show verbosity
	rich bool // with the time
	warn bool // show warnings where errors are shown
}

func (m messages) say(level verbosity, name, format string, args ...any) {
	if level > m.show {
		return
	}
	text := fmt.Sprintf(format, args...)
	if m.rich {
		fmt.Fprintf(m.w, "%s %-8s %s\n", time.Now().Format(time.DateTime), name, text)
		return
	}
	fmt.Fprintf(m.w, "%s: %s\n", name, text)
}

func (m messages) error(format string, args ...any) { m.say(showErrors, "error", format, args...) }
func (m messages) warning(format string, args ...any) {
	level := showWarnings
	if m.warn {
		level = showErrors
	}
	m.say(level, "warning", format, args...)
}
func (m messages) info(format string, args ...any)  { m.say(showInfos, "info", format, args...) }
func (m messages) debug(format string, args ...any) { m.say(showDebugs, "debug", format, args...) }
