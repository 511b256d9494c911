package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
)

// WatchArchive registers the metrics of an archiver with r.
func WatchArchive(r prometheus.Registerer, t *archive.Totals) {
	runs := func(result string, count *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zeekwire_agent_archive_command_runs_total", Help: "Runs of archive-command, by result: ok or error.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(count.Load()) })
	}
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zeekwire_agent_archive_expired_bytes_total", Help: "Bytes of archived logs that were removed because of their age or the size of the archive.",
		}, func() float64 { return float64(t.ExpiredBytes.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zeekwire_agent_archive_command_waiting", Help: "Archived logs for which archive-command has not succeeded yet.",
		}, func() float64 { return float64(t.Waiting.Load()) }),
		runs("ok", &t.Delivered), runs("error", &t.Failures),
	)
}
