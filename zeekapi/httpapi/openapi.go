package httpapi

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/zeekwire/zeekwire/zeekapi"
)

const descriptionType = "application/openapi+json"

// Description returns the description of the API as an OpenAPI document in JSON, made from
// the registry of requests.
func Description(version string) ([]byte, error) {
	d := &description{schemas: newSchemas()}
	d.api = &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "zeekwire controller", Version: version,
			Description: "Reads and changes a Zeek cluster. Errors are problem documents as in RFC 9457. " +
				"What takes long returns 202 and a job; the header \"Prefer: wait=30\" waits for its end. " +
				"Responses of a controller that stands by have the age of its state in the headers Age and " + zeekapi.AsOfHeader + ".",
		},
		Servers: []*huma.Server{{URL: zeekapi.APIPrefix}},
		Paths:   make(map[string]*huma.PathItem),
		Components: &huma.Components{
			Schemas: d.schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":       {Type: "http", Scheme: "bearer", Description: "a token of the file of clients"},
				"session":     {Type: "apiKey", In: "cookie", Name: cookieName, Description: "for browsers: the cookie that POST /session sets, with the prefix __Host- over TLS"},
				"certificate": {Type: "mutualTLS", Description: "a client certificate"},
			},
		},
		Security: []map[string][]string{{}, {"token": {}}, {"session": {}}, {"certificate": {}}},
	}
	d.schemas.named["Problem"] = problemSchema
	for resource := range zeekapi.Resources() {
		d.resource(resource)
	}
	d.own()
	for r := range zeekapi.Requests() {
		if r.API == zeekapi.ControllerAPI {
			d.byName(r)
		}
	}
	return d.api.MarshalJSON()
}

// description builds the document.
type description struct {
	api     *huma.OpenAPI
	schemas *schemas
}

var problemSchema = &huma.Schema{
	Type: huma.TypeObject, Required: []string{"title", "status"},
	Properties: map[string]*huma.Schema{
		"type": {Type: huma.TypeString}, "title": {Type: huma.TypeString}, "detail": {Type: huma.TypeString},
		"status": {Type: huma.TypeInteger},
		"leader": {
			Type: huma.TypeObject, Required: []string{"name", "term"},
			Description: "the controller that leads, if the one that responds stands by and does not serve the request",
			Properties: map[string]*huma.Schema{
				"name": {Type: huma.TypeString}, "term": {Type: huma.TypeInteger},
				"clients": {Type: huma.TypeString, Description: "address for WebSockets, HOST:PORT"},
				"agents":  {Type: huma.TypeString, Description: "address for the native protocol, HOST:PORT"},
				"http":    {Type: huma.TypeString, Description: "such as https://controller-1:9990"},
			},
		},
		"errors": {Type: huma.TypeArray, Items: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"reason"},
			Properties: map[string]*huma.Schema{
				"field": {Type: huma.TypeString}, "value": {Type: huma.TypeString, Description: "as it was sent"},
				"instance": {Type: huma.TypeString}, "node": {Type: huma.TypeString}, "reason": {Type: huma.TypeString},
			},
		}},
	},
}

// operation adds an operation with the responses that all have.
func (d *description) operation(o *huma.Operation) {
	if o.Responses == nil {
		o.Responses = make(map[string]*huma.Response)
	}
	o.Responses["default"] = &huma.Response{
		Description: "The request failed",
		Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "Problem"}}},
	}
	d.api.AddOperation(o)
}

// resource adds the operation of a resource.
func (d *description) resource(resource zeekapi.Resource) {
	request := resource.Request
	summary := resource.Title
	if summary == "" {
		summary = request.Summary
	}
	o := &huma.Operation{
		Method: resource.Method, Path: resource.Path, Summary: summary, OperationID: operationID(resource.Method, resource.Path),
		Tags: []string{effectTag(request.Effect)}, Responses: make(map[string]*huma.Response),
	}
	input := d.schemas.object(request.RequestType())
	body := resource.Method == http.MethodPost || resource.Method == http.MethodPut
	delete(input.Properties, "reqid")
	for _, f := range fieldsOf(resource) {
		switch {
		case f.path:
			o.Parameters = append(o.Parameters, &huma.Param{Name: f.Name, In: "path", Required: true, Schema: input.Properties[f.Name]})
			delete(input.Properties, f.Name)
		case !body && !resource.Paged:
			o.Parameters = append(o.Parameters, &huma.Param{Name: f.Name, In: "query", Schema: input.Properties[f.Name], Explode: new(bool)})
		}
	}
	for _, name := range resource.Omit {
		delete(input.Properties, name)
	}
	input.Required = nil // missing fields are zero
	switch {
	case resource.Body != "":
		o.RequestBody = jsonBody(input.Properties[resource.Body], true)
	case body:
		o.RequestBody = jsonBody(input, false)
	}
	d.tags(o, resource)
	d.responses(o, resource)
	d.operation(o)
}

