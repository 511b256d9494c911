package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

func TestWasteful(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		cpu  time.Duration
		use  use
		want bool
	}{
		"a small process":         {0, use{live: 5 * mib, objects: 9 * mib, free: 20 * mib}, false},
		"garbage":                 {0, use{live: 5 * mib, objects: 90 * mib}, true},
		"free memory":             {0, use{live: 5 * mib, objects: 5 * mib, free: 64 * mib}, true},
		"both":                    {0, use{live: 5 * mib, objects: 40 * mib, free: 30 * mib}, true},
		"unused, but not much":    {0, use{live: 200 * mib, objects: 250 * mib, free: 49 * mib}, false},
		"more of it":              {0, use{live: 200 * mib, objects: 250 * mib, free: 50 * mib}, true},
		"it is working":           {2 * time.Second, use{live: 100 * mib, objects: 150 * mib, free: 500 * mib}, false},
		"this is little work":     {1999 * time.Millisecond, use{live: 100 * mib, objects: 150 * mib, free: 500 * mib}, true},
		"a collection just ended": {0, use{live: 100 * mib, objects: 90 * mib, free: 20 * mib}, false},
	} {
		tt.use.cpu = time.Hour + tt.cpu
		if got := tt.use.wasteful(use{cpu: time.Hour}, 5*time.Second); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

// A process that has worked returns its memory when it is at rest, although no garbage
// collection is due.
func TestMemoryIsReturned(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	work := make([][]byte, 256)
	for i := range work {
		work[i] = make([]byte, 1<<20)
	}
	runtime.KeepAlive(work)
	held := func() uint64 {
		samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
		metrics.Read(samples)
		return samples[0].Value.Uint64() + samples[1].Value.Uint64()
	}
	before := held()
	done := make(chan struct{})
	var returning sync.WaitGroup
	returning.Go(func() { returnMemory(done, 10*time.Millisecond) })
	for deadline := time.Now().Add(time.Minute); held()+200<<20 > before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	close(done)
	returning.Wait()
	if after := held(); after+200<<20 > before {
		t.Errorf("%d bytes are held, %d before", after, before)
	}
}
