package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// handleAPI adds the paths of the API: those of the resources that package zeekapi
// declares, those of requests by their names, and those of the server itself.
func (s *Server) handleAPI(mux *http.ServeMux) {
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		WriteProblem(w, r, http.StatusNotFound, "there is no such resource; "+zeekapi.APIPrefix+"/openapi.json describes them")
	})
	for resource := range zeekapi.Resources() {
		mux.HandleFunc(resource.Method+" "+zeekapi.APIPrefix+resource.Path, s.serve(resource))
	}
	mux.HandleFunc("POST "+zeekapi.APIPrefix+"/requests/{name}", s.serveByName)
	mux.HandleFunc("GET "+zeekapi.APIPrefix+"/rolling-restart", s.getRollingRestart)
	mux.HandleFunc("GET "+zeekapi.APIPrefix+"/jobs", s.listJobs)
	mux.HandleFunc("GET "+zeekapi.APIPrefix+"/jobs/{id}", s.getJob)
	mux.HandleFunc("GET "+zeekapi.APIPrefix+"/session", s.getSession)
	mux.HandleFunc("POST "+zeekapi.APIPrefix+"/session", s.postSession)
	mux.HandleFunc("DELETE "+zeekapi.APIPrefix+"/session", s.deleteSession)
	mux.HandleFunc("GET "+zeekapi.APIPrefix+"/openapi.json", s.getDescription)
}

// serve returns the handler of a resource.
func (s *Server) serve(resource zeekapi.Resource) http.HandlerFunc {
	do := s.respond
	switch {
	case resource.Request == zeekapi.StatusCall.Request:
		do = s.respondStatus
	case resource.Paged:
		do = s.respondPage
	case resource.Request.Long:
		do = s.respondJob
	}
	stream := resource.Request == zeekapi.EventsCall.Request
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.permitted(w, r, resource.Request.Effect) {
			return
		}
		if stream && wantsStream(r) {
			s.serveStream(w, r)
			return
		}
		s.dated(w, r)
		q, err := s.read(r, resource)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		s.Audit(r, resource.Request)
		do(w, r, resource, q)
	}
}

// Audit logs the sender of a request for a change, with its address. The controller logs the
// outcome. Audit does nothing for a request that only reads, or without a principal. Pages call
// it before they make a request.
func (s *Server) Audit(r *http.Request, request *zeekapi.Request) {
	p := PrincipalOf(r.Context())
	if request.Effect != zeekapi.Changes || p == nil {
		return
	}
	s.cfg.Log.Info().Str("by", p.Name).Stringer("addr", p.Address()).Str("proof", string(p.How)).
		Str("request", request.Name).Str("method", r.Method).Str("path", r.URL.Path).Msg("HTTP request for a change")
}

// problemError is an error that is a response.
type problemError struct{ Problem }

func (e *problemError) Error() string { return e.Detail }

func problem(status int, detail string, parts ...ProblemPart) error {
	return &problemError{Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: parts}}
}

// refuse responds with an error.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *problemError
	var away *awayError
	switch {
	case errors.As(err, &p):
		writeProblem(w, r, p.Problem)
	case errors.As(err, &away):
		away.write(w, r)
	case errors.Is(err, context.DeadlineExceeded):
		WriteProblem(w, r, http.StatusGatewayTimeout, "the controller did not answer in time")
	case r.Context().Err() != nil:
		// The client is gone.
	default:
		WriteProblem(w, r, http.StatusBadGateway, err.Error())
	}
}

// read returns the request of the controller that an HTTP request asks for.
func (s *Server) read(r *http.Request, resource zeekapi.Resource) (zeekapi.Message, error) {
	into := reflect.New(resource.Request.RequestType())
	fields := fieldsOf(resource)
	body := resource.Method == http.MethodPost || resource.Method == http.MethodPut
	values := make(map[string]json.RawMessage)
	var faults []ProblemPart
	for _, f := range fields {
		if text := r.PathValue(f.Name); text != "" && f.path {
			values[f.Name] = textJSON(f.Type, []string{text})
		}
	}
	switch {
	case body && resource.Body != "":
		text, err := s.readBody(r)
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, problem(http.StatusBadRequest, "the request needs a body: the "+resource.Body)
		}
		values[resource.Body] = text
	case body:
		given, err := s.readObject(r)
		if err != nil {
			return nil, err
		}
		for name, text := range given {
			if slices.ContainsFunc(fields, func(f requestField) bool { return f.path && f.Name == name }) || slices.Contains(resource.Omit, name) {
				faults = append(faults, ProblemPart{Field: name, Reason: "is determined by the path"})
				continue
			}
			values[name] = text
		}
	default:
		for name, list := range r.URL.Query() {
			i := slices.IndexFunc(fields, func(f requestField) bool { return !f.path && f.Name == name })
			switch {
			case resource.Paged && pageParameters[name]:
			case i < 0:
				faults = append(faults, ProblemPart{Field: name, Value: clipped(list[0]), Reason: "unknown parameter"})
			default:
				values[name] = textJSON(fields[i].Type, list)
			}
		}
	}
	if len(faults) == 0 {
		var err error
		if faults, err = assign(values, resource.Body, into.Interface()); err != nil {
			return nil, err
		}
	}
	if len(faults) > 0 {
		return nil, problem(http.StatusUnprocessableEntity, "the request is invalid", faults...)
	}
	q := into.Elem().Interface().(zeekapi.Message)
	if resource.Fixed != nil {
		q = resource.Fixed(q)
	}
	return s.precondition(r, resource, q)
}

