// Package proc reads the state of processes from Linux's /proc. On other systems it finds
// no processes.
package proc

// TicksPerSecond is the unit of times in /proc, which is the same on all
// architectures that Go supports.
const TicksPerSecond = 100

// Stat is the state of a process, see proc_pid_stat(5).
type Stat struct {
	Name      string // name of the program, or the one that it gave itself; at most 15 bytes
	Ended     bool   // it is a zombie: its exit status was not collected yet
	StartTime string // in ticks since boot
	Parent    int
	Group     int

	ticks    uint64 // CPU time
	resident uint64 // bytes
	threads  uint64
}
