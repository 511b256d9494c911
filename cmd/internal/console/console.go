// Package console is the controller's console in the browser: pages that show a cluster
// and let operators change it.
//
// The pages are HTML that the server renders, and can be read without JavaScript. A
// script of a few kilobytes keeps them live: every page is also a stream of Server-Sent
// Events at the same address, which has the parts of the page that changed. Nothing is
// loaded from elsewhere.
package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// Console is the handler of all pages. It is created by New. It must run, see Run. Its HTTP
// server protects against requests of other web pages, and limits the rate of requests.
type Console struct {
	server    *httpapi.Server
	client    *client.Client // reads what all visitors see
	mux       *http.ServeMux
	watch     *watch
	answers   answers
	operation operations
	streams   streams
	beat      time.Duration
	uploads   uploads

	siteLimits site.Limits // of sites that visitors upload

	running context.Context // of operations
	end     context.CancelFunc
}

// New returns the console of an HTTP server, for httpapi.Config.Console.
func New(s *httpapi.Server) *Console {
	c := &Console{
		server: s, client: s.Reader(), mux: http.NewServeMux(), watch: newWatch(s), streams: streams{limit: maxStreams}, beat: beatInterval,
		siteLimits: site.Limits{Bytes: site.DefaultMaxBytes, Files: site.DefaultMaxFiles},
	}
	c.running, c.end = context.WithCancel(context.Background())
	c.routes()
	return c
}

// Run watches the cluster until ctx is done. Then it ends the requests of operations that
// visitors have started; what they have asked for, the controller does.
func (c *Console) Run(ctx context.Context) {
	c.watch.run(ctx)
	c.end()
	c.operation.active.Wait()
}

// background returns a context that does not end with an HTTP request.
func (c *Console) background(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.running, limit)
}

func (c *Console) routes() {
	c.page("GET /{$}", c.overview)
	c.page("GET /machines/{name}", c.machine)
	c.page("GET /topology", c.topology)
	c.page("GET /nodes/{name}", c.node)
	c.page("GET /events", c.events)
	c.page("GET /events/{number}", c.event)
	c.page("GET /history", c.history)
	c.page("GET /history/{number}", c.deployment)
	c.page("GET /deploy", c.editor)
	c.page("GET /operations/{id}", c.progress)
	c.page("GET /rollback/{number}", c.confirmRollback)
	c.page("GET /operate", c.operate)
	c.page("GET /rolling-restart/{number}", c.job)
	c.page("GET /controllers", c.controllers)
	c.page("GET /access", c.access)

	c.action(reviewPattern, zeekapi.CheckCall.Request, c.review)
	c.action("POST /operations/{id}/deploy", zeekapi.DeployStagedCall.Request, c.deploy)
	c.action("POST /rollback/{number}", zeekapi.RollbackCall.Request, c.rollback)
	c.action("POST /nodes/{name}/restart", zeekapi.RestartCall.Request, c.restartNode)
	c.action("POST /nodes/{name}/stop", zeekapi.StopCall.Request, c.stopNode)
	c.action("POST /nodes/{name}/start", zeekapi.StopCall.Request, c.startNode)
	c.action("POST /machines/{name}/drain", zeekapi.DrainCall.Request, c.drain)
	c.action("POST /machines/{name}/undrain", zeekapi.DrainCall.Request, c.undrain)
	for _, do := range verbs {
		c.action("POST /operate/"+do.Name, do.call, c.perform(do))
	}
	c.action("POST /job/cancel", zeekapi.CancelJobCall.Request, c.cancelJob)
	c.action("POST /controllers/step-down", zeekapi.StepDownCall.Request, c.stepDown)

	c.mux.HandleFunc("GET /login", c.loginForm)
	c.mux.HandleFunc("POST /login", c.login)
	c.mux.HandleFunc("POST /logout", c.logout)
	c.mux.Handle("GET "+httpapi.AssetPrefix, static)
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, Visitor{}, &failure{http.StatusNotFound, "There is no such page."})
	})
}

// ServeHTTP serves a page, a stream of its changes, or an action.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// failure is an error that is shown as a page.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

