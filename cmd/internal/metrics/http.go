package metrics

import (
	"cmp"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

// HTTP holds the metrics of an HTTP server. Its methods may be called concurrently.
type HTTP struct {
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	limited, slow prometheus.Counter

	active, streams, sessions, jobs *prometheus.Desc

	stats atomic.Pointer[func() httpapi.Stats]
}

// NewHTTP returns the metrics of an HTTP server, registered with r.
func NewHTTP(r prometheus.Registerer) *HTTP {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("zeekwire_http_"+name, help, nil, nil)
	}
	h := &HTTP{
		requests: counter("zeekwire_http_requests_total",
			"HTTP requests and ended streams, by pattern of the path (none if the request was refused before), method, and class of the status, such as 2xx.", "route", "method", "status"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "zeekwire_http_request_seconds",
			Help:    "Time from the header of an HTTP request to the end of the response, without streams.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300},
		}, []string{"route"}),
		limited:  prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_http_requests_limited_total", Help: "HTTP requests that were refused because their client, or all clients, had sent too many."}),
		slow:     prometheus.NewCounter(prometheus.CounterOpts{Name: "zeekwire_http_streams_slow_total", Help: "Streams of events that were ended because their client did not read them in time."}),
		active:   desc("requests_active", "HTTP requests under way, without streams."),
		streams:  desc("streams", "Open streams of events, including those of pages of the console."),
		sessions: desc("sessions", "Sessions of browsers."),
		jobs:     desc("jobs_active", "Requests under way that were started over HTTP and do not end with their HTTP request."),
	}
	r.MustRegister(h.requests, h.seconds, h.limited, h.slow, h)
	return h
}

// Observe counts an exchange. It is for httpapi.Config.Observe.
func (h *HTTP) Observe(e httpapi.Exchange) {
	route := cmp.Or(e.Route, "none")
	h.requests.WithLabelValues(route, e.Method, fmt.Sprintf("%dxx", e.Status/100)).Inc()
	if !e.Stream {
		h.seconds.WithLabelValues(route).Observe(e.Took.Seconds())
	}
	if e.Status == http.StatusTooManyRequests {
		h.limited.Inc()
	}
	if e.Slow {
		h.slow.Inc()
	}
}

// Watch makes the present numbers of the server part of the metrics. Stats may be called from
// any goroutine.
func (h *HTTP) Watch(stats func() httpapi.Stats) { h.stats.Store(&stats) }

// Describe implements prometheus.Collector.
func (h *HTTP) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{h.active, h.streams, h.sessions, h.jobs} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (h *HTTP) Collect(c chan<- prometheus.Metric) {
	stats := h.stats.Load()
	if stats == nil {
		return
	}
	s := (*stats)()
	for d, n := range map[*prometheus.Desc]int{h.active: s.Requests, h.streams: s.Streams, h.sessions: s.Sessions, h.jobs: s.Jobs} {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
}