// assign stores the fields of a request, and returns what is wrong with them.
func assign(values map[string]json.RawMessage, whole string, into any) ([]ProblemPart, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return []ProblemPart{{Reason: "invalid JSON: " + err.Error()}}, nil
	}
	err = record.FromJSON(text, into)
	var faulty *record.JSONError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &faulty):
		return nil, err
	}
	var parts []ProblemPart
	for _, f := range faulty.Faults {
		if whole != "" { // the body itself is the field
			f.Path = strings.TrimPrefix(strings.TrimPrefix(f.Path, whole), ".")
		}
		parts = append(parts, ProblemPart{Field: f.Path, Value: f.Value, Reason: f.Reason})
	}
	return parts, nil
}

// requestField is a field of a request, except its ID and those that a resource determines.
type requestField struct {
	record.Field
	path bool // a part of the path
}

func fieldsOf(resource zeekapi.Resource) []requestField {
	var fields []requestField
	for _, f := range record.TypeFor(resource.Request.RequestType()).Fields {
		if f.Name == "reqid" || slices.Contains(resource.Omit, f.Name) {
			continue
		}
		fields = append(fields, requestField{f, strings.Contains(resource.Path, "{"+f.Name+"}")})
	}
	return fields
}

// textJSON returns the JSON of a parameter of a path or a query, which is text.
func textJSON(t record.Type, list []string) json.RawMessage {
	quote := func(s string) json.RawMessage {
		text, err := json.Marshal(s)
		if err != nil {
			return json.RawMessage("null")
		}
		return text
	}
	switch t.Kind {
	case "count", "int", "double", "bool", "port":
		if text := []byte(list[0]); json.Valid(text) {
			return text
		}
	case "set", "vector":
		var items []json.RawMessage
		for _, item := range list {
			for part := range strings.SplitSeq(item, ",") {
				items = append(items, quote(part))
			}
		}
		text, err := json.Marshal(items)
		if err == nil {
			return text
		}
	}
	return quote(list[0])
}

// readObject reads a body that is a JSON object. No body is an empty object.
func (s *Server) readObject(r *http.Request) (map[string]json.RawMessage, error) {
	text, err := s.readBody(r)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, problem(http.StatusBadRequest, "the body is not a JSON object: "+err.Error())
	}
	return object, nil
}

// readBody reads a body with JSON.
func (s *Server) readBody(r *http.Request) ([]byte, error) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); r.ContentLength != 0 && !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, problem(http.StatusUnsupportedMediaType, "want a body with Content-Type: application/json")
	}
	text, err := s.bodies.read(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit))
	case errors.Is(err, errMemory):
		return nil, problem(http.StatusServiceUnavailable, err.Error())
	case err != nil:
		return nil, problem(http.StatusBadRequest, "cannot read the body: "+err.Error())
	}
	context.AfterFunc(r.Context(), func() { s.bodies.free(len(text)) })
	return text, nil
}

// timeout is the time that a request of the controller may take.
func timeout(r *zeekapi.Request) time.Duration {
	if r.Long {
		return longWait
	}
	return Timeout
}

// results makes a request of the controller.
func (s *Server) results(r *http.Request, q zeekapi.Message) ([]zeekapi.Result, error) {
	request := zeekapi.ClientRequest(q)
	ctx, cancel := context.WithTimeout(r.Context(), timeout(request))
	defer cancel()
	results, err := PrincipalOf(r.Context()).Client().Results(ctx, q)
	if request.Effect == zeekapi.Changes {
		s.status.expire()
	}
	if n, standsBy := zeekapi.NotLeaderOf(results); standsBy {
		return nil, &awayError{n, results[0].Error}
	}
	return results, err
}

