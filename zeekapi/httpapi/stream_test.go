package httpapi_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// principal returns the principal of a request on this machine.
func (c *cluster) principal() *httpapi.Principal {
	c.Helper()
	c.want(200, "", "GET", "/", "")
	return c.last.Load()
}

// TestResume checks that a stream that was interrupted continues without a gap and without
// repetitions.
func TestResume(t *testing.T) {
	c := start(t, "", nil)
	c.deploy()
	first := c.stream("Last-Event-ID: 0")
	last := uint64(0)
	expect := func(s *stream, n int) {
		t.Helper()
		for range n {
			m := s.next("event")
			if id, err := strconv.ParseUint(m.id, 10, 64); err != nil || id != last+1 || !strings.Contains(m.data, `"number":`+m.id+",") {
				t.Fatalf("event %d is followed by %+v", last, m)
			}
			last++
		}
	}
	expect(first, 3)
	first.resp.Body.Close()
	c.want(200, "c1", "PUT", "/api/v1/configurations/staged", configuration, "If-Match: *") // an event in the meantime
	second := c.stream("Last-Event-ID: " + strconv.FormatUint(last, 10))
	all := parse[struct{ Items []struct{ Number uint64 } }](t, c.do("GET", "/api/v1/events", "").body)
	expect(second, int(all.Items[0].Number-last))
	c.want(200, "c1", "PUT", "/api/v1/configurations/staged", configuration, "If-Match: *")
	expect(second, 1)
	c.want(422, `"field":"Last-Event-ID"`, "GET", "/api/v1/events", "", "Accept: text/event-stream", "Last-Event-ID: x")
}

// TestGap checks that a stream says what it cannot deliver any more.
func TestGap(t *testing.T) {
	c := start(t, "", nil)
	c.awaitInstance()
	for range 1100 { // the controller keeps 1000 events
		c.want(200, "", "PUT", "/api/v1/configurations/staged", configuration, "If-Match: *")
	}
	m := c.stream("Last-Event-ID: 1").next("gap")
	gap := parse[struct{ After, Oldest uint64 }](t, m.data)
	if gap.After != 1 || gap.Oldest < 50 {
		t.Errorf("the gap is %s", m.data)
	}
}

// TestReaderIsLost checks that the server connects again after it has lost its connection to
// the controller, and that streams end then, so that their clients resume them.
func TestReaderIsLost(t *testing.T) {
	c := start(t, "", nil)
	c.awaitInstance()
	s := c.stream()
	s.next("summary")
	httpapi.LoseReader(c.server)
	s.ended("does not keep up")
	resumed := c.stream("Last-Event-ID: 0")
	resumed.next("event")
	c.want(200, "c1", "PUT", "/api/v1/configurations/staged", configuration, "If-Match: *")
	for m := resumed.next("event"); !strings.Contains(m.data, `"kind":"staged"`); m = resumed.next("event") {
	}
	c.want(200, `"staged":"c1"`, "GET", "/api/v1/status", "")
}

// TestJobUpdates checks that a stream reports the begin and the end of jobs, and changes of
// the cluster.
func TestJobUpdates(t *testing.T) {
	c := start(t, "", nil)
	c.awaitInstance()
	s := c.stream()
	s.next("summary")
	c.deploy()
	for _, state := range []string{"running", "succeeded"} {
		if m := s.next("job"); !strings.Contains(m.data, `"request":"deploy_staged"`) || !strings.Contains(m.data, `"state":"`+state+`"`) {
			t.Errorf("want a job that has %s, got %s", state, m.data)
		}
	}
	for m := s.next("summary"); !strings.Contains(m.data, `"deployed":"c1"`); m = s.next("summary") {
	}
}
