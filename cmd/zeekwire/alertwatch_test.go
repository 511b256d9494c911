package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// scriptedLeadership returns turns, one after the other.
type scriptedLeadership struct {
	controller.Relay
	turns []controller.Turn
}

var errEnded = errors.New("no more turns")

func (s *scriptedLeadership) Next(context.Context) (controller.Turn, error) {
	if len(s.turns) == 0 {
		return controller.Turn{}, errEnded
	}
	turn := s.turns[0]
	s.turns = s.turns[1:]
	return turn, nil
}

// sharedStore is not used.
type sharedStore struct{ controller.SharedStore }

// The alerts of a new leader continue from the stored events. The observer passes on nothing while
// another controller leads, and the members of the cluster when this one begins to lead.
func TestAlertsOfLeaders(t *testing.T) {
	state := controller.State{Events: []zeekapi.ClusterEvent{{Number: 7}}, Drained: []string{"a"}}
	standing := controller.Turn{State: &state}
	leading := controller.Turn{Post: controller.Post{Leads: true}, State: &state, Store: sharedStore{}}
	news := controller.Turn{Post: controller.Post{Leads: true}}
	var took []string
	take := func(in alerts.Input) {
		if turn, ok := in.(alerts.Turn); ok {
			took = append(took, fmt.Sprintf("turn with %d events, drained %q", len(turn.Stored), turn.Drained))
			return
		}
		took = append(took, fmt.Sprintf("%T", in))
	}
	l := &alertedLeadership{Relay: &scriptedLeadership{turns: []controller.Turn{standing, leading, news, standing, standing, leading}}, take: take}
	feed := alertFeed{take: take}
	for {
		turn, err := l.Next(context.Background())
		if err != nil {
			break
		}
		feed.observe(controller.Snapshot{Post: turn.Post, Revision: 1}, nil, []controller.Output{controller.Announce{}})
	}
	want := []string{
		`turn with 1 events, drained ["a"]`, "alerts.Members", "alerts.Event", "alerts.Event",
		"turn with 0 events, drained []", `turn with 1 events, drained ["a"]`, "alerts.Members", "alerts.Event",
	}
	if !slices.Equal(took, want) {
		t.Errorf("took %q, want %q", took, want)
	}
}
