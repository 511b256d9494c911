package controller

import (
	"context"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// alerting serves requests about notifications of operators, which are sent outside of the
// machine, and keeps their history among the events.
type alerting struct {
	*outbox
	events   *eventLog
	requests *requests
	present  func() zeekapi.Alerts // of Config.Alerts; nil: there are none
	testing  int                   // tests under way
}

const errNoAlerts = "this controller sends no notifications"

func (a *alerting) list(by broker.Peer, req zeekapi.AlertsRequest) {
	if a.present == nil {
		a.requests.answer(by, req, zeekapi.Failure(req.ID, errNoAlerts))
		return
	}
	a.requests.answer(by, req, successWith(req.ID, a.present()))
}

func (a *alerting) test(by broker.Peer, req zeekapi.TestAlertsRequest) {
	if a.present == nil {
		a.requests.answer(by, req, zeekapi.Failure(req.ID, errNoAlerts))
		return
	}
	a.testing++
	a.emit(TestAlerts{Peer: by.ID, Request: req})
}

// tested responds to a client that has asked for a test.
func (a *alerting) tested(in AlertsTested) {
	a.testing = max(0, a.testing-1)
	a.emit(ToClients{Peer: in.Peer, Message: in.Response})
}

// note adds events about notifications to the history.
func (a *alerting) note(events []zeekapi.ClusterEvent) {
	for _, e := range events {
		a.events.addAbout(clip(e.Subject), e.Kind, clip(e.Instance), clip(e.Node), clip(e.Text))
	}
}

// AlertSender notifies operators of problems. Its methods are called concurrently.
type AlertSender interface {
	// Present returns the present alerts. It must not block.
	Present() zeekapi.Alerts

	// Test sends a test notification by each channel, and returns a result for each. It
	// takes a limited time.
	Test(ctx context.Context, reqID string) []zeekapi.Result

	// Next waits for events about notifications, for the history of the cluster. Only
	// Kind, Instance, Node, Subject and Text of the events are set.
	Next(ctx context.Context) ([]zeekapi.ClusterEvent, error)
}

// testAlerts performs TestAlerts.
func testAlerts(ctx context.Context, sender AlertSender, o TestAlerts) Input {
	return AlertsTested{o.Peer, zeekapi.TestAlertsCall.Respond(o.Request.ID, sender.Test(ctx, o.Request.ID)...)}
}

// notes is a source of Noted.
func notes(sender AlertSender) func(context.Context) (Input, bool, error) {
	return func(ctx context.Context) (Input, bool, error) {
		events, err := sender.Next(ctx)
		return Noted{events}, err == nil, err
	}
}

type (
	// TestAlerts sends a test notification by each channel. AlertsTested follows.
	TestAlerts struct {
		Peer    uuid.UUID
		Request zeekapi.TestAlertsRequest
	}

	// AlertsTested reports the end of TestAlerts. Response is for its client.
	AlertsTested struct {
		Peer     uuid.UUID
		Response zeekapi.Message
	}

	// Noted adds events about notifications to the history.
	Noted struct{ Events []zeekapi.ClusterEvent }
)

func (TestAlerts) output()  {}
func (AlertsTested) input() {}
func (Noted) input()        {}
