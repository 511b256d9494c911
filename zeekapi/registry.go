package zeekapi

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
)

// Every request is declared once, next to the Go types of its two messages: a
// [Request] in a variable such as RollbackCall. Dialects, permissions, refusals,
// metric labels and the calls of clients derive from these declarations. To add
// a request is to declare it and to give the role that serves it a handler.

// Request declares a request, its response, and everything that is a property
// of the pair. Declarations are read-only.
type Request struct {
	// Name identifies the request in metrics, logs and documentation, such as
	// "rolling_restart". It is unique.
	Name string

	// Summary says in one line what the request does: an imperative sentence
	// without a full stop.
	Summary string

	// API is the group of events to which both messages belong.
	API API

	// Effect tells whether the request changes anything.
	Effect Effect

	// Long marks requests whose response waits for processes to start or stop.
	Long bool

	// Data are the possible types of the data of results, successful or failed. At most one
	// of them is a record. If nil, results have no data. Any result may lack data.
	Data []reflect.Type

	// Forms are the request's names in the dialects that have it.
	Forms []Form

	request, response reflect.Type
	respond           func(ReqID, []Result) Message
	results           func(Message) []Result
	withID            func(m Message, id string) Message
	single            bool
	declare           declareFunc
}

// New returns a request of which all fields are zero.
func (r *Request) New() Message { return reflect.Zero(r.request).Interface().(Message) }

// WithID returns m, which must be a message of this request, with the given request ID.
func (r *Request) WithID(m Message, id string) Message { return r.withID(m, id) }

// RespondedBy reports whether m is a response to this kind of request.
func (r *Request) RespondedBy(m Message) bool { return reflect.TypeOf(m) == r.response }

// Single reports whether responses have one result.
func (r *Request) Single() bool { return r.single }

// RequestType returns the Go type of the request.
func (r *Request) RequestType() reflect.Type { return r.request }

// Form names a request or a one-way message in one dialect.
type Form struct {
	// Dialect is the name of the dialect: Management, ClusterAgent or Operations.
	Dialect string

	// Event is the name of the event without its module. For a request it lacks
	// the endings "_request" and "_response".
	Event string

	// Since is the first version of Zeek that has the event with these arguments,
	// and "" for events that no Zeek has.
	Since string
}

// The names of the dialects.
const (
	Management   = "Management"
	ClusterAgent = "ClusterAgent"
	Operations   = "Operations"
)

func management(event string) Form { return Form{Management, event, "5.0.0"} }

// The scripts of the ClusterAgent dialect were in no release. The version is
// that of their commit.
func clusterAgent(event string) Form { return Form{ClusterAgent, event, "5.0.0-dev"} }

func operations(event string) Form { return Form{Operations, event, ""} }

func dataOf[T any]() []reflect.Type { return []reflect.Type{reflect.TypeFor[T]()} }

// deploymentData are the types of the data in results of deployments: the ID of the
// configuration, a remark, or the outputs of a node.
var deploymentData = []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[NodeOutputs]()}

// Effect tells what a request does to a cluster.
type Effect uint8

// The effects.
const (
	Reads   Effect = iota + 1 // reports the present state, or what a change would do
	Changes                   // changes the configuration, or which processes run
)

// Call is the typed handle of a Request with the messages Q and A.
type Call[Q, A Message] struct{ *Request }

// WithID returns q with the given request ID.
func (c Call[Q, A]) WithID(q Q, id string) Q { return c.Request.WithID(q, id).(Q) }

// Respond returns the response to the request with the given ID. A response
// that holds a single result takes the first, or a failure if there is none.
func (c Call[Q, A]) Respond(id string, results ...Result) A {
	return c.respond(ReqID{ID: id}, results).(A)
}

// Respond returns the response to the request with the given ID. A response
// that holds a single result takes the first, or a failure if there is none.
func (r *Request) Respond(id string, results ...Result) Message {
	return r.respond(ReqID{ID: id}, results)
}

// Refuse returns the response to the request with the given ID whose only
// result is a failure with this reason.
func (r *Request) Refuse(id, reason string) Message {
	return r.Respond(id, Failure(id, "%s", reason))
}

// Form returns the request's form in the dialect of that name.
func (r *Request) Form(dialect string) (Form, bool) { return formIn(r.Forms, dialect) }

