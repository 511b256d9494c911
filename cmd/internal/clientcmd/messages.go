package clientcmd

import (
	"fmt"
	"io"
	"time"
)

// verbosity selects the messages that are shown.
type verbosity int

// The levels of zeek-client. Higher levels are the same as showTraffic. At that
// level, zeek-client shows WebSocket frames; these commands show Broker messages.
const (
	showNothing verbosity = iota - 1
	showErrors
	showWarnings
	showInfos
	showDebugs
	showTraffic
)

// messages writes messages to standard error in the format of zeek-client.
type messages struct {
	w    io.Writer
	show verbosity
	rich bool // with the time
	warn bool // show warnings whenever errors are shown
}

// log writes a message that is shown from a verbosity on. The name is its severity,
// such as "error".
func (m messages) log(level verbosity, name, format string, args ...any) {
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

func (m messages) error(format string, args ...any) { m.log(showErrors, "error", format, args...) }
func (m messages) warning(format string, args ...any) {
	level := showWarnings
	if m.warn {
		level = showErrors
	}
	m.log(level, "warning", format, args...)
}
func (m messages) info(format string, args ...any)  { m.log(showInfos, "info", format, args...) }
func (m messages) debug(format string, args ...any) { m.log(showDebugs, "debug", format, args...) }
