package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// standby describes the position of a controller that stands by: the age of the shown state,
// and the leader.
type standby struct {
	AsOf   time.Time
	Leader string // name; "" for none
	Link   string // address of the same page there; "" if it is unknown
}

// newStandby returns nil if the controller leads.
func newStandby(s zeekapi.Status, r *http.Request) *standby {
	if s.AsOf.IsZero() {
		return nil
	}
	b := &standby{AsOf: s.AsOf}
	if leader, ok := (zeekapi.Controllers{Members: s.Controllers}).Leader(); ok {
		b.Leader = leader.Name
		if leader.HTTP != "" {
			b.Link = leader.HTTP + r.URL.RequestURI()
			if r.Method != http.MethodGet {
				b.Link = leader.HTTP + "/"
			}
		}
	}
	return b
}

// Lag returns the number of changes that a controller has not read, as text.
func (controllersView) Lag(m zeekapi.ControllerMember) string {
	if m.Behind == 0 {
		return ""
	}
	return countText(int(m.Behind), "change")
}

// controllersView is the page about several controllers.
type controllersView struct {
	Stale       *staleness
	Members     []zeekapi.ControllerMember
	Term        uint64
	Leads       string // name of the leader
	MayStepDown bool
	Others      bool // there is another controller that could lead
}

func (c *Console) controllers(_ *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	x := controllersView{Stale: stale(s), Members: slices.Clone(s.Status.Controllers), Term: s.Status.Term, Others: len(s.Status.Controllers) > 1}
	if len(x.Members) == 0 && !s.At.IsZero() {
		return view{}, notFound("There is only this controller.")
	}
	if leader, ok := (zeekapi.Controllers{Members: x.Members}).Leader(); ok {
		x.Leads = leader.Name
	}
	x.MayStepDown = x.Others && v.May(zeekapi.StepDownCall.Request)
	return view{Name: "controllers", Title: "Controllers", Data: x}, nil
}

func (c *Console) stepDown(r *http.Request, v Visitor) (string, error) {
	ctx, cancel := within(r, client.DefaultTimeout)
	defer cancel()
	_, err := v.Client.StepDown(ctx)
	return "/controllers", err
}
