package request_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type query struct {
	N    uint64   `zeek:"n"`
	Tags []string `zeek:"tags,set"`
}

type result struct {
	Square uint64 `zeek:"square"`
	Note   string `zeek:"note,optional"`
}

var square = request.Pair[query, result]{
	Request: "Square::request", Response: "Square::response",
	Topic: "/square/requests", ReplyTopic: "/square/responses",
}

func answer(_ context.Context, q query) (result, error) { return result{Square: q.N * q.N}, nil }

// serve runs a server of square on an endpoint of hub until the test ends.
func serve(t *testing.T, hub *membus.Hub, cfg request.Config, h func(context.Context, query) (result, error)) {
	bus := hub.Endpoint(square.Topic)
	s, err := request.NewServer(bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	request.Handle(s, square, h)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
		bus.Close()
	})
}

func newRequester(t *testing.T, hub *membus.Hub) *request.Requester {
	r := request.NewRequester(hub.Endpoint(square.ReplyTopic))
	t.Cleanup(func() { r.Close() })
	return r
}

func TestCall(t *testing.T) {
	hub := membus.New()
	serve(t, hub, request.Config{}, answer)
	r := newRequester(t, hub)
	var all sync.WaitGroup
	for n := range uint64(100) {
		all.Go(func() {
			got, err := request.Call(t.Context(), r, square, query{N: n})
			if err != nil || got.Square != n*n {
				t.Errorf("square of %d: got %v, error %v", n, got, err)
			}
		})
	}
	all.Wait()
	if got := r.Stats(); got != (request.Stats{}) {
		t.Errorf("stats %+v", got)
	}
}

// responder runs a server whose responses the test publishes.
func responder(t *testing.T, hub *membus.Hub, answer func(bus broker.Bus, id string)) {
	bus := hub.Endpoint(square.Topic)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			n, err := bus.Next(context.Background())
			if err != nil {
				return
			}
			if r, ok := n.(broker.Received); ok {
				ev, err := broker.ParseEvent(r.Message.Value)
				if err != nil {
					t.Error(err)
					continue
				}
				id, _ := ev.Args[0].Text()
				answer(bus, id)
			}
		}
	})
	t.Cleanup(func() { bus.Close(); done.Wait() })
}

func publish(t *testing.T, bus broker.Bus, v broker.Value) {
	if err := bus.Publish(context.Background(), square.ReplyTopic, v); err != nil {
		t.Error(err)
	}
}

func response(id string, n uint64) broker.Value {
	return broker.NewEvent(square.Response, broker.String(id), broker.Count(n), broker.None()).Value()
}

