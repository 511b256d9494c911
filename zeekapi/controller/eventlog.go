package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxEvents is the number of cluster events that are kept.
const maxEvents = 1000

// eventLog keeps and announces cluster events.
type eventLog struct {
	*outbox
	kept  []zeekapi.ClusterEvent // the oldest first
	quiet bool                   // add does nothing: what happens is not new
}

func newEventLog(out *outbox, stored []zeekapi.ClusterEvent) *eventLog {
	return &eventLog{outbox: out, kept: slices.Clone(stored)}
}

// add keeps and announces an event. Instance and node may be empty.
func (l *eventLog) add(kind, instance, node, text string) {
	l.addAbout("", kind, instance, node, text)
}

// addAbout is like add, for an event with a subject.
func (l *eventLog) addAbout(subject, kind, instance, node, text string) {
	if l.quiet {
		return
	}
	number := uint64(1)
	if n := len(l.kept); n > 0 {
		number = l.kept[n-1].Number + 1
	}
	e := zeekapi.ClusterEvent{Number: number, Time: l.now, Kind: kind, Instance: instance, Node: node, Text: text, Subject: subject}
	l.kept = append(l.kept, e)
	if excess := len(l.kept) - maxEvents; excess > 0 {
		l.kept = l.kept[excess:]
	}
	l.emit(Announce{Event: e, Oldest: l.kept[0].Number})
}

// list returns the events with a greater number than after, only the last of
// them if limit is not zero.
func (l *eventLog) list(after, limit uint64) []zeekapi.ClusterEvent {
	list := l.kept
	for len(list) > 0 && list[0].Number <= after {
		list = list[1:]
	}
	if n := uint64(len(list)); limit > 0 && n > limit {
		list = list[n-limit:]
	}
	return list
}

// lastContacts returns the last event of each instance that says whether its
// agent was connected.
func (l *eventLog) lastContacts() map[string]zeekapi.ClusterEvent {
	last := make(map[string]zeekapi.ClusterEvent)
	for _, e := range l.kept {
		if e.Kind == zeekapi.EventConnected || e.Kind == zeekapi.EventLost {
			last[e.Instance] = e
		}
	}
	return last
}
