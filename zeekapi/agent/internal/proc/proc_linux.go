package proc

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Read returns the state of a process.
func Read(pid int) (Stat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Stat{}, err
	}
	return read(p)
}

// bootTime is the time at which the machine started, rounded down to seconds. Zero means
// unknown.
var bootTime = sync.OnceValue(func() time.Time {
	mounted, err := procfs.NewDefaultFS()
	if err != nil {
		return time.Time{}
	}
	stat, err := mounted.Stat()
	if err != nil || stat.BootTime == 0 {
		return time.Time{}
	}
	return time.Unix(int64(stat.BootTime), 0)
})

// Started returns the time at which the process started. It may be up to a second too
// early. Zero means unknown.
func (s Stat) Started() time.Time {
	ticks, err := strconv.ParseInt(s.StartTime, 10, 64)
	if err != nil || bootTime().IsZero() {
		return time.Time{}
	}
	return bootTime().Add(time.Duration(ticks) * time.Second / TicksPerSecond)
}

func read(p procfs.Proc) (Stat, error) {
	s, err := p.Stat()
	if err != nil {
		return Stat{}, err
	}
	return Stat{
		Name: s.Comm, Ended: s.State == "Z" || s.State == "X", StartTime: strconv.FormatUint(s.Starttime, 10),
		Parent: s.PPID, Group: s.PGRP,
		ticks: uint64(s.UTime) + uint64(s.STime), resident: uint64(s.ResidentMemory()),
		threads: uint64(max(0, s.NumThreads)),
	}, nil
}

// openFiles returns the number of open file descriptors of a process. It is 0 if this
// process may not know, for example because the program has file capabilities.
func openFiles(pid int) uint64 {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	n, err := p.FileDescriptorsLen()
	if err != nil {
		return 0
	}
	return uint64(n)
}

// Interfaces returns what the named network interfaces have received since the start of
// the machine. It omits those that do not exist.
func Interfaces(names []string) map[string]zeekapi.Traffic {
	mounted, err := procfs.NewDefaultFS()
	if err != nil {
		return nil
	}
	all, err := mounted.NetDev()
	if err != nil {
		return nil
	}
	traffic := make(map[string]zeekapi.Traffic)
	for _, name := range names {
		if i, ok := all[name]; ok {
			traffic[name] = zeekapi.Traffic{Received: i.RxPackets, Dropped: i.RxDropped, Bytes: i.RxBytes}
		}
	}
	return traffic
}

// Each calls f for all processes that have not ended.
func Each(f func(pid int, s Stat)) error {
	all, err := procfs.AllProcs()
	if err != nil {
		return err
	}
	for _, p := range all {
		if s, err := read(p); err == nil && !s.Ended {
			f(p.PID, s)
		}
	}
	return nil
}
