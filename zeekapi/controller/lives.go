package controller

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// lives is a Machine that is replaced when its changes cannot be stored: a new machine
// continues from the state that was stored last, as it does when the process is killed,
// but with the same connections. So nothing follows from a change that was not stored.
//
// It is also replaced when the controller begins to lead, or to stand by.
type lives struct {
	*Machine
	next   func(State) *Machine
	keeper *keeper
	post   Post
	agents introductions
	dialed map[string]bool // addresses of which Dial was performed, and Hangup was not

	taken    []Input  // whose outputs have not been performed
	failed   bool     // the changes of these inputs could not be stored
	dropped  []Output // that are not performed because of that
	waiting  bool     // there are outputs that store has not seen
	withheld bool     // outputs were withheld while the controller was suspended
}

// newLives returns lives whose first machine is m, at a position among other controllers.
func newLives(m *Machine, next func(State) *Machine, k *keeper, post Post) *lives {
	*m.post = post
	return &lives{
		Machine: m, next: next, keeper: k, post: post,
		agents: introductions{byPeer: make(map[uuid.UUID]*introduction)}, dialed: make(map[string]bool),
	}
}

// Inputs and outputs of lives only.
type (
	// storeFailed makes the next machine take over.
	storeFailed struct{}

	// storageDue says that it is time to check the store, by checkStorage.
	storageDue   struct{}
	checkStorage struct{}

	// turned is a Turn. deposed reports that the store belongs to another leader.
	turned  struct{ Turn }
	deposed struct{}

	// later requests that an input is taken when the outputs before it have been performed.
	later struct{ in Input }

	// fetched ends the wait of ToAgent and ReadSite outputs for a site that was not on this
	// machine. Why is "" if it is there now.
	fetched struct {
		outputs []Output
		why     string
	}
)

func (storeFailed) input()   {}
func (storageDue) input()    {}
func (turned) input()        {}
func (deposed) input()       {}
func (fetched) input()       {}
func (checkStorage) output() {}
func (later) output()        {}

// Start starts the first machine.
func (l *lives) Start(now time.Time) []Output {
	l.out.now = now
	if !l.post.Leads {
		l.overview.started = now
		return nil
	}
	l.storage.changed(l.keeper.check())
	return l.Machine.Start(now)
}

// Step takes an input.
func (l *lives) Step(now time.Time, in Input) []Output {
	switch in.(type) {
	case turned, deposed:
		if l.waiting { // the next machine must not store changes of this one
			return []Output{later{in}}
		}
	}
	out := l.step(now, in)
	l.waiting = l.waiting || len(out) > 0
	return out
}

func (l *lives) step(now time.Time, in Input) []Output {
	switch in := in.(type) {
	case storageDue:
		return []Output{checkStorage{}}
	case StorageChanged:
		return l.storageChanged(now, in)
	case storeFailed:
		switch {
		case l.keeper.lost():
			return l.depose(now)
		case !l.failed:
			return nil // this is the second storeFailed of one failure
		}
		return l.succeed(now)
	case deposed:
		if l.keeper.lost() {
			return l.depose(now)
		}
		return nil
	case turned:
		return l.turn(now, in.Turn)
	case fetched:
		return l.fetched(now, in)
	}
	if !l.post.Leads {
		return l.standBy(now, in)
	}
	if l.keeper.store != nil {
		l.taken = append(l.taken, in)
	}
	return l.Machine.Step(now, in)
}

// fetched returns the outputs that waited for a site. An agent gets nothing from a controller
// that does not lead any more.
func (l *lives) fetched(now time.Time, in fetched) (out []Output) {
	for _, o := range in.outputs {
		switch o := o.(type) {
		case ToAgent:
			switch {
			case !l.post.Leads:
			case in.why == "":
				out = append(out, o)
			default:
				out = append(out, l.step(now, PartUnreadable{o, in.why})...)
			}
		case ReadSite:
			if in.why == "" {
				out = append(out, o)
				continue
			}
			id := o.Request.ID
			out = append(out, ToClients{o.Peer, zeekapi.DownloadSiteCall.Respond(id, zeekapi.Failure(id, "%s", in.why))})
		}
	}
	return out
}

// storageChanged takes the input that changes can be stored, or cannot be. The next machine
// does not take it again, because it is out of date then.
func (l *lives) storageChanged(now time.Time, in StorageChanged) []Output {
	if !l.post.Leads || in.Why == "" && l.keeper.broken != nil {
		return nil
	}
	out := l.Machine.Step(now, in)
	if in.Why == "" && l.withheld {
		l.withheld = false
		out = append(out, l.succeed(now)...) // the next machine has the outputs that were withheld
	}
	return out
}

