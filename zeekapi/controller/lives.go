package controller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// lives is a Machine that is replaced when its changes cannot be stored: a new machine
// continues from the state that was stored last, as it does when the process is killed,
// but with the same connections. So nothing follows from a change that was not stored.
type lives struct {
	*Machine
	next   func(State) *Machine
	keeper *keeper
	agents introductions
	dialed map[string]bool // addresses of which Dial was performed, and Hangup was not

	taken   []Input  // whose outputs have not been performed
	failed  bool     // the changes of these inputs could not be stored
	dropped []Output // that are not performed because of that
}

// Inputs and outputs of lives only.
type (
	// storeFailed makes the next machine take over.
	storeFailed struct{}

	// storageDue says that it is time to check the store, by checkStorage.
	storageDue   struct{}
	checkStorage struct{}
)

func (storeFailed) input()   {}
func (storageDue) input()    {}
func (checkStorage) output() {}

// Start starts the first machine.
func (l *lives) Start(now time.Time) []Output {
	l.out.now = now
	l.storage.changed(l.keeper.check())
	return l.Machine.Start(now)
}

// Step takes an input.
func (l *lives) Step(now time.Time, in Input) []Output {
	switch in := in.(type) {
	case storageDue:
		return []Output{checkStorage{}}
	case StorageChanged:
		// It is not taken again, because it is not true any more then.
		if in.Why == "" && l.keeper.broken != nil {
			return nil
		}
		return l.Machine.Step(now, in)
	case storeFailed:
		return l.succeed(now)
	}
	if l.keeper.store != nil {
		l.taken = append(l.taken, in)
	}
	return l.Machine.Step(now, in)
}

// store stores the changes among outputs, and reports whether the outputs may be
// performed. If not, storeFailed must follow.
func (l *lives) store(outputs []Output) bool {
	var changes []Change
	for _, o := range outputs {
		if c, ok := o.(Change); ok {
			changes = append(changes, c)
		}
	}
	if l.failed || l.keeper.keep(changes) != nil {
		l.failed, l.dropped = true, append(l.dropped, outputs...)
		return false
	}
	for _, in := range l.taken {
		l.agents.note(l.Machine, in)
	}
	clear(l.taken)
	l.taken = l.taken[:0]
	return true
}

// succeed makes a new machine take over. It takes the inputs again whose changes could
// not be stored, and refuses changes among them. Earlier requests fail.
func (l *lives) succeed(now time.Time) []Output {
	if !l.failed {
		return nil // this is the second storeFailed of one failure
	}
	again := make(map[string]bool)
	for _, in := range l.taken {
		if in, ok := in.(FromClient); ok {
			again[in.Message.RequestID()] = true
		}
	}
	reason := reasonOf(l.keeper.broken)
	why := "interrupted, because the controller cannot store changes: " + reason
	out := l.requests.abandon(again, why)
	for _, o := range l.dropped {
		answer, ok := o.(ToClients)
		if !ok || again[answer.Message.RequestID()] {
			continue
		}
		if request, _ := zeekapi.ResponseOf(answer.Message); request != nil {
			id := answer.Message.RequestID()
			out = append(out, ToClients{Peer: answer.Peer, Message: request.Respond(id, zeekapi.Failure(id, "%s", why))})
		}
	}
	former := l.Machine
	l.Machine = l.next(l.keeper.kept.state())
	l.failed, l.dropped = false, nil
	out = append(out, l.Machine.succeed(now, former, reason, l.agents.inputs(former))...)
	for _, in := range l.taken {
		out = append(out, l.Machine.Step(now, in)...)
	}
	for _, address := range sortedKeys(l.dialed) {
		if !l.members.dialed[address] {
			out = append(out, Hangup{Address: address})
		}
	}
	return out
}

// introductions are the inputs from which a machine knows its agents.
type introductions struct {
	byPeer map[uuid.UUID]*introduction
	count  uint64
}

type introduction struct {
	sequence uint64
	hellos   map[string]FromAgent // by dialect
	more     *FromAgent           // the description
}

// note takes note of an input that a machine has taken.
func (i *introductions) note(m *Machine, in Input) {
	switch in := in.(type) {
	case PeerLost:
		delete(i.byPeer, in.Peer.ID)
	case FromAgent:
		if m.agents.peer(in.Peer.ID) == nil {
			return
		}
		switch in.Message.(type) {
		case zeekapi.AgentHello:
			i.of(in.Peer.ID).hellos[in.Dialect] = in
		case zeekapi.AgentDescription:
			i.of(in.Peer.ID).more = &in
		}
	}
}

func (i *introductions) of(peer uuid.UUID) *introduction {
	known := i.byPeer[peer]
	if known == nil {
		i.count++
		known = &introduction{sequence: i.count, hellos: make(map[string]FromAgent)}
		i.byPeer[peer] = known
	}
	return known
}

// inputs returns the inputs, those of one agent after the other. The present agents of
// instances come before their rivals, so that they keep their instances. Of peers with
// certificates, the last one does.
func (i *introductions) inputs(m *Machine) []Input {
	var all []Input
	rank := func(known *introduction) int {
		for _, hello := range known.hellos {
			if a := m.agents.speaking(hello.Peer.ID); a != nil && !a.certified() {
				return 0
			}
		}
		return 1
	}
	inOrder := func(a, b *introduction) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.sequence, b.sequence))
	}
	for _, known := range slices.SortedFunc(maps.Values(i.byPeer), inOrder) {
		for _, dialect := range sortedKeys(known.hellos) {
			all = append(all, known.hellos[dialect])
		}
		if known.more != nil {
			all = append(all, *known.more)
		}
	}
	return all
}
