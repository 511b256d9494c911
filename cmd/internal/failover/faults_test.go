package failover

import (
	"context"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// fault makes something fail. It ends with world.heal.
type fault struct {
	name string
	// strikes reports whether the leader cannot continue, so that another one must take over.
	// Such a fault lasts until that has happened, or for three leases.
	strikes bool
	// lasts is the least time before the end, in leases.
	lasts  float64
	inject func(w *world, r *rand.Rand, leader int)
	// allows is a time that is added to the limit of a take-over.
	allows time.Duration
}

// takeoverWrites is the number of writes of etcd in a take-over: the end of the lease, a write
// that was under way, the term, the name of the leader, and its first change.
const takeoverWrites = 5

// slowWrite is the time of a write to a slow disk.
const slowWrite = 200 * time.Millisecond

// other returns a number of a controller that is not the given one.
func other(r *rand.Rand, than int) int { return (than + 1 + r.IntN(members-1)) % members }

// both, there and back are the directions of a cut.
var both, there, back = [2]bool{true, true}, [2]bool{true, false}, [2]bool{false, true}

// cut holds the bytes of proxies.
func cut(direction [2]bool, proxies ...*proxy) {
	for _, p := range proxies {
		p.hold(direction[0], direction[1])
	}
}

// cutFromEtcd cuts a controller from all members of etcd.
func cutFromEtcd(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, _ *rand.Rand, leader int) { cut(direction, w.toEtcd[leader]...) }
}

// cutFromAgents cuts the leader from most of the agents.
func cutFromAgents(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, r *rand.Rand, leader int) {
		for _, proxies := range w.toAgents {
			if r.IntN(5) > 0 {
				cut(direction, proxies[leader])
			}
		}
	}
}

// cutFromClients cuts the clients from the leader.
func cutFromClients(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, _ *rand.Rand, leader int) { cut(direction, w.clients[leader]) }
}

// cutStandbyFromClients cuts the clients from a standby.
func cutStandbyFromClients(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, r *rand.Rand, leader int) { cut(direction, w.clients[other(r, leader)]) }
}

// cutStandbyFromAgents cuts all agents from a standby.
func cutStandbyFromAgents(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, r *rand.Rand, leader int) {
		standby := other(r, leader)
		for _, proxies := range w.toAgents {
			cut(direction, proxies[standby])
		}
	}
}

// cutPair cuts a controller from a member of etcd.
func cutPair(direction [2]bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, r *rand.Rand, _ int) { cut(direction, w.toEtcd[r.IntN(members)][r.IntN(members)]) }
}

// isolate cuts a member of etcd from the others.
func isolate(out, in bool) func(w *world, r *rand.Rand, leader int) {
	return func(w *world, r *rand.Rand, _ int) {
		m := r.IntN(members)
		for i := range members {
			if i != m && out {
				w.peers.cut(m, i)
			}
			if i != m && in {
				w.peers.cut(i, m)
			}
		}
	}
}

// slowDisk makes each write of a member of etcd take some time.
func (w *world) slowDisk(member int, delay time.Duration) { w.disks[member].slow(delay) }

// anyStep returns a step of a wall clock.
func anyStep(r *rand.Rand) time.Duration {
	steps := []time.Duration{time.Second, 5 * time.Second, time.Minute, time.Hour, 25 * time.Hour, 10 * 365 * 24 * time.Hour}
	return steps[r.IntN(len(steps))] * time.Duration(1-2*r.IntN(2))
}

// available reports whether a fault can be injected here.
func (f fault) available() bool { return slowDisks() || !strings.Contains(f.name, "disk") }

