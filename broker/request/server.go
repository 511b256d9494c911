package request

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/settings"
)

// DefaultConcurrency is the default of Config.Concurrency.
const DefaultConcurrency = 16

// Config configures a Server. The zero Config is valid.
type Config struct {
	// Concurrency limits the handlers that run concurrently. Further requests
	// wait in the receive queue of the bus. Zero means DefaultConcurrency, a
	// negative value is an error of NewServer.
	Concurrency int

	// Report, if non-nil, is called for each request without a response: a
	// malformed request, one whose handler failed, or one whose response could
	// not be published. It may be called concurrently.
	Report func(broker.Received, error)
}

// ErrMalformed is wrapped by the errors passed to Config.Report for malformed
// requests.
var ErrMalformed = errors.New("malformed request")

// Server answers requests received from a bus.
type Server struct {
	bus      broker.Bus
	cfg      Config
	handlers map[route]func(context.Context, broker.Event) error
}

type route struct{ topic, event string }

// NewServer returns a Server without handlers that reads requests from bus, which
// must subscribe to their topics. It returns an error if cfg is invalid. The
// caller keeps ownership of the bus.
func NewServer(bus broker.Bus, cfg Config) (*Server, error) {
	if err := settings.Default("request: Concurrency", &cfg.Concurrency, DefaultConcurrency); err != nil {
		return nil, err
	}
	if cfg.Report == nil {
		cfg.Report = func(broker.Received, error) {}
	}
	return &Server{bus: bus, cfg: cfg, handlers: make(map[route]func(context.Context, broker.Event) error)}, nil
}

// Handle registers h as the handler of the requests of p. It must be called before
// Serve, and panics if p already has a handler. h may be called concurrently. Its
// context ends when Serve's does. If h returns an error, the request gets no
// response and the error is passed to Config.Report.
func Handle[Q, A any](s *Server, p Pair[Q, A], h func(context.Context, Q) (A, error)) {
	r := route{p.Topic, p.Request}
	if s.handlers[r] != nil {
		panic("request: two handlers for " + p.Request + " on " + p.Topic)
	}
	s.handlers[r] = func(ctx context.Context, ev broker.Event) error {
		id, ok := requestID(ev)
		if !ok {
			return fmt.Errorf("request: %w: event %s does not begin with an ID", ErrMalformed, ev.Name)
		}
		var q Q
		if err := decode(ev, &q); err != nil {
			return fmt.Errorf("request: %w: %w", ErrMalformed, err)
		}
		a, err := h(ctx, q)
		if err != nil {
			return fmt.Errorf("request: %s: %w", p.Request, err)
		}
		response, err := encode(p.Response, id, a)
		if err != nil {
			return err
		}
		return broker.PublishEvent(ctx, s.bus, p.replyTopic(), response)
	}
}

// Serve answers requests until ctx ends, and then returns nil, or until the bus
// is closed, and then returns an error that wraps broker.ErrClosed. It waits for
// running handlers. It returns a *broker.NotSubscribedError at once if the bus is
// known not to subscribe to the topic of a handler.
func (s *Server) Serve(parent context.Context) error {
	for r := range s.handlers {
		if err := broker.CheckSubscribed(s.bus, r.topic); err != nil {
			return fmt.Errorf("request: cannot serve %s: %w", r.event, err)
		}
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	running := make(chan struct{}, s.cfg.Concurrency)
	for {
		notification, err := s.bus.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("request: %w", err)
		}
		received, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			continue
		}
		handle := s.handlers[route{received.Message.Topic, ev.Name}]
		if handle == nil {
			continue
		}
		select {
		case running <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		handlers.Go(func() {
			defer func() { <-running }()
			if err := handle(ctx, ev); err != nil {
				s.cfg.Report(received, err)
			}
		})
	}
}