// TestOtherMessagesAreIgnored publishes other messages before the response,
// then the response twice, and later a response after the timeout.
func TestOtherMessagesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.New()
		first := true
		responder(t, hub, func(bus broker.Bus, id string) {
			if !first {
				time.Sleep(2 * time.Second)
				publish(t, bus, response(id, 4))
				return
			}
			first = false
			publish(t, bus, response("another request's", 1))
			publish(t, bus, broker.NewEvent("Other::event", broker.String(id)).Value())
			publish(t, bus, broker.NewEvent("Other::event").Value())
			publish(t, bus, broker.NewEvent("Other::event", broker.Count(1)).Value())
			publish(t, bus, broker.String("no event"))
			publish(t, bus, response(id, 2))
			publish(t, bus, response(id, 3))
		})
		r := newRequester(t, hub)
		if got, err := request.Call(t.Context(), r, square, query{}); err != nil || got.Square != 2 {
			t.Errorf("got %v, error %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := request.Call(ctx, r, square, query{})
		var missing *request.NoResponseError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &missing) || missing.Event != square.Request {
			t.Errorf("error %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, want := r.Stats(), (request.Stats{Stale: 2, Foreign: 4, Malformed: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
}

func TestMalformedResponse(t *testing.T) {
	hub := membus.New()
	responder(t, hub, func(bus broker.Bus, id string) {
		publish(t, bus, broker.NewEvent(square.Response, broker.String(id), broker.String("4")).Value())
	})
	_, err := request.Call(t.Context(), newRequester(t, hub), square, query{})
	var mapping *record.Error
	if !errors.As(err, &mapping) || !strings.HasPrefix(err.Error(), "request: no response to Square::request: event Square::response") {
		t.Errorf("error %v", err)
	}
}

// TestCallWithoutPeer checks that a call does not wait for its context when all
// peers are gone, and that it waits for a response again when a peer comes.
func TestCallWithoutPeer(t *testing.T) {
	hub := membus.New()
	r := request.NewRequester(hub.Endpoint(square.ReplyTopic))
	t.Cleanup(func() { r.Close() })
	serve := func() (stop func()) {
		bus := hub.Endpoint(square.Topic)
		s, err := request.NewServer(bus, request.Config{})
		if err != nil {
			t.Fatal(err)
		}
		request.Handle(s, square, func(_ context.Context, q query) (result, error) { return result{}, nil })
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(t.Context()) }()
		return func() {
			bus.Close()
			<-ended
		}
	}
	stop := serve()
	if _, err := request.Call(t.Context(), r, square, query{}); err != nil {
		t.Fatal(err)
	}
	stop()
	for range 100 { // the first call may start before the loss is known
		if _, err := request.Call(t.Context(), r, square, query{}); !errors.Is(err, request.ErrDisconnected) {
			t.Fatalf("without a peer: %v", err)
		}
	}
	t.Cleanup(serve())
	for {
		_, err := request.Call(t.Context(), r, square, query{})
		if err == nil {
			break
		}
		if !errors.Is(err, request.ErrDisconnected) {
			t.Fatalf("with a new peer: %v", err)
		}
	}
}

func TestDisconnected(t *testing.T) {
	hub := membus.New()
	responder(t, hub, func(bus broker.Bus, id string) { bus.Close() })
	r := newRequester(t, hub)
	if _, err := request.Call(t.Context(), r, square, query{}); !errors.Is(err, request.ErrDisconnected) {
		t.Errorf("error %v", err)
	}
	r.Close()
	if _, err := request.Call(t.Context(), r, square, query{}); !errors.Is(err, request.ErrDisconnected) || !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
}

func TestComplain(t *testing.T) {
	complaint := errors.New("no such event")
	hub := membus.New()
	r := newRequester(t, hub)
	responder(t, hub, func(broker.Bus, string) { r.Complain(complaint) })
	if _, err := request.Call(t.Context(), r, square, query{}); !errors.Is(err, complaint) {
		t.Errorf("error %v", err)
	}
}

func TestCallRejectsNonStruct(t *testing.T) {
	hub := membus.New()
	r := newRequester(t, hub)
	p := request.Pair[uint64, result]{Request: "a", Response: "b", Topic: "/t"}
	if _, err := request.Call(t.Context(), r, p, 1); err == nil || !strings.Contains(err.Error(), "must be a struct, not uint64") {
		t.Errorf("error %v", err)
	}
}

// TestMalformedRequests checks that malformed requests are reported, and that
// other requests are still answered.
func TestMalformedRequests(t *testing.T) {
	hub := membus.New()
	var mu sync.Mutex
	var reported []string
	failure := errors.New("no squares today")
	report := func(_ broker.Received, err error) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, fmt.Sprint(errors.Is(err, request.ErrMalformed), " ", err))
	}
	// With one handler at a time, the answer comes after the reports.
	serve(t, hub, request.Config{Concurrency: 1, Report: report}, func(ctx context.Context, q query) (result, error) {
		if q.N == 13 {
			return result{}, failure
		}
		return answer(ctx, q)
	})
	bus := hub.Endpoint()
	defer bus.Close()
	for _, v := range []broker.Value{
		broker.String("no event"),
		broker.NewEvent("Other::event").Value(),
		broker.NewEvent(square.Request).Value(),
		broker.NewEvent(square.Request, broker.Count(1)).Value(),
		broker.NewEvent(square.Request, broker.String("id")).Value(),
		broker.NewEvent(square.Request, broker.String("id"), broker.Integer(3), broker.Set()).Value(),
		broker.NewEvent(square.Request, broker.String("id"), broker.Count(13), broker.Set()).Value(),
	} {
		if err := bus.Publish(t.Context(), square.Topic, v); err != nil {
			t.Fatal(err)
		}
	}
	r := newRequester(t, hub)
	if got, err := request.Call(t.Context(), r, square, query{N: 3}); err != nil || got.Square != 9 {
		t.Errorf("got %v, error %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"true request: malformed request: event Square::request does not begin with an ID",
		"true request: malformed request: event Square::request does not begin with an ID",
		"true request: malformed request: event Square::request: record: want a record of 2 fields, got 0",
		"true request: malformed request: event Square::request: record: n: want count, got integer",
		"false request: Square::request: no squares today",
	}
	if !slices.Equal(reported, want) {
		t.Errorf("reported\n%s\nwant\n%s", strings.Join(reported, "\n"), strings.Join(want, "\n"))
	}
}

