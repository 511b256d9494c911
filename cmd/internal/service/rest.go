package service

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// restInterval is the time in which a process must have allocated little to be at rest. Little
// is a quarter of the memory in use, or littleWork bytes if that is more.
const (
	restInterval = 5 * time.Second
	littleWork   = 16 << 20
)

// muchUnused is the least memory that is returned, in bytes. A process that uses much keeps as
// much as half of that for further work.
const muchUnused = 64 << 20

// memoryUse is the use of memory, in bytes.
type memoryUse struct {
	allocated uint64 // since the start
	live      uint64 // found by the last garbage collection
	objects   uint64 // with garbage
	free      uint64 // kept for other objects
}

func readMemoryUse() memoryUse {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return memoryUse{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
}

// wasteful reports whether a process that had used memory as before should return memory to
// the system: it is at rest, and much is unused, compared with what is in use.
func (u memoryUse) wasteful(before memoryUse) bool {
	unused := u.free + u.objects - min(u.live, u.objects)
	return u.allocated-before.allocated < max(littleWork, u.live/4) && unused >= max(muchUnused, u.live/2)
}

// returnMemory returns memory to the system when the process is at rest after much work, until
// done is closed. Go itself keeps about as much for further work as the process uses, and
// collects no garbage for two minutes.
func returnMemory(done <-chan struct{}, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for before := readMemoryUse(); ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		use := readMemoryUse()
		if use.wasteful(before) {
			debug.FreeOSMemory()
		}
		before = use
	}
}
