package metrics

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
)

// WatchArchive registers the metrics of an archiver with r.
func WatchArchive(r prometheus.Registerer, t *archive.Totals, f *archive.Failures) {
	for _, task := range archive.Tasks {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zeekwire_agent_archive_failing", Help: "1 while a task of the archiver fails, otherwise 0: archive, logs do not get into the archive; command, archive-command does not succeed.",
			ConstLabels: prometheus.Labels{"task": task},
		}, func() float64 {
			if slices.ContainsFunc(f.Present(), func(p archive.Failure) bool { return p.Task == task }) {
				return 1
			}
			return 0
		}))
	}
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
