package archive

import "sync/atomic"

// Totals count the work of archivers. The zero Totals are ready to use, and may be used
// concurrently. A nil *Totals counts nothing.
type Totals struct {
	ExpiredLogs  atomic.Uint64 // logs that were removed because of Config.Limits or Config.Free
	ExpiredBytes atomic.Uint64
	Delivered    atomic.Uint64 // runs of Config.Finished that succeeded
	Failures     atomic.Uint64 // runs that failed
	Waiting      atomic.Int64  // logs for which Config.Finished has not succeeded yet
}

func (t *Totals) expired(logs int, bytes int64) {
	if t != nil {
		t.ExpiredLogs.Add(uint64(logs))
		t.ExpiredBytes.Add(uint64(bytes))
	}
}

func (t *Totals) delivered(ok bool) {
	switch {
	case t == nil:
	case ok:
		t.Delivered.Add(1)
	default:
		t.Failures.Add(1)
	}
}

func (t *Totals) waiting(logs int) {
	if t != nil {
		t.Waiting.Store(int64(logs))
	}
}
