package controller

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// fickleStore is a store that counts calls and fails on demand.
type fickleStore struct {
	saves, rewrites     int
	save, rewrite       error
	broken              bool
	check               error
	saved, rewrittenAll []zeekapi.ClusterEvent
}

func (s *fickleStore) Save(changes ...Change) error {
	s.saves++
	if s.save == nil {
		for _, c := range changes {
			if a, ok := c.(Announce); ok {
				s.saved = append(s.saved, a.Event)
			}
		}
	}
	return s.save
}

func (s *fickleStore) Rewrite(state State) error {
	s.rewrites++
	s.rewrittenAll = state.Events
	return s.rewrite
}

func (s *fickleStore) Check() (bool, error) { return s.broken, s.check }

func event(number uint64) Change {
	return Announce{Event: zeekapi.ClusterEvent{Number: number, Kind: zeekapi.EventStaged}}
}

// Steps without changes do not need the store, so that reads succeed on a full disk.
func TestKeeperWithoutChanges(t *testing.T) {
	s := &fickleStore{save: errors.New("full")}
	k := &keeper{store: s, kept: newLiveState(State{})}
	if err := k.keep(nil); err != nil || s.saves != 0 {
		t.Errorf("no changes: %v after %d saves", err, s.saves)
	}
	k.store = nil
	if err := k.keep([]Change{event(1)}); err != nil {
		t.Errorf("no store: %v", err)
	}
	if n := len(k.kept.events); n != 0 {
		t.Errorf("%d events are kept without a store", n)
	}
	if why := k.check(); why != "" {
		t.Errorf("no store: %s", why)
	}
}

// What is only in memory is stored when there is room, once. When there is little room,
// it stays in memory, and changes stay refused.
func TestKeeperRewritesWhenThereIsRoom(t *testing.T) {
	full := errors.New("full")
	s := &fickleStore{}
	k := &keeper{store: s, kept: newLiveState(State{})}
	checks := func(why string, rewrites int) {
		t.Helper()
		if got := k.check(); got != why || s.rewrites != rewrites {
			t.Errorf("%q after %d rewrites, want %q after %d", got, s.rewrites, why, rewrites)
		}
	}
	s.broken, s.check = true, full
	checks("full", 0)
	if err := k.keep([]Change{event(0)}); err != nil || s.saves != 0 {
		t.Errorf("after a failed check: %v, %d saves", err, s.saves)
	}
	s.broken, s.check = false, nil
	checks("", 1)
	checks("", 1)
	s.save, s.rewrites, k.kept = full, 0, newLiveState(State{})
	if err := k.keep([]Change{event(1)}); !errors.Is(err, full) {
		t.Errorf("keep: %v", err)
	}
	if err := k.keep([]Change{event(2)}); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	s.broken, s.check = true, full
	checks("full", 0)
	s.broken = false
	checks("full", 0)
	s.check, s.rewrite = nil, full
	checks("full", 1)
	s.rewrite = nil
	checks("", 2)
	if len(s.rewrittenAll) != 1 || s.rewrittenAll[0].Number != 2 {
		t.Errorf("stored %+v, want what was kept", s.rewrittenAll)
	}
	checks("", 2)
	s.save = nil
	if err := k.keep([]Change{event(3)}); err != nil || len(s.saved) != 1 {
		t.Errorf("keep: %v, saved %+v", err, s.saved)
	}
	s.check = full
	checks("full", 2)
}

// Outputs that follow after a failure, and before the next machine takes over, are not
// performed either: the next machine takes their inputs again.
func TestStepsAfterFailureAreTakenAgain(t *testing.T) {
	next := func(state State) *Machine {
		m, err := NewMachine(Settings{}, state, uuid.NewString, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	s := &fickleStore{}
	l := newLives(next(State{}), next, &keeper{store: s, kept: newLiveState(State{})}, Post{Leads: true})
	now := time.Unix(0, 0)
	hello := func(name string) Input {
		return FromAgent{Peer: broker.Peer{ID: uuid.New()}, Message: zeekapi.AgentHello{Instance: name, APIVersion: zeekapi.APIVersion}}
	}
	if !l.store(l.Start(now)) {
		t.Fatal("the start is not stored")
	}
	s.save, s.broken, s.check = errors.New("full"), true, errors.New("full")
	for _, name := range []string{"a", "b"} {
		if l.store(l.Step(now, hello(name))) {
			t.Errorf("the outputs for %s are to be performed", name)
		}
	}
	if l.store(l.Step(now, FromClient{Message: zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "r"}}})) {
		t.Error("the answer of a machine whose changes were not stored is to be performed")
	}
	out := l.Step(now, storeFailed{})
	if !l.store(out) {
		t.Fatal("the outputs of the next machine are not to be performed")
	}
	connected, answers := make(map[string]int), 0
	for _, o := range out {
		switch o := o.(type) {
		case Announce:
			if o.Event.Kind == zeekapi.EventConnected {
				connected[o.Event.Instance]++
			}
		case ToClients:
			answers++
		}
	}
	if connected["a"] != 1 || connected["b"] != 1 || answers != 1 {
		t.Errorf("events %v, %d answers, want one of each", connected, answers)
	}
	kept := make(map[string]int)
	for _, e := range l.keeper.kept.events {
		kept[e.Kind+" "+e.Instance]++
	}
	if kept["connected a"] != 1 || kept["connected b"] != 1 {
		t.Errorf("kept are %v, want one of each", kept)
	}
	if second := l.Step(now, storeFailed{}); len(second) != 0 {
		t.Errorf("the second notice of a failure: %v", second)
	}
}
