package zeekapi

import (
	"iter"
	"slices"
)

// APIPrefix is the prefix of the paths of the HTTP API.
const APIPrefix = "/api/v1"

// AsOfHeader is the header of a response of the HTTP API that comes from the stored state of
// a controller that stands by. Its value is the time of that state, in RFC 3339.
const AsOfHeader = "Zeekwire-As-Of"

// Resource describes how clients make a request in the HTTP API. It must not be changed.
//
// A part of the path in braces is the field of the request with that name. The other fields
// come from the query of GET and DELETE, and from the JSON body of other methods.
//
// A request may have several resources. A request without a resource is served by those of
// another request, see Instead.
type Resource struct {
	Request *Request
	Method  string // GET, POST, PUT or DELETE
	Path    string // without APIPrefix, such as /nodes/{node}/logs

	// Title is a line that describes the method, if the request can do more than that.
	// "" means the request's Summary.
	Title string

	// Fixed, if non-nil, returns the request with the fields that the resource
	// determines. Omit names these fields.
	Fixed func(Message) Message
	Omit  []string

	// Body is the name of the field that is the whole body, "" if the body has all
	// fields.
	Body string

	// Paged reports whether the results are served in pages, in the order of their
	// numbers.
	Paged bool

	// Tagged reports whether the resource is a configuration with an entity tag, its
	// Fingerprint. To stage a configuration, clients must send the tag of the former
	// one. To deploy it, they may send its tag.
	Tagged bool

	// Begins is the path of the job that the request begins, if the response does not
	// wait for its end. It is "" otherwise, and for requests that are Long.
	Begins string
}

// Resources returns an iterator over all resources, in a fixed order.
func Resources() iter.Seq[Resource] { return slices.Values(resources) }

// Methods of HTTP.
const (
	methodGet    = "GET"
	methodPost   = "POST"
	methodPut    = "PUT"
	methodDelete = "DELETE"
)

// with returns a function for Resource.Fixed.
func with[Q Message](set func(*Q)) func(Message) Message {
	return func(m Message) Message {
		q := m.(Q)
		set(&q)
		return q
	}
}

var resources = []Resource{
	{Request: StatusCall.Request, Method: methodGet, Path: "/status"},
	{Request: ControllersCall.Request, Method: methodGet, Path: "/controllers"},
	{Request: StepDownCall.Request, Method: methodPost, Path: "/controllers/step-down"},
	{Request: GetInstancesCall.Request, Method: methodGet, Path: "/instances"},
	{
		Request: DrainCall.Request, Method: methodPut, Path: "/instances/{instance}/drain",
		Title: "Stop all nodes of an instance until it is undrained",
		Fixed: with(func(q *DrainRequest) { q.Drain = true }), Omit: []string{"drain"},
	},
	{
		Request: DrainCall.Request, Method: methodDelete, Path: "/instances/{instance}/drain",
		Title: "Let the nodes of a drained instance run again",
		Fixed: with(func(q *DrainRequest) { q.Drain = false }), Omit: []string{"drain"},
	},

	{Request: GetNodesCall.Request, Method: methodGet, Path: "/nodes"},
	{Request: LogsCall.Request, Method: methodGet, Path: "/nodes/{node}/logs"},
	{Request: DiagnoseCall.Request, Method: methodGet, Path: "/nodes/{node}/diagnosis"},
	{Request: FiguresCall.Request, Method: methodGet, Path: "/figures"},
	{Request: ScriptsCall.Request, Method: methodGet, Path: "/scripts"},
	{Request: GetIDValueCall.Request, Method: methodGet, Path: "/values/{id}"},
	{Request: RestartCall.Request, Method: methodPost, Path: "/nodes/restart"},
	{
		Request: StopCall.Request, Method: methodPost, Path: "/nodes/stop",
		Title: "Stop nodes until they are started",
		Fixed: with(func(q *StopRequest) { q.Stop = true }), Omit: []string{"stop"},
	},
	{
		Request: StopCall.Request, Method: methodPost, Path: "/nodes/start",
		Title: "Start nodes that were stopped",
		Fixed: with(func(q *StopRequest) { q.Stop = false }), Omit: []string{"stop"},
	},
	{Request: RollingRestartCall.Request, Method: methodPost, Path: "/rolling-restart", Begins: "/rolling-restart"},
	{Request: CancelJobCall.Request, Method: methodDelete, Path: "/rolling-restart"},

	{
		Request: GetConfigurationCall.Request, Method: methodGet, Path: "/configurations/staged",
		Title: "Get the staged configuration", Tagged: true,
		Fixed: with(func(q *GetConfigurationRequest) { q.Deployed = false }), Omit: []string{"deployed"},
	},
	{
		Request: GetConfigurationCall.Request, Method: methodGet, Path: "/configurations/deployed",
		Title: "Get the deployed configuration, with the addresses and ports that the controller filled in", Tagged: true,
		Fixed: with(func(q *GetConfigurationRequest) { q.Deployed = true }), Omit: []string{"deployed"},
	},
	{Request: GetPastCall.Request, Method: methodGet, Path: "/configurations/{number}", Tagged: true},
	{
		Request: StageConfigurationCall.Request, Method: methodPut, Path: "/configurations/staged",
		Body: "config", Omit: []string{"replaces"}, Tagged: true,
	},
	{Request: DryRunCall.Request, Method: methodPost, Path: "/diffs", Body: "config"},
	{Request: CheckCall.Request, Method: methodPost, Path: "/checks"},

	{Request: HistoryCall.Request, Method: methodGet, Path: "/deployments", Paged: true},
	{Request: DeployStagedCall.Request, Method: methodPost, Path: "/deployments", Omit: []string{"expects"}, Tagged: true},
	{Request: RollbackCall.Request, Method: methodPost, Path: "/rollbacks"},

	{Request: EventsCall.Request, Method: methodGet, Path: "/events", Paged: true},
	{Request: AlertsCall.Request, Method: methodGet, Path: "/alerts"},
	{Request: TestAlertsCall.Request, Method: methodPost, Path: "/alerts/test"},

	{Request: DownloadSiteCall.Request, Method: methodGet, Path: "/sites/{site}/parts"},
	{Request: UploadSiteCall.Request, Method: methodPut, Path: "/sites/{site}/parts"},
	{Request: CleanupCall.Request, Method: methodPost, Path: "/cleanups"},
}

// instead has the results of Instead.
var instead = map[*Request]string{
	DeployCall.Request:           "deploy_staged, without options",
	SetConfigurationCall.Request: "stage_configuration, and then deploy_staged",
	TestTimeoutCall.Request:      "none: it is for tests",
}

// Instead returns the alternative to a request of clients without a resource, as text for
// documentation, "" for other requests. All requests can also be made by name.
func Instead(r *Request) string { return instead[r] }
