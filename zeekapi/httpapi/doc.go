// Package httpapi serves a controller over HTTP: its API, health and metrics, and the
// pages of a console.
//
// A [Server] is a client of the controller like any other. It has a bus to the controller
// (Server.Bus), on which every [Principal], the authenticated sender of HTTP requests, is
// a peer of its own. So the permissions, limits, metrics and the audit log of the
// controller apply to HTTP as they do to other transports.
//
// A request passes these steps: security headers, the name of the host, protection against
// requests of other web pages, authentication, limits, and then the handler. Handlers find
// the sender with [PrincipalOf], and make requests of the controller as the sender with
// [Principal.Client], which has the typed calls of package client:
//
//	p := httpapi.PrincipalOf(r.Context())
//	status, err := p.Client().Status(r.Context())
//
// Pages of a console are handlers like those of the API: Config.Console returns the
// handler that serves all paths that the API does not have. It gets requests without a
// principal, too, for the page at which to log in; it calls [Server.LogIn] and
// [Server.LogOut]. [Server.Follow] returns the events of the cluster, the progress of jobs
// and changes of the cluster's state as one stream; [Principal.Start] starts what takes
// long, as a [Job].
package httpapi
