package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxLayouts is the largest number of layouts that are kept: the one of the assignment, one
// for a check, and as many again of a second controller.
const maxLayouts = 4

// layouts keeps the last layouts that controllers sent or that were assigned, for the requests
// that name them. The newest is at the end. An ID is of the content, so it does not matter
// which controller sent it.
type layouts []layout

// layout is a zeekapi.AgentLayout, unpacked.
type layout struct {
	id   string
	text zeekapi.Layout
	err  error // why it cannot be used
}

// receive keeps a layout that a controller sent, besides that of the assignment. If they are
// equal, they share their memory, which also makes later comparisons fast.
func (l *layouts) receive(msg zeekapi.AgentLayout, a *Assignment) {
	k := layout{id: msg.ID}
	if i := l.find(msg.ID); i >= 0 && (*l)[i].err == nil {
		k = (*l)[i]
	} else if id := msg.Layout.ID(); id != msg.ID {
		k.err = fmt.Errorf("the layout %.12s was sent as %.12s", id, msg.ID)
	} else if k.text, k.err = msg.Layout.Unpack(); a != nil && k.text == a.Layout {
		k.text = a.Layout
	}
	l.put(k)
	l.assigned(a)
}

// assigned keeps the layout of an assignment.
func (l *layouts) assigned(a *Assignment) {
	if a != nil && a.LayoutID != "" {
		l.put(layout{id: a.LayoutID, text: a.Layout})
	}
}

// put makes a layout the newest one.
func (l *layouts) put(k layout) {
	switch i := l.find(k.id); {
	case i >= 0:
		*l = slices.Delete(*l, i, i+1)
	case len(*l) == maxLayouts:
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, k)
}

// find returns the index of a layout, or -1.
func (l layouts) find(id string) int {
	return slices.IndexFunc(l, func(k layout) bool { return k.id == id })
}

// errBothLayouts is the error of a request that has a layout and names another one.
var errBothLayouts = errors.New("the request has a layout and names one")

// of returns the layout of a request and its ID: the one that it contains or, if it names an
// ID, the one that is kept.
func (l layouts) of(packed zeekapi.PackedLayout, id string) (zeekapi.Layout, string, error) {
	switch {
	case id == "":
		text, err := packed.Unpack()
		return text, packed.ID(), err
	case packed != "":
		return "", "", errBothLayouts
	}
	if i := l.find(id); i >= 0 {
		return l[i].text, id, l[i].err
	}
	return "", "", fmt.Errorf("the agent does not have the layout %.12s of the cluster; repeat the request", id)
}
