package zeekapi

import "time"

// CrashReport describes the end of a node that ended by itself and with an error.
type CrashReport struct {
	Node    string        `zeek:"node" json:"node"`
	Time    time.Time     `zeek:"time" json:"time"`                 // of the end
	Runtime time.Duration `zeek:"runtime" json:"runtime,omitempty"` // of the process; 0: unknown
	PID     int64         `zeek:"pid" json:"pid,omitempty"`         // 0: unknown

	// Reason is the error for people, such as "signal: segmentation fault (core dumped)".
	// Signal is the number of the signal that ended the process, 0 for none, and Code the
	// exit code, -1 if there is none or it is unknown.
	Reason string `zeek:"reason" json:"reason"`
	Signal int64  `zeek:"signal" json:"signal,omitempty"`
	Code   int64  `zeek:"code" json:"code"`

	Zeek   string `zeek:"zeek" json:"zeek,omitempty"`     // version; "": unknown
	Stderr string `zeek:"stderr" json:"stderr,omitempty"` // last lines

	// Core is the core file, or the command that shows the one that systemd-coredump
	// keeps; "" if there is none. Backtrace is that of all threads, or says why there is
	// none.
	Core      string `zeek:"core" json:"core,omitempty"`
	Backtrace string `zeek:"backtrace" json:"backtrace,omitempty"`
}
