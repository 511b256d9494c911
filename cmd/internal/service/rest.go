package service

import (
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// A process is at rest if it has used less than maxLoad of a CPU for restInterval. A
// controller with 10 000 agents over TLS uses 0.15 to 0.3 of one when nothing happens.
const (
	restInterval = 5 * time.Second
	maxLoad      = 0.4
)

// muchUnused is the least memory that is returned, in bytes. A process that uses much keeps as
// much as half of that for further work.
const muchUnused = 64 << 20

// use is what a process uses. Memory is in bytes.
type use struct {
	cpu     time.Duration // since the start
	live    uint64        // found by the last garbage collection
	objects uint64        // with garbage
	free    uint64        // kept for other objects
}

func readUse() use {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	u := use{live: samples[0].Value.Uint64(), objects: samples[1].Value.Uint64(), free: samples[2].Value.Uint64()}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// wasteful reports whether a process should return memory to the system: it has been at rest
// since an earlier time, and much of its memory is unused.
func (u use) wasteful(before use, since time.Duration) bool {
	unused := u.free + u.objects - min(u.live, u.objects)
	return float64(u.cpu-before.cpu) < maxLoad*float64(since) && unused >= max(muchUnused, u.live/2)
}

// returnMemory returns memory to the system when the process is at rest after much work, until
// done is closed. Go itself keeps about as much for further work as the process uses, and
// collects no garbage for two minutes.
func returnMemory(done <-chan struct{}, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for before := readUse(); ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := readUse()
		if now.wasteful(before, interval) {
			debug.FreeOSMemory()
		}
		before = now
	}
}
