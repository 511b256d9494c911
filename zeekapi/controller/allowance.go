package controller

import "time"

// allowance limits how much one peer may send: a burst at first, and a number
// per second in the long run.
type allowance struct {
	burst, perSecond float64
	spent            float64
	at               time.Time
	refused          uint64 // in a row; reset by the caller
}

func newAllowance(burst, perSecond float64) allowance {
	return allowance{burst: burst, perSecond: perSecond}
}

// take reports whether the peer may send one more.
func (a *allowance) take(now time.Time) bool {
	a.spent = max(0, a.spent-now.Sub(a.at).Seconds()*a.perSecond)
	a.at = now
	if a.spent+1 > a.burst {
		a.refused++
		return false
	}
	a.spent++
	return true
}