// respond makes a request of the controller and responds with its results.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, resource zeekapi.Resource, q zeekapi.Message) {
	results, err := s.results(r, q)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	request := resource.Request
	if failures := failuresOf(results); len(failures) > 0 && (request.Single() || request.Effect == zeekapi.Changes || request == zeekapi.DryRunCall.Request) {
		s.refuse(w, r, failed(resource, failures))
		return
	}
	if resource.Tagged && resource.Method == http.MethodGet {
		s.respondTagged(w, r, results[0])
		return
	}
	status := http.StatusOK
	if resource.Begins != "" {
		w.Header().Set("Location", zeekapi.APIPrefix+resource.Begins)
		status = http.StatusAccepted
	}
	if request.Single() || request == zeekapi.DryRunCall.Request {
		data, err := dataOf(request, results[0])
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		writeJSON(w, r, status, data)
		return
	}
	views, err := viewsOf(request, results)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if resource.Tagged { // a configuration was staged
		w.Header().Set("ETag", tagOf(q.(zeekapi.StageConfigurationRequest).Config))
	}
	writeJSON(w, r, status, resultList{views})
}

// failuresOf returns the failures among results.
func failuresOf(results []zeekapi.Result) []zeekapi.Result {
	return slices.DeleteFunc(slices.Clone(results), func(r zeekapi.Result) bool { return r.Success })
}

// failed returns the error of a request that the controller refused.
func failed(resource zeekapi.Resource, failures []zeekapi.Result) error {
	var parts []ProblemPart
	for _, f := range failures {
		parts = append(parts, ProblemPart{Instance: f.Instance, Node: f.Node, Reason: f.Error})
	}
	text := failures[0].Error
	status := http.StatusConflict
	switch {
	case text == zeekapi.ErrorReplaced:
		return problem(http.StatusPreconditionFailed, text)
	case strings.HasPrefix(text, "controller: client "): // the role has changed since
		status = http.StatusForbidden
	case text == zeekapi.ErrorTimeout:
		status = http.StatusGatewayTimeout
	case resource.Method == http.MethodGet:
		status = http.StatusNotFound
	case resource.Body != "":
		status = http.StatusUnprocessableEntity
	}
	if len(parts) == 1 && parts[0].Instance == "" && parts[0].Node == "" {
		parts = nil
	}
	return problem(status, text, parts...)
}

// resultView is a result with its data as JSON.
type resultView struct {
	Success  bool   `zeek:"success"`
	Instance string `zeek:"instance,optional"`
	Node     string `zeek:"node,optional"`
	Error    string `zeek:"error,optional"`
	Data     any    `zeek:"data,optional"`
}

type resultList struct {
	Results []resultView `zeek:"results"`
}

// viewsOf returns results as the API shows them.
func viewsOf(request *zeekapi.Request, results []zeekapi.Result) ([]resultView, error) {
	views := make([]resultView, len(results))
	for i, res := range results {
		data, err := dataOf(request, res)
		if err != nil {
			return nil, err
		}
		views[i] = resultView{res.Success, res.Instance, res.Node, res.Error, data}
	}
	return views, nil
}

// dataOf returns the data of a result, nil if it has none.
func dataOf(request *zeekapi.Request, res zeekapi.Result) (any, error) {
	if res.Data.IsNone() {
		return nil, nil
	}
	if text, ok := res.Data.Text(); ok {
		return text, nil
	}
	for _, t := range append(slices.Clone(request.Data), reflect.TypeFor[zeekapi.NotLeader]()) {
		into := reflect.New(t)
		if record.Unmarshal(res.Data, into.Interface()) == nil {
			return into.Elem().Interface(), nil
		}
	}
	return nil, fmt.Errorf("httpapi: the data of a result of %s has an unknown form", request.Name)
}

// serveByName makes a request by its name in the registry. It waits for the response.
func (s *Server) serveByName(w http.ResponseWriter, r *http.Request) {
	request := requestNamed(r.PathValue("name"))
	if request == nil {
		s.refuse(w, r, problem(http.StatusNotFound, "there is no such request", ProblemPart{Field: "name", Value: clipped(r.PathValue("name")), Reason: "unknown request"}))
		return
	}
	if !s.permitted(w, r, request.Effect) {
		return
	}
	q, err := s.read(r, zeekapi.Resource{Request: request, Method: http.MethodPost})
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.Audit(r, request)
	s.dated(w, r)
	results, err := s.results(r, q)
	if err == nil {
		var views []resultView
		if views, err = viewsOf(request, results); err == nil {
			writeJSON(w, r, http.StatusOK, resultList{views})
			return
		}
	}
	s.refuse(w, r, err)
}

