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

// dials has a Dialer do what the machine wants without the machine's loop
// waiting for it, for to hang up can take seconds. What is wanted of one
// address is done in order, by one goroutine that ends when it is done.
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
		// To dial and hang up again is to do nothing, but to hang up and dial
		// again is not. So no more than two steps ever wait.
		d.wanted[address] = waiting[:n-1]
		return
	}
	d.wanted[address] = append(waiting, step)
	if !busy {
		d.group.Add(1)
		go d.work(address)
	}
}

// work takes the steps for an address until there are none.
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

// wait returns when nothing is under way any more.
func (d *dials) wait() { d.group.Wait() }
