package clientcmd

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// This file has the JSON output of measurements.

const (
	trafficHelp = `

Traffic has the keys measured (a time), received, dropped and link (packets
since the start; link is null if the packet source does not count), bytes,
drop_share (0 to 1), and rates, which is null before the second measurement:
period (seconds), received, dropped, link and bytes (per second), and
drop_share.`

	figuresHelp = `threads, files (open file
descriptors), started (of the process), interface, traffic (as in netstats),
connections (as in peers), and silent (why the node does not report).`
)

type trafficView struct {
	Measured  *time.Time `json:"measured"`
	Received  uint64     `json:"received"`
	Dropped   uint64     `json:"dropped"`
	Link      *uint64    `json:"link"`
	Bytes     uint64     `json:"bytes"`
	DropShare float64    `json:"drop_share"`
	Rates     *ratesView `json:"rates"`
}

type ratesView struct {
	Period    float64 `json:"period"` // seconds
	Received  float64 `json:"received"`
	Dropped   float64 `json:"dropped"`
	Link      float64 `json:"link"`
	Bytes     float64 `json:"bytes"`
	DropShare float64 `json:"drop_share"`
}

type connectionsView struct {
	Backend  string   `json:"backend"`
	Seen     uint64   `json:"seen"`
	Expected uint64   `json:"expected"`
	Missing  []string `json:"missing"`
	More     uint64   `json:"more"`
}

func newTrafficView(t *zeekapi.Traffic) *trafficView {
	if t == nil {
		return nil
	}
	v := &trafficView{
		Measured: orNullTime(t.Measured), Received: t.Received, Dropped: t.Dropped, Link: orNull(t.Link), Bytes: t.Bytes,
		DropShare: finite(t.DropShare()),
	}
	if r := t.Rates; r != nil {
		v.Rates = &ratesView{
			finite(r.Period.Seconds()), finite(r.Received), finite(r.Dropped), finite(r.Link), finite(r.Bytes), finite(r.DropShare()),
		}
	}
	return v
}

func newConnectionsView(c *zeekapi.Connections) *connectionsView {
	if c == nil {
		return nil
	}
	return &connectionsView{c.Backend, c.Seen, c.Expected, names(c.Missing), c.More}
}