// store stores the changes among outputs, and reports whether the outputs may be
// performed. If not, storeFailed must follow.
func (l *lives) store(outputs []Output) bool {
	l.waiting = false
	var changes []Change
	for _, o := range outputs {
		if c, ok := o.(Change); ok {
			changes = append(changes, c)
		}
	}
	if l.failed || l.keeper.keep(changes) != nil || len(changes) == 0 && slices.ContainsFunc(outputs, speaks) && l.keeper.confirm() != nil {
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
	reason := reasonOf(l.keeper.broken)
	why := "interrupted, because the controller cannot store changes: " + reason
	if reason == "" {
		why = "interrupted, because the controller could not store changes for a while"
	}
	out := l.interrupt(why)
	former := l.replace()
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

// replace makes a new machine from the stored state, and returns the former one.
func (l *lives) replace() (former *Machine) {
	former, l.Machine = l.Machine, l.next(l.keeper.kept.state())
	*l.Machine.post, l.Machine.passed = l.post, former.passed
	return former
}

// interrupt ends the pending requests of the machine with an error, except those that the
// next one takes again, and returns the responses. The machine must not be used afterwards.
func (l *lives) interrupt(why string) []Output {
	again := make(map[string]bool)
	for _, in := range l.taken {
		if in, ok := in.(FromClient); ok {
			again[in.Message.RequestID()] = true
		}
	}
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
	l.failed, l.dropped = false, nil
	return out
}

// leave returns the responses to the requests that are still pending at the end.
func (l *lives) leave() []Output {
	l.taken = nil // no machine takes these inputs again
	return append(l.interrupt("interrupted, because the controller ends; see the status for the outcome"), l.passed.abandon()...)
}

// turn takes a turn.
func (l *lives) turn(now time.Time, t Turn) (out []Output) {
	led := l.post.Leads
	switch {
	case t.Store != nil && t.State != nil:
		if led {
			out = l.depose(now) // the turn between was not seen
		}
		l.post = t.Post
		return append(out, l.takeOver(now, t)...)
	case t.Post.Leads && !led:
		return nil // the machine was deposed since this turn was made
	case led && !t.Post.Leads:
		out = l.depose(now)
	}
	l.post = t.Post
	if t.State != nil {
		l.keeper.kept = newLiveState(*t.State)
		l.stand(now)
	}
	*l.Machine.post = l.post
	return out
}

// stand makes a machine that stands by. It is never started, and knows no agents.
func (l *lives) stand(now time.Time) {
	former := l.replace()
	l.phase, l.out.now, l.overview.started = former.phase, now, former.overview.started
	if target, ok := l.configs.get(Target); ok {
		l.members.recall(target.Instances, l.events.lastContacts())
		l.deployments.adopt(target.Configuration)
		l.out.take() // it neither dials nor stores anything
	}
}

// takeOver makes a machine that leads, from the stored state and from the agents that are
// connected.
func (l *lives) takeOver(now time.Time, t Turn) []Output {
	l.keeper = &keeper{store: t.Store, kept: newLiveState(*t.State)}
	former := l.replace()
	return l.Machine.takeOver(now, former, l.agents.inputs(former))
}

// depose makes a machine that stands by take the place of one that leads. The requests
// that wait for an outcome fail. Requests whose changes were certainly not stored are
// refused, so that clients can repeat them at the new leader.
func (l *lives) depose(now time.Time) []Output {
	l.post = Post{Term: l.post.Term, AsOf: now}
	if errors.Is(l.keeper.broken, ErrUnsure) {
		l.taken = nil // the requests among them end with the others
	}
	out := l.interrupt("interrupted, because this controller does not lead any more; see the status for the outcome")
	for _, address := range sortedKeys(l.dialed) {
		out = append(out, Hangup{Address: address})
	}
	former := l.Machine
	taken := l.taken
	l.keeper = &keeper{kept: l.keeper.kept}
	l.taken = nil
	l.stand(now)
	former.log.Warn().Msg("this controller does not lead any more, and stands by")
	for _, in := range taken {
		out = append(out, l.standBy(now, in)...)
	}
	return out
}

// standBy takes an input while another controller leads. It records the introductions of
// agents for the time when this controller leads.
func (l *lives) standBy(now time.Time, in Input) []Output {
	switch in := in.(type) {
	case FromAgent:
		l.agents.noteAny(in)
		return l.greet(in)
	case PeerLost:
		l.agents.note(l.Machine, in)
	case FromClient, SiteStored, Forwarded, AlertsTested, Shutdown, Tick:
	default:
		return nil
	}
	return slices.DeleteFunc(l.Machine.Step(now, in), func(o Output) bool {
		switch o.(type) {
		case ToClients, ReadSite, Forward, KeepSites: // KeepSites is about copies on this machine
			return false
		}
		return true
	})
}

// greet returns the response of a controller that stands by to the hello of one of our agents:
// an announcement of the leader, once for each term. It is no order, and is not sent to
// Zeek's agents.
func (l *lives) greet(in FromAgent) []Output {
	hello, ok := in.Message.(zeekapi.AgentHello)
	known := l.agents.byPeer[in.Peer.ID]
	if !ok || in.Dialect != zeekapi.Operations || known == nil || known.told == l.post.Term {
		return nil
	}
	known.told = l.post.Term
	return []Output{l.post.announcement(fmt.Sprint("standby/", l.post.Term), hello.Instance, in.Peer.ID)}
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
	told     uint64               // the last term of another leader that was announced to the agent
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
		i.noteAny(in)
	}
}

// noteAny takes note of a message of a peer that says it is an agent.
func (i *introductions) noteAny(in FromAgent) {
	switch in.Message.(type) {
	case zeekapi.AgentHello:
		i.of(in.Peer.ID).hellos[in.Dialect] = in
	case zeekapi.AgentDescription:
		if known := i.byPeer[in.Peer.ID]; known != nil {
			known.more = &in
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

// inputs returns the inputs, those of one agent after the other. The hello in our own
// dialect comes first, as from the agent, so that the machine announces its term before all
// other messages. The present agents of instances come before their rivals, so that they
// keep their instances. Of peers with certificates, the last one does.
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
		first, ours := known.hellos[zeekapi.Operations]
		if ours {
			all = append(all, first)
		}
		for _, dialect := range sortedKeys(known.hellos) {
			if dialect != zeekapi.Operations {
				all = append(all, known.hellos[dialect])
			}
		}
		if known.more != nil {
			all = append(all, *known.more)
		}
	}
	return all
}
