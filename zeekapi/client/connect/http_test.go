package connect_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// Responses of the HTTP API from the stored state of a controller are announced, as over other
// transports, but not responses that have the time themselves, and not those of a leader.
func TestStoredAnswersOverHTTP(t *testing.T) {
	asOf := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/session"):
			fmt.Fprint(w, `{"name":"alice","role":"observer"}`)
		case r.Header.Get("From") == "leader":
			fmt.Fprint(w, `{"results":[{"success":true,"data":[]}]}`)
		case strings.HasSuffix(r.URL.Path, "/controllers"):
			w.Header().Set("Zeekwire-As-Of", asOf.Format(time.RFC3339))
			fmt.Fprint(w, `{"results":[{"success":true,"data":{"term":1,"leads":false,"as_of":"2026-11-01T10:00:00Z","members":[]}}]}`)
		default:
			w.Header().Set("Zeekwire-As-Of", asOf.Format(time.RFC3339))
			fmt.Fprint(w, `{"results":[{"success":true,"data":[]}]}`)
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for _, leads := range []bool{false, true} {
		o := connect.Options{Address: address, Transport: connect.HTTP, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern}}
		if leads {
			o.Header = http.Header{"From": {"leader"}}
		}
		connection, err := connect.Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		c := client.New(connection, modern, operations.Dialect(operations.DefaultTopics))
		heard := make(chan zeekapi.StoredAnswer, 2)
		c.OnStoredAnswer(func(s zeekapi.StoredAnswer) { heard <- s })
		if !leads {
			if _, err := c.Controllers(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.History(context.Background(), 0); err != nil {
			t.Error(err)
		}
		c.Close()
		close(heard)
		var got []string
		for s := range heard {
			got = append(got, s.Controller+" "+s.AsOf.Format(time.RFC3339))
		}
		if leads && len(got) > 0 || !leads && (len(got) != 1 || got[0] != address+" 2026-11-01T10:00:00Z") {
			t.Errorf("leads %t: heard %q", leads, got)
		}
	}
}

// The responses of the HTTP API come in any order: a slow one does not mean that the controller
// does not know the request.
func TestProbeOverHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/session"):
			fmt.Fprint(w, `{"name":"alice","role":"observer"}`)
		case strings.HasSuffix(r.URL.Path, "/"+zeekapi.GetInstancesCall.Request.Name):
			fmt.Fprint(w, `{"results":[{"success":true,"data":[]}]}`)
		default:
			io.Copy(io.Discard, r.Body) // the end of the connection is noticed from here on
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	connection, err := connect.Dial(t.Context(), connect.Options{
		Address: strings.TrimPrefix(server.URL, "http://"), Transport: connect.HTTP, Timeout: longTimeout, Dialects: []*zeekapi.Dialect{modern},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(connection, modern, operations.Dialect(operations.DefaultTopics))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), longTimeout)
	defer cancel()
	if err := c.Probe(ctx); err != nil {
		t.Error(err)
	}
}