// notFound is the failure about something that the cluster does not have.
func notFound(format string, args ...any) error {
	return &failure{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// page serves a view, as a page or as a stream of its changes.
func (c *Console) page(pattern string, show viewFunc) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, ok := c.visit(w, r)
		if !ok {
			return
		}
		if r.Header.Get("Accept") == "text/event-stream" {
			c.stream(w, r, v, show)
			return
		}
		c.watch.renew(r.Context())
		view, err := show(r, v)
		if err != nil {
			c.fail(w, r, v, err)
			return
		}
		c.write(w, r, v, view)
	})
}

// maxForm limits the size of a form, in bytes. A cluster file may have maxFile.
const maxForm = maxFile + 64<<10

// reviewPattern is the pattern of the form with a cluster file and a site.
const reviewPattern = "POST /deploy"

// uploadTime limits the time to send a site.
const uploadTime = 15 * time.Minute

// maxSiteForm limits the size of a form with a site, in bytes.
func (c *Console) maxSiteForm() int64 {
	const perFile = 1 << 10 // header of a file
	return maxForm + c.siteLimits.Bytes + int64(c.siteLimits.Files)*perFile
}

// action serves a change. The function returns the address of the page that shows what
// follows.
func (c *Console) action(pattern string, request *zeekapi.Request, do func(*http.Request, Visitor) (next string, err error)) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, ok := c.visit(w, r)
		if !ok {
			return
		}
		if !v.May(request) {
			c.fail(w, r, v, v.refusal())
			return
		}
		if v.May(zeekapi.UploadSiteCall.Request) && pattern == reviewPattern {
			c.server.AllowUpload(w, r, c.maxSiteForm(), uploadTime)
		} else {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		c.server.Audit(r, request)
		next, err := do(r, v)
		if err != nil {
			c.fail(w, r, v, err)
			return
		}
		c.watch.refresh()
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
}

// visit returns the visitor. Visitors who must log in are sent to the page for that, or
// get an error if they asked for something else than a page.
func (c *Console) visit(w http.ResponseWriter, r *http.Request) (Visitor, bool) {
	v, err := c.visitor(r)
	switch {
	case err == nil && v.Role != access.None:
		return v, true
	case err == nil:
		c.fail(w, r, v, &failure{http.StatusForbidden, "You may not read anything here: the file of clients gives you no role."})
	case !c.server.Sessions():
		c.fail(w, r, v, &failure{http.StatusUnauthorized, err.Error()})
	case r.Method != http.MethodGet:
		c.fail(w, r, v, &failure{http.StatusUnauthorized, "Your session has ended. Nothing was changed. Log in, and try again."})
	case r.Header.Get("Accept") == "text/event-stream" || r.Header.Get("Sec-Fetch-Mode") == "cors":
		http.Error(w, "log in", http.StatusUnauthorized)
	default:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	}
	return v, false
}

// loginView is the page for visitors without a session.
type loginView struct {
	Next, Error string
	Sessions    bool
}

func (c *Console) loginForm(w http.ResponseWriter, r *http.Request) {
	next := localTarget(r.FormValue("next"))
	if _, err := c.visitor(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	c.write(w, r, Visitor{}, view{Name: "login", Title: "Log in", Data: loginView{Next: next, Sessions: c.server.Sessions()}})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	next := localTarget(r.PostFormValue("next"))
	if !c.server.Sessions() {
		c.fail(w, r, Visitor{}, notFound("There are no sessions here."))
		return
	}
	if _, err := c.server.LogIn(w, r, strings.TrimSpace(r.PostFormValue("token"))); err != nil {
		c.write(w, r, Visitor{}, view{Name: "login", Title: "Log in", Status: http.StatusUnauthorized,
			Data: loginView{Next: next, Error: err.Error(), Sessions: true}})
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if c.server.Sessions() {
		c.server.LogOut(w, r)
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// localTarget returns an address of this server to which a visitor may be sent, "/" for
// any other.
func localTarget(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(u.Path, "//") || strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") {
		return "/"
	}
	return u.RequestURI()
}
