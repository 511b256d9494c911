package httpapi

import (
	"net/http"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// This file has what a console needs besides the principals of its requests.

// Reader returns a client of the controller that may only read, for the pages of a console that
// all visitors see. It must not be closed.
func (s *Server) Reader() *client.Client { return s.reader }

// OnEvent makes f receive every further event of the controller, one at a time and in order.
// f must not block.
func (s *Server) OnEvent(f func(zeekapi.ClusterEvent)) {
	s.events.OnEvent(func(e zeekapi.ClusterEvent) {
		s.hub.event(e)
		f(e)
	})
}

// Authenticate identifies the sender of a request again, whose session may have ended since
// the request began. The client of the returned principal must not be used.
func (s *Server) Authenticate(r *http.Request) (*Principal, error) { return s.authenticate(r) }

// Sessions reports whether clients can log in, because they have tokens.
func (s *Server) Sessions() bool { return s.cfg.Clients != nil }
