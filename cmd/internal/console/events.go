package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// eventsView is the page of events.
type eventsView struct {
	Stale  *staleness
	Events []eventRow
	Kinds  []string
	Kind   string
	Query  string

	Filtered bool
	Newer    string // address of the page with newer events; "": this is the newest
	Older    string
	Number   uint64 // of the event that the address names; 0: none
	Kept     int
}

// eventRow is an event with its level.
type eventRow struct {
	zeekapi.ClusterEvent
	Level string
}

// eventsPerPage is the number of events of a page.
const eventsPerPage = 100

// eventKinds are the kinds by which events can be selected.
var eventKinds = []string{
	zeekapi.EventState, zeekapi.EventDeploying, zeekapi.EventDeployed, zeekapi.EventStaged, zeekapi.EventConnected, zeekapi.EventLost,
	zeekapi.EventError, zeekapi.EventLog, zeekapi.EventDrained, zeekapi.EventUndrained, zeekapi.EventStopped, zeekapi.EventStarted,
	zeekapi.EventJob, zeekapi.EventProblem, zeekapi.EventSolved, zeekapi.EventAlert, zeekapi.EventResolved, zeekapi.EventStorage,
}

func newEventRow(e zeekapi.ClusterEvent) eventRow {
	row := eventRow{e, "none"}
	switch e.Kind {
	case zeekapi.EventLost, zeekapi.EventError, zeekapi.EventAlert, zeekapi.EventStorage, zeekapi.EventProblem:
		row.Level = "bad"
	case zeekapi.EventConnected, zeekapi.EventSolved, zeekapi.EventResolved:
		row.Level = "good"
	case zeekapi.EventDrained, zeekapi.EventStopped:
		row.Level = "warn"
	case zeekapi.EventDeployed:
		row.Level = "good"
		if e.Subject != "" && e.Subject != string(zeekapi.OutcomeDeployed) {
			row.Level = "bad"
		}
	case zeekapi.EventState:
		switch zeekapi.State(e.Text) {
		case zeekapi.StateRunning:
			row.Level = "good"
		case zeekapi.StateCrashed, zeekapi.StateFailed:
			row.Level = "bad"
		}
	}
	return row
}

func (c *Console) events(r *http.Request, _ Visitor) (view, error) {
	s, _ := c.watch.get()
	q := r.URL.Query()
	e := eventsView{Stale: stale(s), Kinds: eventKinds, Kind: q.Get("kind"), Query: strings.TrimSpace(q.Get("q")), Kept: len(s.Events)}
	e.Filtered = e.Kind != "" || e.Query != ""
	words := strings.Fields(strings.ToLower(e.Query))
	var matching []zeekapi.ClusterEvent // the newest first
	for _, x := range slices.Backward(s.Events) {
		if e.Kind != "" && x.Kind != e.Kind {
			continue
		}
		if containsAll(strings.ToLower(strings.Join([]string{x.Kind, x.Instance, x.Node, x.Text}, " ")), words) {
			matching = append(matching, x)
		}
	}
	e.show(matching, q)
	return view{Name: "events", Title: "Events", Data: e}, nil
}

// show selects the events of a page: those before the number of the parameter before, if
// there is one.
func (e *eventsView) show(matching []zeekapi.ClusterEvent, q url.Values) {
	first := 0
	if before, err := strconv.ParseUint(q.Get("before"), 10, 64); err == nil {
		for first < len(matching) && matching[first].Number >= before {
			first++
		}
	}
	end := min(len(matching), first+eventsPerPage)
	for _, x := range matching[first:end] {
		e.Events = append(e.Events, newEventRow(x))
	}
	address := func(before uint64) string {
		next := url.Values{}
		for _, key := range []string{"kind", "q"} {
			if v := q.Get(key); v != "" {
				next.Set(key, v)
			}
		}
		if before > 0 {
			next.Set("before", strconv.FormatUint(before, 10))
		}
		return "/events?" + next.Encode()
	}
	if first > 0 {
		e.Newer = address(0)
		if first > eventsPerPage {
			e.Newer = address(matching[first-eventsPerPage-1].Number)
		}
	}
	if end < len(matching) && end > 0 {
		e.Older = address(matching[end-1].Number)
	}
}

// eventContext is the number of events that are shown before and after one.
const eventContext = 15

// event shows an event among those around it.
func (c *Console) event(r *http.Request, _ Visitor) (view, error) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return view{}, notFound("%q is not the number of an event.", r.PathValue("number"))
	}
	s, _ := c.watch.get()
	at := slices.IndexFunc(s.Events, func(e zeekapi.ClusterEvent) bool { return e.Number == number })
	if at < 0 {
		return view{}, notFound("The controller does not keep event %d any more, or there was none.", number)
	}
	e := eventsView{Stale: stale(s), Kinds: eventKinds, Number: number, Kept: len(s.Events), Filtered: true}
	for _, x := range slices.Backward(s.Events[max(0, at-eventContext):min(len(s.Events), at+eventContext+1)]) {
		e.Events = append(e.Events, newEventRow(x))
	}
	return view{Name: "events", Title: "Event " + strconv.FormatUint(number, 10), Data: e}, nil
}
