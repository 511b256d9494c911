package console

import (
	"net/http"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// accessView is the page about the visitor's permissions.
type accessView struct {
	Requests []permission
	Exposure *zeekapi.Exposure
}

// permission tells whether the visitor may make a request.
type permission struct {
	Name, Summary string
	Changes, May  bool
}

func (c *Console) access(_ *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	a := accessView{Exposure: s.Status.Exposure}
	for _, effect := range []zeekapi.Effect{zeekapi.Reads, zeekapi.Changes} {
		for r := range zeekapi.Requests() {
			if r.API == zeekapi.ControllerAPI && r.Effect == effect {
				a.Requests = append(a.Requests, permission{r.Name, r.Summary, r.Effect == zeekapi.Changes, v.May(r)})
			}
		}
	}
	return view{Name: "access", Title: "Access", Data: a, Still: true}, nil
}
