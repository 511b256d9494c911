// Package service is what a service owes the system that it runs on: it tells
// systemd and whoever asks over HTTP how it is, reloads on SIGHUP, and ends in
// good order. It knows nothing of what the service does.
package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// BeatInterval is how often a service must prove that its work goes on, unless
// systemd wants to hear of it more often; one that has not for StuckAfter is
// stuck.
const (
	BeatInterval = 5 * time.Second
	StuckAfter   = 6 * BeatInterval
)

// Config says what a Service does besides its work.
type Config struct {
	// Listen is where to answer HTTP requests, "" for nowhere; Metrics is what
	// there is to see.
	Listen  string
	Metrics prometheus.Gatherer

	// Patience is how long the work may take to end in good order.
	Patience time.Duration

	// Reload takes new settings, certificates and the like. What fails
	// must be as before.
	Reload func() error

	Log zerolog.Logger
}

// Service is a service that runs.
type Service struct {
	Health *Health

	cfg      Config
	notifier *notifier

	// These are Beat's.
	beat time.Time // when systemd last heard of it
	now  func() time.Time
}

// New returns a service that is not ready.
func New(cfg Config) *Service {
	return &Service{Health: NewHealth(), cfg: cfg, notifier: newNotifier(cfg.Log), now: time.Now}
}

// BeatInterval returns how often Beat must be called.
func (s *Service) BeatInterval() time.Duration { return s.notifier.interval() }

// Beat says that the service's work goes on, and in a few words how it is. The
// goroutine that does the work must call it, or it would prove nothing.
func (s *Service) Beat(status func() string) {
	s.Health.Beat()
	if now := s.now(); now.Sub(s.beat) >= s.notifier.interval() {
		s.beat = now
		s.notifier.alive()
		s.notifier.tell(status())
	}
}

// Ready says that the service serves.
func (s *Service) Ready() {
	s.Health.Set(starting, "")
	s.notifier.ready()
}

// Run runs the work until it ends. When ctx ends, what is closed as ending asks
// the work to end in good order, and when it has not by the time of
// Config.Patience, the work's context ends, too.
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
		s.Health.Set("ending", "the service is about to end")
		s.notifier.stopping()
		s.cfg.Log.Info().Stringer("patience", s.cfg.Patience).Msg("ending")
		close(ending)
		patience := time.NewTimer(s.cfg.Patience)
		defer patience.Stop()
		select {
		case <-patience.C:
			s.cfg.Log.Warn().Msg("what is under way takes too long, ending without it")
			cancel(errImpatient)
		case <-ended:
		}
	})
	err = work(workCtx, ending)
	close(ended)
	helpers.Wait()
	level := zerolog.InfoLevel
	if err != nil {
		level = zerolog.ErrorLevel
	}
	s.cfg.Log.WithLevel(level).Err(err).Msg("ended")
	return err
}

var errImpatient = errors.New("service: no more patience")

// serveHTTP begins to answer HTTP requests. Stop ends that and waits for it.
func (s *Service) serveHTTP(ctx context.Context) (stop func(), err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for metrics (--metrics-listen): %w", err)
	}
	s.cfg.Log.Info().Stringer("address", l.Addr()).Msg("metrics and health over HTTP")
	ctx, cancel := context.WithCancel(ctx)
	var server sync.WaitGroup
	server.Go(func() {
		if err := serveHTTP(ctx, l, handler(s.Health, s.cfg.Metrics)); err != nil {
			s.cfg.Log.Error().Err(err).Msg("cannot answer HTTP requests any more")
		}
	})
	return func() { cancel(); server.Wait() }, nil
}

// reload does what SIGHUP asks for.
func (s *Service) reload() {
	s.notifier.reloading()
	defer s.notifier.ready()
	if err := s.cfg.Reload(); err != nil {
		s.cfg.Log.Error().Err(err).Msg("cannot reload, what failed is as before")
		return
	}
	s.cfg.Log.Info().Msg("reloaded")
}
