package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// WatchCertificates adds a metric of the ends of certificates to r. Ends returns them by
// file, and is called by goroutines of the HTTP server.
func WatchCertificates(r prometheus.Registerer, ends func() map[string]time.Time) {
	r.MustRegister(&certificates{
		desc: prometheus.NewDesc("zeekwire_certificate_expiry_timestamp_seconds",
			"Time at which the certificate in a file expires, in seconds since 1970.", []string{"file"}, nil),
		ends: ends,
	})
}

type certificates struct {
	desc *prometheus.Desc
	ends func() map[string]time.Time
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(to chan<- prometheus.Metric) {
	for file, end := range c.ends() {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(end.Unix()), file)
	}
}
