package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// measured holds the measurements of a node since its start.
type measured struct {
	traffic     series
	connections *zeekapi.Connections // nil: unknown
	silent      string               // why there is no report; "": there is one, or none was requested
	unanswered  bool                 // it has not answered the last request
	mute        bool                 // it refuses to report, so it is not asked again
	indirect    bool                 // requests to it pass through another node
}

// series are the measurements of the same counters, of which it keeps two to compute rates.
type series struct {
	base, last     zeekapi.Traffic
	baseAt, lastAt time.Time // zero: none
}

// add adds a measurement. The rates are those since the latest measurement that is at
// least MinRatePeriod older.
func (s *series) add(now time.Time, t zeekapi.Traffic) {
	if !s.lastAt.IsZero() && now.Sub(s.lastAt) >= MinRatePeriod {
		s.base, s.baseAt = s.last, s.lastAt
	}
	t.Measured, t.Rates = now, nil
	if !s.baseAt.IsZero() {
		t.Rates = t.Since(s.base, now.Sub(s.baseAt))
	}
	s.last, s.lastAt = t, now
}

// latest returns the last measurement, nil if there is none.
func (s *series) latest() *zeekapi.Traffic {
	if s.lastAt.IsZero() {
		return nil
	}
	t := s.last
	return &t
}

// maxReport limits the size of a report, in bytes. The names of all nodes of a cluster fit.
const maxReport = 1 << 20

// parseReport decodes a report. It is from a node, which runs scripts of users.
func parseReport(data string) (r nodescript.Figures, err error) {
	if len(data) > maxReport {
		return r, fmt.Errorf("its report has %d bytes, limit is %d", len(data), maxReport)
	}
	if json.Unmarshal([]byte(data), &r) != nil {
		return r, errors.New("its report cannot be read")
	}
	// Such as Cluster::CLUSTER_BACKEND_ZEROMQ.
	r.Backend = strings.ToLower(r.Backend[strings.LastIndex(r.Backend, "_")+1:])
	if zeekapi.CheckName(r.Backend) != nil {
		r.Backend = "unknown"
	}
	return r, nil
}

// cluster has the members of a layout, by name. It parses a layout once, because the nodes
// of an instance usually share one.
type cluster struct {
	layout  zeekapi.Layout
	members []zeekapi.Member // sorted by name; nil for an invalid layout
}

func (c *cluster) of(layout zeekapi.Layout) []zeekapi.Member {
	if c.layout != layout {
		c.layout = layout
		c.members, _ = layout.Members()
	}
	return c.members
}

// connections returns the connections of a node, nil if it is not a member of its cluster.
func connections(members []zeekapi.Member, node string, r nodescript.Figures) *zeekapi.Connections {
	at := slices.IndexFunc(members, func(m zeekapi.Member) bool { return m.Name == node })
	if at < 0 {
		return nil
	}
	listed := make(map[string]bool, len(r.Nodes))
	for _, name := range r.Nodes {
		listed[name] = true
	}
	c := &zeekapi.Connections{Backend: r.Backend}
	for i, m := range members {
		if i == at || !zeekapi.Connects(r.Backend, members[at].Role, m.Role) {
			continue
		}
		c.Expected++
		switch {
		case listed[m.Name] == r.Sees:
			c.Seen++
		case len(c.Missing) < zeekapi.MaxMissing:
			c.Missing = append(c.Missing, m.Name)
		default:
			c.More++
		}
	}
	return c
}