// requestNamed returns the request of clients with that name, nil if there is none.
func requestNamed(name string) *zeekapi.Request {
	for r := range zeekapi.Requests() {
		if r.Name == name && r.API == zeekapi.ControllerAPI {
			return r
		}
	}
	return nil
}

// respondJob starts what takes long.
func (s *Server) respondJob(w http.ResponseWriter, r *http.Request, _ zeekapi.Resource, q zeekapi.Message) {
	if err := s.posts.leads(r.Context()); err != nil {
		s.refuse(w, r, err)
		return
	}
	job, err := PrincipalOf(r.Context()).Start(q)
	switch {
	case errors.Is(err, ErrJobs):
		w.Header().Set("Retry-After", "10")
		s.refuse(w, r, problem(http.StatusTooManyRequests, err.Error()))
		return
	case err != nil:
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Location", zeekapi.APIPrefix+"/jobs/"+job.ID)
	if wait := preferredWait(r); wait > 0 {
		w.Header().Set("Preference-Applied", fmt.Sprintf("wait=%d", int(wait.Seconds())))
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		job, _ = s.AwaitJob(ctx, job.ID)
		if n, standsBy := zeekapi.NotLeaderOf(job.Results); standsBy {
			s.refuse(w, r, &awayError{n, job.Results[0].Error})
			return
		}
	}
	status := http.StatusAccepted
	if job.State != JobRunning {
		status = http.StatusOK
	}
	s.writeJob(w, r, status, job)
}

// maxPreferredWait is the longest wait that a client can ask for.
const maxPreferredWait = 5 * time.Minute

// preferredWait returns the time that a client wants to wait for the end of a job, as in
// RFC 7240.
func preferredWait(r *http.Request) time.Duration {
	for _, header := range r.Header.Values("Prefer") {
		for item := range strings.SplitSeq(header, ",") {
			value, ok := strings.CutPrefix(strings.TrimSpace(item), "wait=")
			if n, err := strconv.ParseUint(value, 10, 32); ok && err == nil {
				return min(time.Duration(n)*time.Second, maxPreferredWait)
			}
		}
	}
	return 0
}

// jobView is a Job as the API shows it.
type jobView struct {
	ID      string       `zeek:"id"`
	Request string       `zeek:"request"`
	By      string       `zeek:"by"`
	Started time.Time    `zeek:"started"`
	Ended   time.Time    `zeek:"ended,optional"`
	State   JobState     `zeek:"state"`
	Results []resultView `zeek:"results,optional"`
	Error   string       `zeek:"error,optional"`
}

func viewOf(j Job) (jobView, error) {
	v := jobView{ID: j.ID, Request: j.Request, By: j.By, Started: j.Started, Ended: j.Ended, State: j.State, Error: j.Error}
	var err error
	if j.State != JobRunning && j.Results != nil {
		v.Results, err = viewsOf(requestNamed(j.Request), j.Results)
	}
	return v, err
}

func (s *Server) writeJob(w http.ResponseWriter, r *http.Request, status int, j Job) {
	v, err := viewOf(j)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	writeJSON(w, r, status, v)
}

type jobList struct {
	Jobs []jobView `zeek:"jobs"`
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request) {
	if !s.permitted(w, r, zeekapi.Reads) {
		return
	}
	list := jobList{Jobs: []jobView{}}
	for _, j := range s.Jobs() {
		j.Results = nil
		v, err := viewOf(j)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		list.Jobs = append(list.Jobs, v)
	}
	writeJSON(w, r, http.StatusOK, list)
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	if !s.permitted(w, r, zeekapi.Reads) {
		return
	}
	j, ok := s.Job(r.PathValue("id"))
	if !ok {
		s.refuse(w, r, problem(http.StatusNotFound, "there is no such job, or it is no longer kept"))
		return
	}
	s.writeJob(w, r, http.StatusOK, j)
}

func (s *Server) getRollingRestart(w http.ResponseWriter, r *http.Request) {
	if !s.permitted(w, r, zeekapi.Reads) {
		return
	}
	status, err := s.status.get(r.Context())
	switch {
	case err != nil:
		s.refuse(w, r, err)
	case status.Status.Job == nil:
		s.refuse(w, r, problem(http.StatusNotFound, "there was no rolling restart"))
	default:
		writeJSON(w, r, http.StatusOK, *status.Status.Job)
	}
}

// sessionView tells a client who it is, and what it may do.
type sessionView struct {
	Name    string    `zeek:"name"`
	Role    string    `zeek:"role"`
	Proof   Proof     `zeek:"proof"`
	Address string    `zeek:"address"`
	Expires time.Time `zeek:"expires,optional"`
	May     []string  `zeek:"may"` // the names of requests
}

func sessionOf(p *Principal) sessionView {
	v := sessionView{Name: p.Name, Role: p.Role.String(), Proof: p.How, Address: p.Address().String(), Expires: p.Expires, May: []string{}}
	for r := range zeekapi.Requests() {
		if r.API == zeekapi.ControllerAPI && p.May(r.Effect) {
			v.May = append(v.May, r.Name)
		}
	}
	return v
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, http.StatusOK, sessionOf(PrincipalOf(r.Context())))
}

