package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// pageParameters are the parameters of a list in pages.
var pageParameters = map[string]bool{"cursor": true, "limit": true, "kind": true, "instance": true, "node": true}

// The number of items of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is a part of a list, the newest item first.
type page struct {
	Items any    `zeek:"items"`
	Next  string `zeek:"next,optional"` // cursor of the next page, "" for the last one
}

// respondPage responds with a page of events or deployments.
func (s *Server) respondPage(w http.ResponseWriter, r *http.Request, resource zeekapi.Resource, _ zeekapi.Message) {
	query := r.URL.Query()
	limit, before, err := pageOf(query)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	results, err := s.results(r, resource.Request.New()) // all: the controller keeps few
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if failures := failuresOf(results); len(failures) > 0 {
		s.refuse(w, r, failed(resource, failures))
		return
	}
	p, cursor, err := cut(resource, results[0], query, limit, before)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if cursor > 0 {
		p.Next = "b" + strconv.FormatUint(cursor, 10)
		query.Set("cursor", p.Next)
		w.Header().Add("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.Path, query.Encode()))
	}
	writeJSON(w, r, http.StatusOK, p)
}

// pageOf returns which page a query asks for: at most limit items with numbers below
// before, 0 for the newest.
func pageOf(query url.Values) (limit int, before uint64, err error) {
	limit = defaultPage
	if text := query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 || n > maxPage {
			return 0, 0, problem(http.StatusUnprocessableEntity, "the request is invalid",
				ProblemPart{Field: "limit", Value: clipped(text), Reason: fmt.Sprintf("want a number from 1 to %d", maxPage)})
		}
		limit = int(n)
	}
	if text := query.Get("cursor"); text != "" {
		number, ok := strings.CutPrefix(text, "b")
		if before, err = strconv.ParseUint(number, 10, 64); !ok || err != nil || before == 0 {
			return 0, 0, problem(http.StatusUnprocessableEntity, "the request is invalid",
				ProblemPart{Field: "cursor", Value: clipped(text), Reason: "want the cursor of an earlier response"})
		}
	}
	return limit, before, nil
}

// cut returns a page, and the number before which the next one ends, 0 if there is none.
func cut(resource zeekapi.Resource, res zeekapi.Result, query url.Values, limit int, before uint64) (p page, next uint64, err error) {
	if resource.Request == zeekapi.EventsCall.Request {
		var events []zeekapi.ClusterEvent
		if err := record.Unmarshal(res.Data, &events); err != nil {
			return p, 0, err
		}
		slices.Reverse(events)
		after, _ := strconv.ParseUint(query.Get("after"), 10, 64)
		wanted := func(e zeekapi.ClusterEvent) bool {
			has := func(name, value string) bool { return !query.Has(name) || query.Get(name) == value }
			return e.Number > after && has("kind", e.Kind) && has("instance", e.Instance) && has("node", e.Node)
		}
		p.Items, next = cutList(events, func(e zeekapi.ClusterEvent) uint64 { return e.Number }, wanted, limit, before)
		return p, next, nil
	}
	var deployments []zeekapi.Deployment
	if err := record.Unmarshal(res.Data, &deployments); err != nil {
		return p, 0, err
	}
	p.Items, next = cutList(deployments, func(d zeekapi.Deployment) uint64 { return d.Number }, func(zeekapi.Deployment) bool { return true }, limit, before)
	return p, next, nil
}

// cutList returns at most limit items with numbers below before, and the number of the last
// one if there are more.
func cutList[T any](list []T, number func(T) uint64, wanted func(T) bool, limit int, before uint64) (items []T, next uint64) {
	items = []T{}
	for _, x := range list {
		if before > 0 && number(x) >= before || !wanted(x) {
			continue
		}
		if len(items) == limit {
			return items, number(items[limit-1])
		}
		items = append(items, x)
	}
	return items, 0
}
