// Package service connects a service to its system: it reports its state to
// systemd and over HTTP, reloads on SIGHUP, and ends gracefully. It does not
// depend on the work of the service.
package service

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/cmd/internal/listening"
)

// BeatInterval is the interval at which a service must call Beat, unless systemd
// requires a shorter one. A service that has not called Beat for StuckAfter is
// stuck.
const (
	BeatInterval = 5 * time.Second
	StuckAfter   = 6 * BeatInterval
)

// Config is the configuration of a Service.
type Config struct {
	// Listen is the address for HTTP requests, "" for none. Metrics are the
	// metrics served there.
	Listen  string
	Metrics prometheus.Gatherer

	// Hosts are the names by which web pages may reach Listen.
	Hosts admission.Hosts

	// Patience limits the time of a graceful end.
	Patience time.Duration

	// Reload reloads settings, certificates and other files. It must keep the
	// previous state of what it cannot reload.
	Reload func() error

	Log zerolog.Logger
}

// Service is a running service.
type Service struct {
	Health *Health

	cfg      Config
	notifier *notifier

	// Used by Beat only.
	beat time.Time // last notification of systemd
	now  func() time.Time
}

// New returns a service that is not ready.
func New(cfg Config) *Service {
	return &Service{Health: NewHealth(), cfg: cfg, notifier: newNotifier(cfg.Log), now: time.Now}
}

// BeatInterval returns the interval at which Beat must be called.
func (s *Service) BeatInterval() time.Duration { return s.notifier.interval() }

// Beat reports that the service makes progress. Status returns a short description
// of its state. The goroutine that does the work must call Beat, so that a blocked
// goroutine is noticed.
func (s *Service) Beat(status func() string) {
	s.Health.Beat()
	if now := s.now(); now.Sub(s.beat) >= s.notifier.interval() {
		s.beat = now
		s.notifier.alive()
		s.notifier.tell(status())
	}
}

// Ready reports that the service is ready.
func (s *Service) Ready() {
	s.Health.Set(starting, "")
	s.notifier.ready()
}

// Run runs work and returns its error, which it does not log. When ctx ends, Run closes ending to ask
// work for a graceful end, and cancels the context of work after Config.Patience.
func (s *Service) Run(ctx context.Context, work func(ctx context.Context, ending <-chan struct{}) error) (err error) {
	workCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	if s.cfg.Listen != "" {
		stop, err := s.serveHTTP(workCtx)
		if err != nil {
			return err
		}
		defer stop()
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	var helpers sync.WaitGroup
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	helpers.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-hangups:
				s.reload()
			}
		}
	})
	helpers.Go(func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		s.Health.Set("ending", "the service is shutting down")
		s.notifier.stopping()
		s.cfg.Log.Info().Stringer("patience", s.cfg.Patience).Msg("ending")
		close(ending)
		patience := time.NewTimer(s.cfg.Patience)
		defer patience.Stop()
		select {
		case <-patience.C:
			s.cfg.Log.Warn().Msg("graceful end timed out, ending immediately")
			cancel(errImpatient)
		case <-ended:
		}
	})
	helpers.Go(func() { returnMemory(ended, restInterval) })
	err = work(workCtx, ending)
	close(ended)
	helpers.Wait()
	if err == nil {
		s.cfg.Log.Info().Msg("ended")
	}
	return err
}

var errImpatient = errors.New("service: graceful end timed out")

// Monitoring returns a handler of /metrics, /healthz and /readyz, for further listeners.
func (s *Service) Monitoring() http.Handler { return handler(s.Health, s.cfg.Metrics) }

// serveHTTP starts the HTTP server. Stop ends it and waits for its end.
func (s *Service) serveHTTP(ctx context.Context) (stop func(), err error) {
	l, err := listening.Purpose{For: "metrics", Flag: "--metrics-listen"}.Listen(ctx, s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info().Stringer("address", l.Addr()).Msg("serving metrics and health over HTTP")
	ctx, cancel := context.WithCancel(ctx)
	var server sync.WaitGroup
	server.Go(func() {
		notices := admission.NewNotices(s.cfg.Log)
		if err := serveHTTP(ctx, l, checkHost(s.cfg.Hosts, notices, handler(s.Health, s.cfg.Metrics)), notices); err != nil {
			s.cfg.Log.Error().Err(err).Msg("HTTP server failed")
		}
	})
	return func() { cancel(); server.Wait() }, nil
}

// reload handles SIGHUP.
func (s *Service) reload() {
	s.notifier.reloading()
	defer s.notifier.ready()
	if err := s.cfg.Reload(); err != nil {
		s.cfg.Log.Error().Err(err).Msg("cannot reload, keeping the previous state of what failed")
		return
	}
	s.cfg.Log.Info().Msg("reloaded")
}
