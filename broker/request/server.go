package request

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// DefaultConcurrency is how many handlers run at once unless Config says
// otherwise.
const DefaultConcurrency = 16

// Config says how a Server works. All of it is optional.
type Config struct {
	// Concurrency is how many handlers may run at once. Further requests wait
	// in the queue of the bus, whose policy says what happens when it is full.
	Concurrency int

	// Report is told of requests that got no response: those that make no
	// sense, those whose handlers failed, and those whose response could not be
	// published. Calls come from several goroutines.
	Report func(broker.Received, error)
}

// ErrMalformed is wrapped by what Report is told of requests that make no
// sense.
var ErrMalformed = errors.New("malformed request")

// Server answers the requests that a bus brings.
type Server struct {
	bus      broker.Bus
	cfg      Config
	handlers map[route]func(context.Context, broker.Event) error
}

type route struct{ topic, event string }

// NewServer returns a Server without handlers for a bus that receives the
// topics of the requests. Closing the bus is left to the caller.
func NewServer(bus broker.Bus, cfg Config) *Server {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Report == nil {
		cfg.Report = func(broker.Received, error) {}
	}
	return &Server{bus: bus, cfg: cfg, handlers: make(map[route]func(context.Context, broker.Event) error)}
}

// Handle makes h answer the requests of p; it comes before Serve. An error of h
// leaves the request without a response. The context of h ends with Serve's. It
// panics if p already has a handler.
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
		return s.bus.Publish(ctx, p.replyTopic(), response.Value())
	}
}

// Serve answers requests until ctx ends, which is no error, or until the bus
// does. It waits for the handlers that run.
func (s *Server) Serve(parent context.Context) error {
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