// tags adds the headers of configurations.
func (d *description) tags(o *huma.Operation, resource zeekapi.Resource) {
	if !resource.Tagged {
		return
	}
	text := &huma.Schema{Type: huma.TypeString}
	if resource.Method == http.MethodGet {
		o.Parameters = append(o.Parameters, &huma.Param{Name: "If-None-Match", In: "header", Schema: text, Description: "ETag that the client has"})
		o.Responses["304"] = &huma.Response{Description: "The client has this configuration"}
		return
	}
	o.Parameters = append(o.Parameters,
		&huma.Param{Name: "If-Match", In: "header", Schema: text, Description: "ETag of the staged configuration, or * for any"})
	if resource.Method == http.MethodPut {
		o.Parameters = append(o.Parameters,
			&huma.Param{Name: "If-None-Match", In: "header", Schema: text, Description: "* if no configuration is staged. This header or If-Match is required"})
	}
}

// responses adds the successful responses of a resource.
func (d *description) responses(o *huma.Operation, resource zeekapi.Resource) {
	request := resource.Request
	ok := "200"
	var schema *huma.Schema
	switch {
	case request.Long:
		o.Parameters = append(o.Parameters, &huma.Param{Name: "Prefer", In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "wait=SECONDS waits for the end of the job"})
		schema = d.schemas.of(reflect.TypeFor[jobView](), true)
		o.Responses["202"] = withLocation(jsonResponse("The job has begun", schema))
	case resource.Paged:
		d.pages(o, request)
		schema = &huma.Schema{Type: huma.TypeObject, Required: []string{"items"}, Properties: map[string]*huma.Schema{
			"items": d.schemas.of(request.Data[0], true), "next": {Type: huma.TypeString, Description: "cursor of the next page"},
		}}
	case request.Single(), request == zeekapi.DryRunCall.Request:
		schema = d.schemas.of(request.Data[0], true)
	default:
		schema = d.results(request)
	}
	if resource.Begins != "" {
		o.Responses["202"] = withLocation(jsonResponse("It has begun", schema))
		return
	}
	o.Responses[ok] = jsonResponse("The request succeeded", schema)
	if request == zeekapi.EventsCall.Request {
		o.Parameters = append(o.Parameters, &huma.Param{Name: "Last-Event-ID", In: "header", Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "number of the last event that a stream has received"})
		o.Responses[ok].Content[streamType] = &huma.MediaType{Schema: &huma.Schema{
			Type: huma.TypeString, Description: "Server-Sent Events: event (its ID is the number), job, summary, gap, end",
		}}
	}
	if resource.Tagged || request == zeekapi.StatusCall.Request {
		o.Responses[ok].Headers = map[string]*huma.Param{"ETag": {Schema: &huma.Schema{Type: huma.TypeString}}}
	}
}

// pages adds the parameters of a list in pages.
func (d *description) pages(o *huma.Operation, request *zeekapi.Request) {
	add := func(name, kind, text string) {
		o.Parameters = append(o.Parameters, &huma.Param{Name: name, In: "query", Schema: &huma.Schema{Type: kind}, Description: text})
	}
	add("limit", huma.TypeInteger, fmt.Sprintf("number of items, at most %d (default %d)", maxPage, defaultPage))
	add("cursor", huma.TypeString, "the next of an earlier response")
	if request == zeekapi.EventsCall.Request {
		add("after", huma.TypeInteger, "only events with a greater number")
		add("kind", huma.TypeString, "only events of this kind")
		add("instance", huma.TypeString, "only events of this instance")
		add("node", huma.TypeString, "only events of this node")
	}
}

