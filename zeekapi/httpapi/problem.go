package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is the body of an error, as in RFC 9457.
type Problem struct {
	Type   string        `json:"type,omitempty"` // omitted: the title says all
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Errors []ProblemPart `json:"errors,omitempty"`
	Leader *Leader       `json:"leader,omitempty"` // the controller that does not stand by
}

// ProblemPart is one of the faults of a request.
type ProblemPart struct {
	Field    string `json:"field,omitempty"`    // such as "config.nodes[3].p"
	Value    string `json:"value,omitempty"`    // as it was sent
	Instance string `json:"instance,omitempty"` // that it is about
	Node     string `json:"node,omitempty"`     // that it is about
	Reason   string `json:"reason"`
}

const problemType = "application/problem+json"

// WriteProblem responds with a problem. Requests outside of the API get its detail as text.
func WriteProblem(w http.ResponseWriter, r *http.Request, status int, detail string, parts ...ProblemPart) {
	writeProblem(w, r, Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: parts})
}

func writeProblem(w http.ResponseWriter, r *http.Request, p Problem) {
	if !isAPI(r.URL.Path) {
		http.Error(w, p.Detail, p.Status)
		return
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = nil
	}
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
