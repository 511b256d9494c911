package httpapi

import (
	"net/http"
	"strings"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// tagOf returns the entity tag of a configuration.
func tagOf(c zeekapi.Configuration) string { return `"` + c.Fingerprint() + `"` }

// matches reports whether a header If-Match or If-None-Match has a tag.
func matches(header []string, tag string) bool {
	for item := range strings.SplitSeq(strings.Join(header, ","), ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == "*" || item == tag {
			return true
		}
	}
	return false
}

// respondTagged responds with a configuration and its tag.
func (s *Server) respondTagged(w http.ResponseWriter, r *http.Request, res zeekapi.Result) {
	var c zeekapi.Configuration
	if err := record.Unmarshal(res.Data, &c); err != nil {
		s.refuse(w, r, err)
		return
	}
	tag := tagOf(c)
	w.Header().Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeJSON(w, r, http.StatusOK, c)
}

// precondition adds the expected configuration to a request. To stage a configuration, the
// client must say which one it replaces, so that it does not overwrite a
// configuration that another client has staged in the meantime.
func (s *Server) precondition(r *http.Request, resource zeekapi.Resource, q zeekapi.Message) (zeekapi.Message, error) {
	if !resource.Tagged {
		return q, nil
	}
	expected, given, err := expectation(r)
	if err != nil {
		return nil, err
	}
	switch q := q.(type) {
	case zeekapi.StageConfigurationRequest:
		if !given {
			return nil, problem(http.StatusPreconditionRequired,
				"say which configuration this one replaces: If-Match with its ETag, If-None-Match: * if none is staged, or If-Match: * for any")
		}
		q.Replaces = expected
		return q, nil
	case zeekapi.DeployStagedRequest:
		q.Expects = expected
		return q, nil
	}
	return q, nil
}

// expectation returns the configuration that a client expects: a fingerprint,
// zeekapi.NoConfiguration, or "" for any. Given is false if it says nothing.
func expectation(r *http.Request) (expected string, given bool, err error) {
	if tag := r.Header.Get("If-Match"); tag != "" {
		if tag == "*" {
			return "", true, nil
		}
		inner, ok := strings.CutPrefix(tag, `"`)
		inner, also := strings.CutSuffix(inner, `"`)
		if !ok || !also || inner == "" || strings.ContainsAny(inner, `",`) {
			return "", false, problem(http.StatusBadRequest, "If-Match is not one ETag", ProblemPart{Field: "If-Match", Value: clipped(tag), Reason: `want one ETag, such as "5f2a"`})
		}
		return inner, true, nil
	}
	if r.Method != http.MethodGet && r.Header.Get("If-None-Match") == "*" {
		return zeekapi.NoConfiguration, true, nil
	}
	return "", false, nil
}