type login struct {
	Token string `zeek:"token"`
}

func (s *Server) postSession(w http.ResponseWriter, r *http.Request) {
	text, err := s.readBody(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	var l login
	if err := record.FromJSON(text, &l); err != nil { // without values: they may be secret
		s.refuse(w, r, problem(http.StatusUnprocessableEntity, `want a body such as {"token": "..."}`))
		return
	}
	p, err := s.LogIn(w, r, l.Token)
	switch {
	case errors.Is(err, errNoClients):
		s.refuse(w, r, problem(http.StatusConflict, err.Error()))
	case errors.Is(err, errFailures):
		w.Header().Set("Retry-After", "60")
		s.refuse(w, r, problem(http.StatusTooManyRequests, err.Error()))
	case errors.Is(err, access.ErrWrongToken), errors.Is(err, access.ErrNoProof), errors.Is(err, access.ErrPlainToken):
		s.unauthorized(w, r, err)
	case err != nil:
		s.refuse(w, r, problem(http.StatusServiceUnavailable, err.Error()))
	default:
		writeJSON(w, r, http.StatusCreated, sessionOf(p))
	}
}

func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request) {
	s.LogOut(w, r)
	w.WriteHeader(http.StatusNoContent)
}

// representation is the body of a resource that many clients get.
type representation struct {
	text, zipped []byte
	tag          string
	err          error
}

// represent returns the representation of a value.
func represent(v any) representation {
	text, err := record.AppendJSON(nil, v)
	if err != nil {
		return representation{err: err}
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	rep := representation{text: text, tag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	if len(text) > leastZipped {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is valid
		if _, err := z.Write(text); err == nil && z.Close() == nil {
			rep.zipped = b.Bytes()
		}
	}
	return rep
}

const leastZipped = 4 << 10 // bytes

func (s *Server) respondStatus(w http.ResponseWriter, r *http.Request, _ zeekapi.Resource, _ zeekapi.Message) {
	status, err := s.status.get(r.Context())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	rep := status.body()
	if rep.err != nil {
		s.refuse(w, r, rep.err)
		return
	}
	rep.write(w, r)
}

func (rep representation) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", rep.tag)
	h.Set("Cache-Control", "no-cache, private")
	h.Add("Vary", "Accept-Encoding, Authorization, Cookie")
	if matches(r.Header.Values("If-None-Match"), rep.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text := rep.text
	if rep.zipped != nil && acceptsGzip(r) {
		text = rep.zipped
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}

// acceptsGzip reports whether a client accepts gzip.
func acceptsGzip(r *http.Request) bool {
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(item), ";")
		if strings.EqualFold(name, "gzip") && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}

// writeJSON responds with a value.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := record.AppendJSON(nil, v)
	if err != nil {
		WriteProblem(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func clipped(s string) string {
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// bodies limits the memory of the bodies of requests. It may be used concurrently.
type bodies struct{ left chan int }

var errMemory = errors.New("too many large requests at the same time")

const bodyPiece = 64 << 10 // bytes

func newBodies(total int) *bodies {
	b := &bodies{left: make(chan int, 1)}
	b.left <- total
	return b
}

func (b *bodies) take(n int) bool {
	left := <-b.left
	ok := left >= n
	if ok {
		left -= n
	}
	b.left <- left
	return ok
}

func (b *bodies) free(n int) { b.left <- <-b.left + n }

// read reads a body. It takes memory as bytes arrive. The caller must free the length of
// the text.
func (b *bodies) read(r io.Reader) (text []byte, err error) {
	piece := make([]byte, bodyPiece)
	for {
		n, err := r.Read(piece)
		if n > 0 && !b.take(n) {
			b.free(len(text))
			return nil, errMemory
		}
		text = append(text, piece[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return text, nil
		case err != nil:
			b.free(len(text))
			return nil, err
		}
	}
}
