package main

import (
	"context"
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/cmd/internal/service"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// operation holds the parts that all services have in common:
// metrics, health, security and reloads.
type operation struct {
	service    *service.Service
	registry   *prometheus.Registry
	transports *metrics.Transports
	security   *security.Layer
	memory     memoryPlan
	reloads    []func(fresh declared) error // called by a reload with the new settings, after the reload of security
	log        zerolog.Logger
	expiry     expiryWatch

	checkOnly bool // set by --check: do not run the service
	printOnly bool // set by --print-exposure: print the exposure instead of running
}

// run runs the service with work as its main function, after preflight. It does nothing
// if --check is given.
func (o *operation) run(ctx context.Context, preflight func(context.Context) error, work func(ctx context.Context, ending <-chan struct{}) error) error {
	if o.checkOnly {
		return nil
	}
	if err := preflight(ctx); err != nil {
		return err
	}
	for _, text := range shortcomings() {
		o.log.Warn().Msg(text)
	}
	return o.service.Run(ctx, work)
}

// logged writes the error with which a service failed to the log if that is for
// programs, and otherwise leaves it to the caller, so that it appears once.
func (o *operation) logged(s *serviceSettings, err error) error {
	if err == nil || s.logs.format != logJSON || errors.As(err, new(*misuse)) {
		return err
	}
	o.log.Error().Err(err).Msg("ended")
	return &clientcmd.ExitError{Code: exitError}
}

// warn logs the dangerous and contradictory settings in an exposure, unless the
// service is not to run.
func (o *operation) warn(e zeekapi.Exposure) {
	if o.checkOnly {
		return
	}
	for _, warning := range e.Warnings {
		o.log.Warn().Msg(warning)
	}
}

// newOperation returns the operation for the settings s. A reload calls load to
// read the settings again.
func newOperation(cmd *cobra.Command, s *serviceSettings, load func() (declared, error)) (*operation, error) {
	o := &operation{log: s.logs.logger(cmd.ErrOrStderr()), memory: planMemory(service.LimitMemory())}
	err := s.tls.Check()
	if err != nil {
		return nil, usageError(err)
	}
	if o.security, err = s.tls.Layer(); err != nil {
		return nil, err
	}
	o.registry = metrics.Registry(s.kind, version.String())
	o.transports = metrics.NewTransports(o.registry)
	o.service = service.New(service.Config{
		Listen:   s.metrics.at(s.defaultAddress),
		Metrics:  o.registry,
		Hosts:    admission.Hosts{More: s.hosts},
		Patience: s.patience,
		Log:      o.log,
		Reload: func() error {
			fresh, err := load()
			if err != nil {
				return err
			}
			return o.reload(s, fresh)
		},
	})
	return o, nil
}

// reload applies the changes that need no restart: the log level, allowed hosts and peers,
// certificate files and the file of clients. It reports the changed settings that need a
// restart as a warning.
func (o *operation) reload(s *serviceSettings, all declared) error {
	fresh := all.shared()
	s.logs.level = fresh.logs.level
	s.logs.apply()
	s.reloadedHosts.Store(&fresh.allowedHosts)
	if late := settings.NeedRestart(s.t, fresh.t); len(late) > 0 {
		o.log.Warn().Str("settings", strings.Join(late, ", ")).Msg("changed settings take effect after a restart")
	}
	errs := []error{o.security.Reload()}
	for _, reload := range o.reloads {
		errs = append(errs, reload(all))
	}
	return errors.Join(errs...)
}

// hooks returns the metrics hooks for a transport, nil if o is nil.
func (o *operation) hooks(transport string) any {
	if o == nil {
		return nil
	}
	return o.transports.Transport(transport)
}

// plan returns the memory plan, the zero one if o is nil.
func (o *operation) plan() memoryPlan {
	if o == nil {
		return memoryPlan{}
	}
	return o.memory
}

// peering returns the configuration that the native endpoints of all services share. The
// operation may be nil.
func (o *operation) peering(s *serviceSettings, layer *security.Layer, log zerolog.Logger) peering.Config {
	config := peering.Config{
		MaxIncomplete: s.incomingBytes(),
		RetryMin:      s.connectRetry,
		RetryMax:      10 * s.connectRetry,
		Hooks:         o.hooks(nativeTransport),
		TLS:           layer.Hook(),
		Log:           log,
	}
	o.plan().native(&config)
	return config
}

// watch adds the metrics of a native endpoint.
func (o *operation) watch(e *peering.Endpoint) {
	o.transports.WatchAdmission(nativeTransport, e.Admission)
	o.transports.Watch(nativeTransport, func() (peers, queued int) {
		for _, p := range e.Peers() {
			if p.State == peering.Peered {
				peers++
				queued += p.Queued
			}
		}
		return peers, queued
	})
}

// Names of the transports in metrics and logs.
const (
	nativeTransport    = "native"
	websocketTransport = "websocket"
	httpTransport      = "http"
)