// TestConcurrency checks that the number of concurrent handlers reaches its
// limit, and does not exceed it.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, calls = 3, 10
		hub := membus.New()
		var mu sync.Mutex
		running, most := 0, 0
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			running += by
			most = max(most, running)
		}
		serve(t, hub, request.Config{Concurrency: places}, func(ctx context.Context, q query) (result, error) {
			count(1)
			defer count(-1)
			time.Sleep(time.Second)
			return answer(ctx, q)
		})
		r := newRequester(t, hub)
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if _, err := request.Call(t.Context(), r, square, query{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most != places {
			t.Errorf("%d handlers at once, want %d", most, places)
		}
	})
}

// TestServeEnds ends Serve by its context, and by its bus, while a handler is
// running.
func TestServeEnds(t *testing.T) {
	for name, end := range map[string]func(context.CancelFunc, broker.Bus){
		"context": func(cancel context.CancelFunc, _ broker.Bus) { cancel() },
		"bus":     func(_ context.CancelFunc, bus broker.Bus) { bus.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			hub := membus.New()
			bus, client := hub.Endpoint(square.Topic), hub.Endpoint()
			defer client.Close()
			defer bus.Close()
			s, err := request.NewServer(bus, request.Config{})
			if err != nil {
				t.Fatal(err)
			}
			entered := make(chan struct{})
			request.Handle(s, square, func(ctx context.Context, _ query) (result, error) {
				close(entered)
				<-ctx.Done()
				return result{}, ctx.Err()
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { ended <- s.Serve(ctx) }()
			ev := broker.NewEvent(square.Request, broker.String("id"), broker.Count(1), broker.Set())
			if err := broker.PublishEvent(t.Context(), client, square.Topic, ev); err != nil {
				t.Fatal(err)
			}
			<-entered
			end(cancel, bus)
			err = <-ended
			if name == "context" && err != nil || name == "bus" && !errors.Is(err, broker.ErrClosed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestHandleRejectsSecondHandler(t *testing.T) {
	bus := membus.New().Endpoint()
	defer bus.Close()
	s, err := request.NewServer(bus, request.Config{})
	if err != nil {
		t.Fatal(err)
	}
	request.Handle(s, square, answer)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	request.Handle(s, square, answer)
}

// A missing subscription is reported at once, with its topic.
func TestMissingSubscription(t *testing.T) {
	hub := membus.New()
	serve(t, hub, request.Config{}, answer)
	r := request.NewRequester(hub.Endpoint("/other"))
	defer r.Close()
	_, err := request.Call(t.Context(), r, square, query{})
	var missing *broker.NotSubscribedError
	if !errors.As(err, &missing) || missing.Topic != square.ReplyTopic ||
		!strings.Contains(err.Error(), `does not subscribe to topic "/square/responses", only to ["/other"]`) {
		t.Errorf("Call: error %v", err)
	}

	bus := hub.Endpoint()
	defer bus.Close()
	s, err := request.NewServer(bus, request.Config{})
	if err != nil {
		t.Fatal(err)
	}
	request.Handle(s, square, answer)
	if err := s.Serve(t.Context()); !errors.As(err, &missing) || missing.Topic != square.Topic {
		t.Errorf("Serve: error %v", err)
	}
}

func TestNewServerRejectsNegativeConcurrency(t *testing.T) {
	bus := membus.New().Endpoint()
	defer bus.Close()
	if _, err := request.NewServer(bus, request.Config{Concurrency: -1}); err == nil {
		t.Error("no error")
	}
}
