package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// TestHTTP counts responses by route, method and class, and apart from them what was limited
// or too slow.
func TestHTTP(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := NewHTTP(r)
	for _, x := range []httpapi.Exchange{
		{Route: "/api/v1/status", Method: "GET", Status: 200, Took: 2 * time.Millisecond},
		{Route: "/api/v1/status", Method: "GET", Status: 304, Took: time.Millisecond},
		{Method: "GET", Status: 429},
		{Route: "/api/v1/events", Method: "GET", Status: 200, Took: time.Hour, Stream: true, Slow: true},
	} {
		h.Observe(x)
	}
	expect(t, r, `
		zeekwire_http_requests_total{method="GET",route="/api/v1/events",status="2xx"} 1
		zeekwire_http_requests_total{method="GET",route="/api/v1/status",status="2xx"} 1
		zeekwire_http_requests_total{method="GET",route="/api/v1/status",status="3xx"} 1
		zeekwire_http_requests_total{method="GET",route="none",status="4xx"} 1
		zeekwire_http_requests_limited_total 1
		zeekwire_http_streams_slow_total 1
	`, "zeekwire_http_requests_total", "zeekwire_http_requests_limited_total", "zeekwire_http_streams_slow_total")
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	timed := map[string]uint64{}
	for _, f := range families {
		if f.GetName() == "zeekwire_http_streams" {
			t.Error("there are numbers of a server, and no server")
		}
		if f.GetName() == "zeekwire_http_request_seconds" {
			for _, m := range f.GetMetric() {
				timed[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	if len(timed) != 2 || timed["/api/v1/status"] != 2 {
		t.Errorf("the timed requests are %v: a stream is none", timed)
	}
	h.Watch(func() httpapi.Stats { return httpapi.Stats{Requests: 1, Streams: 2, Sessions: 3, Jobs: 4} })
	expect(t, r, `
		zeekwire_http_requests_active 1
		zeekwire_http_streams 2
		zeekwire_http_sessions 3
		zeekwire_http_jobs_active 4
	`, "zeekwire_http_requests_active", "zeekwire_http_streams", "zeekwire_http_sessions", "zeekwire_http_jobs_active")
}
