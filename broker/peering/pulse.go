package peering

import (
	"sync"
	"time"
)

// pulse pings the peer of a link when the peer is idle, and ends the link when the peer stays
// idle. It uses a timer instead of a goroutine, so that idle links need less memory.
type pulse struct {
	l        *link
	interval time.Duration

	mu      sync.Mutex // held while it beats
	timer   *time.Timer
	stopped bool
	last    uint64        // reads at the last beat
	silent  time.Duration // for how long nothing has been read
}

// keepAlive returns the pulse of a link, and starts it unless its interval is negative.
func keepAlive(l *link) *pulse {
	p := &pulse{l: l, interval: l.e.cfg.PingInterval}
	if p.interval < 0 {
		return p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.interval, p.beat)
	return p
}

// stop ends the pulse. It waits for a beat that has begun.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// beat is called after each interval.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.l.ctx.Err() != nil {
		return
	}
	p.timer.Reset(p.interval)
	if reads := p.l.outer.reads.Load(); reads != p.last || p.l.stalled.Load() {
		p.last, p.silent = reads, 0
		return
	}
	if p.silent += p.interval; p.silent >= p.l.e.cfg.PeerTimeout {
		p.l.fail(ErrPeerTimeout)
		return
	}
	// If the ping cannot be queued, one of the next beats ends the link.
	_ = p.l.out.Keep(noWait, p.l.pingFrame([]byte("alive")))
}
