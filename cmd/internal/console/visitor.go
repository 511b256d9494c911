package console

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// Visitor is the sender of an HTTP request.
type Visitor struct {
	Name  string // empty for an anonymous visitor
	Proof string // of the name, such as "token"; empty for an anonymous visitor
	From  string // address
	Role  access.Role

	// StandsBy reports whether the controller stands by, so that it changes nothing.
	StandsBy bool

	// Until is the end of the session. Zero means that there is no session: the visitor
	// proves its identity with every request, or does not need to.
	Until time.Time

	// Client makes requests of the controller as the visitor. It is valid during the HTTP
	// request.
	Client *client.Client

	// Start makes a request of the controller as the visitor. The request does not end with
	// the HTTP request. The function wait returns its results.
	Start func(zeekapi.Message) (wait waiter, err error)
}

// waiter waits for the results of a request, at most until its context ends.
type waiter = func(context.Context) ([]zeekapi.Result, error)

// May reports whether the controller accepts a request of the visitor.
func (v Visitor) May(r *zeekapi.Request) bool {
	return v.Role.May(r.Effect) && !(v.StandsBy && (r.Effect == zeekapi.Changes || r.Long))
}

// key identifies the visitor for limits: the name, or the address of an anonymous visitor.
func (v Visitor) key() string { return cmp.Or(v.Name, v.From) }

// refusal is the error for a visitor who may not make a request.
func (v Visitor) refusal() error {
	if v.StandsBy {
		return &failure{http.StatusConflict, "Nothing was done: this controller stands by, and only the controller that leads does that."}
	}
	return &failure{http.StatusForbidden, "You may not do this: your role is " + v.Role.String() + "."}
}

// visitor identifies the sender of a request. An error means that the request has no valid
// proof of identity, so that the visitor must log in. Its text is shown.
func (c *Console) visitor(r *http.Request) (Visitor, error) {
	now, err := c.server.Authenticate(r)
	if err != nil {
		return Visitor{}, err
	}
	s, _ := c.watch.get()
	v := Visitor{StandsBy: !s.Status.AsOf.IsZero(), Role: now.Role, Proof: proofs[now.How], From: now.Address().String(), Until: now.Expires}
	if now.How != httpapi.ByNothing {
		v.Name = now.Name
	}
	p := httpapi.PrincipalOf(r.Context())
	if p == nil { // it has just logged in
		return v, nil
	}
	v.Client = p.Client()
	v.Start = func(q zeekapi.Message) (waiter, error) {
		job, err := p.Start(q)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) ([]zeekapi.Result, error) {
			ended, ok := c.server.AwaitJob(ctx, job.ID)
			switch {
			case !ok:
				return nil, errForgotten
			case ended.State == httpapi.JobRunning:
				return nil, cmp.Or(ctx.Err(), error(errForgotten))
			case ended.Error != "":
				return nil, &failure{http.StatusBadGateway, ended.Error}
			}
			return ended.Results, nil
		}, nil
	}
	return v, nil
}

var errForgotten = &failure{http.StatusGone, "The result is not kept any more. The history has all deployments."}

// proofs describes how visitors proved their names.
var proofs = map[httpapi.Proof]string{
	httpapi.ByToken: "token", httpapi.ByCertificate: "client certificate", httpapi.BySession: "token, in a session of the browser",
}
