package controller

import (
	"sync"

	"github.com/rs/zerolog"
)

// Dialer opens and ends lasting peerings with agents that listen. A native
// endpoint is one.
type Dialer interface {
	AddPeer(address string) error
	RemovePeer(address string) error
}

// dials calls a Dialer without blocking the loop of the machine, because hanging
// up can take seconds. One goroutine for each address takes the steps in order,
// and ends after the last one.
type dials struct {
	dialer Dialer
	log    zerolog.Logger

	mu     sync.Mutex
	wanted map[string][]dialStep // by address; an entry means that there is a goroutine
	group  sync.WaitGroup
}

type dialStep bool

const (
	dialUp   dialStep = true
	dialDown dialStep = false
)

func newDials(dialer Dialer, log zerolog.Logger) *dials {
	return &dials{dialer: dialer, log: log, wanted: make(map[string][]dialStep)}
}

func (d *dials) dial(address string)   { d.want(address, dialUp) }
func (d *dials) undial(address string) { d.want(address, dialDown) }

func (d *dials) want(address string, step dialStep) {
	if d.dialer == nil {
		d.log.Warn().Str("address", address).Msg("cannot reach an agent that listens")
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, busy := d.wanted[address]
	switch n := len(waiting); {
	case n > 0 && waiting[n-1] == step:
		return
	case n == 1 && step == dialDown, n == 2:
		// Dialing and hanging up cancel each other, but hanging up and dialing
		// again do not. So at most two steps wait.
		d.wanted[address] = waiting[:n-1]
		return
	}
	d.wanted[address] = append(waiting, step)
	if !busy {
		d.group.Add(1)
		go d.work(address)
	}
}

// work takes the waiting steps for an address until none is left.
func (d *dials) work(address string) {
	defer d.group.Done()
	for {
		d.mu.Lock()
		waiting := d.wanted[address]
		if len(waiting) == 0 {
			delete(d.wanted, address)
			d.mu.Unlock()
			return
		}
		step := waiting[0]
		d.wanted[address] = waiting[1:]
		d.mu.Unlock()

		do := d.dialer.RemovePeer
		if step == dialUp {
			do = d.dialer.AddPeer
		}
		if err := do(address); err != nil {
			d.log.Error().Err(err).Str("address", address).Bool("hang up", step == dialDown).Msg("cannot reach an agent that listens")
		}
	}
}

// wait returns when all steps have been taken.
func (d *dials) wait() { d.group.Wait() }