// Requests returns an iterator over all declared requests, in an order that
// does not change.
func Requests() iter.Seq[*Request] { return slices.Values(registry.requests) }

// RequestOf returns the declaration of a request, or nil if m is not a request.
func RequestOf(m Message) *Request { return registry.byRequest[reflect.TypeOf(m)] }

// ClientRequest returns the declaration of a request that clients make of
// controllers, or nil if m is not one.
func ClientRequest(m Message) *Request {
	if r := RequestOf(m); r != nil && r.API == ControllerAPI {
		return r
	}
	return nil
}

// ResponseOf returns the declaration of the request that m responds to, and the
// results in m. It returns nil if m is not a response.
func ResponseOf(m Message) (*Request, []Result) {
	r := registry.byResponse[reflect.TypeOf(m)]
	if r == nil {
		return nil, nil
	}
	return r, r.results(m)
}

// registry holds the declarations. It is complete when package variables are
// initialized, and read-only after that.
var registry = struct {
	requests   []*Request
	byRequest  map[reflect.Type]*Request
	byResponse map[reflect.Type]*Request // of several requests with one response, the first
	oneWay     []oneWayEvent
}{
	byRequest:  make(map[reflect.Type]*Request),
	byResponse: make(map[reflect.Type]*Request),
}

// The two shapes of responses.
type (
	singleResult interface {
		Message
		~struct {
			ReqID
			Result Result `zeek:"result"`
		}
	}
	manyResults interface {
		Message
		~struct {
			ReqID
			Results []Result `zeek:"results"`
		}
	}
)

type singleShape struct {
	ReqID
	Result Result `zeek:"result"`
}

type manyShape struct {
	ReqID
	Results []Result `zeek:"results"`
}

// single declares a request whose response has one result.
func single[Q Message, A singleResult](r Request) Call[Q, A] {
	r.single = true
	r.respond = func(id ReqID, results []Result) Message {
		if len(results) == 0 {
			results = []Result{Failure(id.ID, "no result")}
		}
		return A(singleShape{id, results[0]})
	}
	r.results = func(m Message) []Result { return []Result{singleShape(m.(A)).Result} }
	return register[Q, A](&r)
}

// many declares a request whose response has any number of results.
func many[Q Message, A manyResults](r Request) Call[Q, A] {
	r.respond = func(id ReqID, results []Result) Message { return A(manyShape{id, results}) }
	r.results = func(m Message) []Result { return manyShape(m.(A)).Results }
	return register[Q, A](&r)
}

func register[Q, A Message](r *Request) Call[Q, A] {
	r.request, r.response = reflect.TypeFor[Q](), reflect.TypeFor[A]()
	r.withID = func(m Message, id string) Message {
		q := m.(Q)
		any(&q).(identifiable).setID(id)
		return q
	}
	r.declare = func(f Form, module string, c conversions) []Declaration {
		return []Declaration{
			c.declaration(Declare[Q](module+f.Event+"_request", r.API, f.Since)),
			c.declaration(Declare[A](module+f.Event+"_response", r.API, f.Since)),
		}
	}
	if _, ok := any(new(Q)).(identifiable); !ok || registry.byRequest[r.request] != nil {
		panic(fmt.Sprintf("zeekapi: request %s: %v has no request ID or is declared twice", r.Name, r.request))
	}
	registry.requests = append(registry.requests, r)
	registry.byRequest[r.request] = r
	if registry.byResponse[r.response] == nil {
		registry.byResponse[r.response] = r
	}
	return Call[Q, A]{r}
}

// oneWayEvent is a message without a response.
type oneWayEvent struct {
	api     API
	forms   []Form
	declare declareFunc
}

// oneWay declares a message without a response.
func oneWay[M Message](api API, forms ...Form) struct{} {
	registry.oneWay = append(registry.oneWay, oneWayEvent{api, forms, func(f Form, module string, c conversions) []Declaration {
		return []Declaration{c.declaration(Declare[M](module+f.Event, api, f.Since))}
	}})
	return struct{}{}
}

// declareFunc returns the declarations of a form in a dialect.
type declareFunc func(f Form, module string, c conversions) []Declaration

func formIn(forms []Form, dialect string) (Form, bool) {
	i := slices.IndexFunc(forms, func(f Form) bool { return f.Dialect == dialect })
	if i < 0 {
		return Form{}, false
	}
	return forms[i], true
}
