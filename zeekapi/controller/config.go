package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/diskspace"
)

// Config configures Run. Buses and Dialects are required.
type Config struct {
	Settings Settings

	// Buses carry agents and clients; the topic of a message says which of the
	// two it is from. Run takes all notifications of the buses. The caller
	// closes them.
	Buses []broker.Bus

	// Dialer connects to agents that listen for their controller. If nil, the
	// controller only accepts connections.
	Dialer Dialer

	// Access maps each bus to its access rules. A bus without rules accepts
	// every agent and every request, like Zeek's controller, and sends responses
	// to all clients.
	Access map[broker.Bus]*Access

	// Dialects are the dialects that the controller speaks.
	Dialects []*zeekapi.Dialect

	// Exposure, if non-nil, returns who may command the controller now, for its
	// status. The controller's loop calls it. It must not block.
	Exposure func() zeekapi.Exposure

	// Alerts, if non-nil, notifies operators of problems.
	Alerts AlertSender

	// Directories are the directories whose space is reported.
	Directories []Directory

	// Loaded, if non-nil, is called once, after the stored state has been
	// restored.
	Loaded func()

	// Store keeps the state over restarts. If nil, the state is lost when Run
	// ends.
	Store Store

	// Leadership, if non-nil, determines when the controller leads, and its store in that
	// time. Store must be nil then.
	Leadership Leadership

	// Sites stores the sites of configurations. If nil, the controller refuses
	// sites.
	Sites SiteStore

	// Observe, if non-nil, is called after the start, with a nil Input, and
	// after every step of the machine, with the numbers after the step and with
	// the outputs, which have not been performed yet. It must not block.
	Observe func(s Snapshot, in Input, out []Output)

	// Beat is the longest time between two calls of Observe. Zero means that a
	// controller without input takes no steps; a negative duration is an error.
	Beat time.Duration

	// Ending, if non-nil, ends Run when it is closed, after all pending requests
	// have been answered. New ones are refused.
	Ending <-chan struct{}

	// Log receives errors that no method returns, and what clients and agents
	// do. The zero value discards them.
	Log zerolog.Logger
}

// Directory is a directory of the controller.
type Directory = diskspace.Directory

// SiteStore stores sites. A *site.Store is one. Its methods are called concurrently.
type SiteStore interface {
	// HaveOf returns how much of a site there is. Owner identifies the client that
	// uploads it, so that clients do not disturb each other.
	HaveOf(owner, site string) zeekapi.SiteProgress

	// AppendOf stores a part. It ignores a part that does not begin at the end of
	// what there is of the owner. Only for the last part may it take long.
	AppendOf(owner string, part zeekapi.SitePart) (zeekapi.SiteProgress, error)

	// Read returns the part of a complete site that begins at an offset, of at
	// most n bytes.
	Read(site string, offset uint64, n int) (zeekapi.SitePart, error)

	// Keep removes all sites but the given ones, and those that are younger than
	// grace.
	Keep(sites []string, grace time.Duration) error
}

// RemoteSites is a SiteStore that also stores sites outside of this machine. Read finds only
// the sites on this machine. HaveOf and AppendOf apply to all sites.
type RemoteSites interface {
	SiteStore

	// Local reports whether Read finds a site.
	Local(site string) bool

	// Fetch copies a site to this machine, so that Read finds it. It may take long, and may be
	// called concurrently.
	Fetch(ctx context.Context, site string) error
}

func (c Config) validate() error {
	switch {
	case len(c.Buses) == 0:
		return errors.New("controller: Config has no buses")
	case slices.Contains(c.Buses, nil):
		return errors.New("controller: Config has a bus that is nil")
	case len(c.Dialects) == 0:
		return errors.New("controller: Config has no dialects")
	case c.Store != nil && c.Leadership != nil:
		return errors.New("controller: Config has a store and a leadership")
	case c.Beat < 0:
		return fmt.Errorf("controller: Beat is %s, must not be negative", c.Beat)
	}
	for _, a := range c.Access {
		if err := a.validate(); err != nil {
			return err
		}
	}
	_, err := c.Settings.complete()
	return err
}

// Topics returns the prefixes that the buses of a controller must subscribe to.
func Topics(dialects []*zeekapi.Dialect) []string {
	var topics []string
	for _, d := range dialects {
		topics = append(topics, d.Topics.Controller, d.Topics.AgentPrefix)
	}
	return topics
}
