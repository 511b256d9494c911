package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxLayouts is the largest number of layouts that are kept, one for each controller.
const maxLayouts = 4

// layouts keeps the last layout that each controller sent for later requests, the newest at
// the end.
type layouts []layout

// layout is a zeekapi.AgentLayout, unpacked.
type layout struct {
	peer uuid.UUID // the controller
	id   string
	text zeekapi.Layout
	err  error // why it cannot be unpacked
}

// keep stores the layout of a controller in place of its last one. If it equals former, both
// share their memory, which also makes later comparisons fast.
func (l *layouts) keep(peer uuid.UUID, msg zeekapi.AgentLayout, former zeekapi.Layout) {
	text, err := msg.Layout.Unpack()
	if text == former {
		text = former
	}
	l.forget(peer)
	if len(*l) == maxLayouts {
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, layout{peer, msg.ID, text, err})
}

// forget removes the layout of a controller.
func (l *layouts) forget(peer uuid.UUID) {
	*l = slices.DeleteFunc(*l, func(k layout) bool { return k.peer == peer })
}

// errBothLayouts is the error of a request that has a layout and names another one.
var errBothLayouts = errors.New("the request has a layout and names one")

// of returns the layout of a request: the one that it contains or, if it names an ID, the one
// with that ID that the controller has sent before.
func (l layouts) of(peer uuid.UUID, packed zeekapi.PackedLayout, id string) (zeekapi.Layout, error) {
	switch {
	case id == "":
		return packed.Unpack()
	case packed != "":
		return "", errBothLayouts
	}
	for _, k := range l {
		if k.peer == peer && k.id == id {
			return k.text, k.err
		}
	}
	return "", fmt.Errorf("the agent does not have the layout %.12s of the cluster; repeat the request", id)
}