var faults = []fault{
	{name: "leader is killed", strikes: true, lasts: 1.5, inject: func(w *world, _ *rand.Rand, leader int) { w.controllers[leader].Kill() }},
	{name: "leader is killed and started", lasts: 1.5, inject: func(w *world, _ *rand.Rand, leader int) {
		w.controllers[leader].Kill()
		w.controllers[leader].Start()
	}},
	{name: "leader is suspended for longer than the lease", strikes: true, lasts: 1.7, inject: func(w *world, _ *rand.Rand, leader int) { w.controllers[leader].Signal(syscall.SIGSTOP) }},
	{name: "leader is suspended for less than the lease", lasts: 0.3, inject: func(w *world, _ *rand.Rand, leader int) { w.controllers[leader].Signal(syscall.SIGSTOP) }},
	{name: "standby is killed", lasts: 0.5, inject: func(w *world, r *rand.Rand, leader int) { w.controllers[other(r, leader)].Kill() }},
	{name: "standby is suspended", lasts: 1.2, inject: func(w *world, r *rand.Rand, leader int) { w.controllers[other(r, leader)].Signal(syscall.SIGSTOP) }},
	{name: "all controllers are killed", lasts: 0.5, inject: func(w *world, _ *rand.Rand, _ int) {
		for _, c := range w.controllers {
			c.Kill()
		}
	}},
	{name: "leader loses etcd", strikes: true, lasts: 1.7, inject: cutFromEtcd(both)},
	{name: "leader cannot send to etcd", strikes: true, lasts: 1.7, inject: cutFromEtcd(there)},
	{name: "leader hears nothing from etcd", strikes: true, lasts: 1.7, inject: cutFromEtcd(back)},
	{name: "leader loses one member of etcd", lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		cut(both, w.toEtcd[leader][r.IntN(members)])
	}},
	{name: "leader loses agents", lasts: 1, inject: cutFromAgents(both)},
	{name: "leader cannot send to agents", lasts: 1, inject: cutFromAgents(back)}, // agents are the clients of these connections
	{name: "leader hears nothing from agents", lasts: 1, inject: cutFromAgents(there)},
	{name: "clients lose the leader", lasts: 0.7, inject: cutFromClients(both)},
	{name: "clients hear nothing from the leader", lasts: 0.7, inject: cutFromClients(back)},
	{name: "leader loses everything", strikes: true, lasts: 1.7, inject: func(w *world, r *rand.Rand, leader int) {
		cutFromEtcd(both)(w, r, leader)
		cutFromAgents(both)(w, r, leader)
		cutFromClients(both)(w, r, leader)
	}},
	{name: "member of etcd is killed", lasts: 1, inject: func(w *world, r *rand.Rand, _ int) { w.etcd.Members[r.IntN(members)].Kill() }},
	{name: "member of etcd is suspended", lasts: 1, inject: func(w *world, r *rand.Rand, _ int) { w.etcd.Members[r.IntN(members)].Signal(syscall.SIGSTOP) }},
	{name: "etcd loses its quorum", lasts: 2, inject: func(w *world, r *rand.Rand, _ int) {
		first := r.IntN(members)
		w.etcd.Members[first].Kill()
		w.etcd.Members[other(r, first)].Signal(syscall.SIGSTOP)
	}},
	{name: "a controller cannot send to a member of etcd", lasts: 1.2, inject: cutPair(there)},
	{name: "a controller hears nothing from a member of etcd", lasts: 1.2, inject: cutPair(back)},
	{name: "standby cannot send to etcd", lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) { cut(there, w.toEtcd[other(r, leader)]...) }},
	{name: "standby hears nothing from etcd", lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) { cut(back, w.toEtcd[other(r, leader)]...) }},
	{name: "agents cannot send to a standby", lasts: 1, inject: cutStandbyFromAgents(there)},
	{name: "agents hear nothing from a standby", lasts: 1, inject: cutStandbyFromAgents(back)},
	{name: "clients cannot send to the leader", lasts: 0.7, inject: cutFromClients(there)},
	{name: "clients lose a standby", lasts: 0.7, inject: cutStandbyFromClients(both)},
	{name: "clients cannot send to a standby", lasts: 0.7, inject: cutStandbyFromClients(there)},
	{name: "clients hear nothing from a standby", lasts: 0.7, inject: cutStandbyFromClients(back)},
	{name: "leader is killed while clients lose a standby", strikes: true, lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		cutStandbyFromClients(both)(w, r, leader)
		w.controllers[leader].Kill()
	}},
	{name: "members of etcd lose each other", lasts: 1.5, inject: func(w *world, r *rand.Rand, _ int) {
		a := r.IntN(members)
		b := other(r, a)
		w.peers.cut(a, b)
		w.peers.cut(b, a)
	}},
	{name: "a member of etcd cannot send to another", lasts: 1.5, inject: func(w *world, r *rand.Rand, _ int) {
		a := r.IntN(members)
		w.peers.cut(a, other(r, a))
	}},
	{name: "a member of etcd loses the others", lasts: 1.5, inject: isolate(true, true)},
	{name: "a member of etcd cannot send to the others", lasts: 1.5, inject: isolate(true, false)},
	{name: "a member of etcd hears nothing from the others", lasts: 1.5, inject: isolate(false, true)},
	{name: "all members of etcd lose each other", lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		for i := range members {
			for j := range members {
				if i != j {
					w.peers.cut(i, j)
				}
			}
		}
	}},
	{name: "disk of a member of etcd is slow", lasts: 2, inject: func(w *world, r *rand.Rand, _ int) {
		w.slowDisk(r.IntN(members), time.Duration(50+r.IntN(950))*time.Millisecond)
	}},
	{name: "disks of all members of etcd are slow", lasts: 2, inject: func(w *world, r *rand.Rand, _ int) {
		delay := time.Duration(20+r.IntN(480)) * time.Millisecond
		for i := range members {
			w.slowDisk(i, delay)
		}
	}},
	{name: "disk of a member of etcd blocks", lasts: 1.5, inject: func(w *world, r *rand.Rand, _ int) { w.slowDisk(r.IntN(members), time.Minute) }},
	{name: "clock of the leader steps", lasts: 1, inject: func(w *world, r *rand.Rand, leader int) { w.setClock(leader, anyStep(r)) }},
	{name: "clock of a standby steps", lasts: 0.5, inject: func(w *world, r *rand.Rand, leader int) { w.setClock(other(r, leader), anyStep(r)) }},
	{name: "clock of an agent steps", lasts: 1, inject: func(w *world, r *rand.Rand, _ int) { w.setClock(clockOfAgent, anyStep(r)) }},
	{name: "leader is killed while the clock of an agent steps", strikes: true, lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		w.setClock(clockOfAgent, anyStep(r))
		w.controllers[leader].Kill()
	}},
	{name: "leader is killed while clocks differ", strikes: true, lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		for i := range members + 1 {
			w.setClock(i, anyStep(r))
		}
		w.controllers[leader].Kill()
	}},
	{name: "leader is killed while a member of etcd is suspended", strikes: true, lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		w.etcd.Members[r.IntN(members)].Signal(syscall.SIGSTOP)
		w.controllers[leader].Kill()
	}},
	{name: "leader is killed while a member of etcd loses the others", strikes: true, lasts: 1.5, inject: func(w *world, r *rand.Rand, leader int) {
		isolate(true, true)(w, r, leader)
		w.controllers[leader].Kill()
	}},
	{name: "leader is killed while the disk of a member of etcd is slow", strikes: true, lasts: 1.5, allows: takeoverWrites * slowWrite, inject: func(w *world, r *rand.Rand, leader int) {
		w.slowDisk(r.IntN(members), slowWrite)
		w.controllers[leader].Kill()
	}},
	{name: "clock steps while the leader is suspended", strikes: true, lasts: 1.7, inject: func(w *world, r *rand.Rand, leader int) {
		w.controllers[leader].Signal(syscall.SIGSTOP)
		w.setClock(leader, anyStep(r))
	}},
	{name: "leader steps down", lasts: 0.5, inject: func(w *world, _ *rand.Rand, leader int) { w.stepDown(leader) }},
}

// stepDown makes a controller hand over. A controller that cannot has no consequences.
func (w *world) stepDown(leader int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	v, err := w.visit(ctx, leader)
	if err != nil {
		return
	}
	defer v.Close()
	_, _ = client.Do(ctx, v.Client, zeekapi.StepDownCall, zeekapi.StepDownRequest{})
}