// results returns the schema of a list of results.
func (d *description) results(r *zeekapi.Request) *huma.Schema {
	item := d.schemas.object(reflect.TypeFor[resultView]())
	data := new(huma.Schema)
	for _, t := range r.Data {
		data.AnyOf = append(data.AnyOf, d.schemas.of(t, true))
	}
	if len(data.AnyOf) == 1 {
		data = data.AnyOf[0]
	}
	item.Properties["data"] = data
	return &huma.Schema{Type: huma.TypeObject, Required: []string{"results"}, Properties: map[string]*huma.Schema{
		"results": {Type: huma.TypeArray, Items: item},
	}}
}

// byName adds the operation that makes a request by its name.
func (d *description) byName(r *zeekapi.Request) {
	input := d.schemas.object(r.RequestType())
	delete(input.Properties, "reqid")
	input.Required = nil
	d.operation(&huma.Operation{
		Method: http.MethodPost, Path: "/requests/" + r.Name, OperationID: "request-" + strings.ReplaceAll(r.Name, "_", "-"),
		Summary: r.Summary, Tags: []string{"by name"}, RequestBody: jsonBody(input, false),
		Description: "Waits for the response, with one result or more, which may be failures.",
		Responses:   map[string]*huma.Response{"200": jsonResponse("The controller has responded", d.results(r))},
	})
}

// own adds the operations of the server itself.
func (d *description) own() {
	job, session := d.schemas.of(reflect.TypeFor[jobView](), true), d.schemas.of(reflect.TypeFor[sessionView](), true)
	add := func(method, path, summary, status, text string, schema *huma.Schema) *huma.Operation {
		o := &huma.Operation{
			Method: method, Path: path, Summary: summary, OperationID: operationID(method, path), Tags: []string{"server"},
			Responses: map[string]*huma.Response{status: {Description: text}},
		}
		for _, name := range pathPart().FindAllStringSubmatch(path, -1) {
			o.Parameters = append(o.Parameters, &huma.Param{Name: name[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
		if schema != nil {
			o.Responses[status] = jsonResponse(text, schema)
		}
		d.operation(o)
		return o
	}
	add(http.MethodGet, "/jobs", "List jobs, the newest first", "200", "The jobs, without results", d.schemas.of(reflect.TypeFor[jobList](), true))
	add(http.MethodGet, "/jobs/{id}", "Get a job", "200", "The job", job)
	add(http.MethodGet, "/rolling-restart", "Get the last rolling restart", "200", "The rolling restart", d.schemas.of(reflect.TypeFor[zeekapi.Job](), true))
	add(http.MethodGet, "/session", "Tell who the client is and what it may do", "200", "The client", session)
	in := add(http.MethodPost, "/session", "Log a browser in", "201", "The session has begun, and its cookie is set", session)
	in.RequestBody = jsonBody(d.schemas.of(reflect.TypeFor[login](), true), true)
	add(http.MethodDelete, "/session", "Log a browser out", "204", "The session has ended", nil)
	self := add(http.MethodGet, "/openapi.json", "Get this description", "200", "The description", nil)
	self.Responses["200"].Content = map[string]*huma.MediaType{descriptionType: {Schema: &huma.Schema{Type: huma.TypeObject}}}
}

func jsonBody(schema *huma.Schema, required bool) *huma.RequestBody {
	return &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

func jsonResponse(text string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: text, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

func withLocation(r *huma.Response) *huma.Response {
	r.Headers = map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: huma.TypeString}, Description: "where its progress is"}}
	return r
}

func effectTag(e zeekapi.Effect) string {
	if e == zeekapi.Changes {
		return "changes"
	}
	return "reads"
}

var pathPart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{([^}]+)\}`) })

// operationID returns a name such as "get-nodes-node-logs".
func operationID(method, path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}.", r) })
	return strings.ToLower(strings.Join(slices.Insert(words, 0, method), "-"))
}

// described returns the description of the API, which does not change.
func (s *Server) described() func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) { return Description(s.cfg.Version) })
}

func (s *Server) getDescription(w http.ResponseWriter, r *http.Request) {
	text, err := s.description()
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", descriptionType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}
