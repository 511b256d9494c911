package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// revision is a configuration that never changes. The number identifies it
// within the life of a machine: revisions with the same number are equal.
type revision struct {
	number uint64
	zeekapi.Configuration
}

// configurations keeps one configuration in each slot.
type configurations struct {
	*outbox
	slots map[Slot]revision
	count uint64 // of revisions

	onInstance map[string][]string // names of the target's nodes, sorted; nil if not computed
}

func newConfigurations(out *outbox, stored map[Slot]zeekapi.Configuration) *configurations {
	c := &configurations{outbox: out, slots: make(map[Slot]revision)}
	for slot, config := range stored {
		c.slots[slot] = c.revise(config)
	}
	return c
}

// revise makes a revision of a configuration that is new to the machine.
func (c *configurations) revise(config zeekapi.Configuration) revision {
	c.count++
	return revision{c.count, config}
}

func (c *configurations) get(slot Slot) (revision, bool) {
	r, ok := c.slots[slot]
	return r, ok
}

// stagedIs reports whether the staged configuration is the one that a client expects: its
// fingerprint, zeekapi.NoConfiguration, or "" for any.
func (c *configurations) stagedIs(expected string) bool {
	if expected == "" {
		return true
	}
	r, ok := c.get(Staged)
	if !ok {
		return expected == zeekapi.NoConfiguration
	}
	return expected == r.Fingerprint()
}

// target returns the configuration that should run, the zero revision if there
// is none.
func (c *configurations) target() revision { return c.slots[Target] }

// save keeps a revision in a slot.
func (c *configurations) save(slot Slot, r revision) {
	c.slots[slot] = r
	if slot == Target {
		c.onInstance = nil
	}
	c.emit(Save{Slot: slot, Config: r.Configuration})
}

// nodesOn returns the names of the target's nodes on an instance, sorted.
func (c *configurations) nodesOn(instance string) []string {
	if c.onInstance == nil {
		c.onInstance = make(map[string][]string)
		for _, n := range c.target().Nodes {
			c.onInstance[n.Instance] = append(c.onInstance[n.Instance], n.Name)
		}
		for _, names := range c.onInstance {
			slices.Sort(names)
		}
	}
	return c.onInstance[instance]
}
