package connect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// HTTPError means that a server answers over HTTP, but refuses the client, or is not a
// controller with an HTTP API.
type HTTPError struct {
	Status int
	Detail string

	// StandsBy is non-nil if the controller stands by, and another one leads.
	StandsBy *zeekapi.NotLeader
}

// Error returns the detail, in the words of the server if it has said why.
func (e *HTTPError) Error() string { return e.Detail }

// maxHTTPResponse is the size of the largest response, in bytes.
const maxHTTPResponse = 1 << 30

// http connects to the HTTP API of a controller: it checks that there is one, and that it
// accepts the client.
func (d *dialer) http(ctx context.Context) (*Connection, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	scheme := "http"
	if d.TLS != nil {
		scheme = "https"
	}
	transport := &http.Transport{DialContext: d.line.dial, TLSClientConfig: d.TLS, MaxIdleConns: 4, IdleConnTimeout: time.Minute}
	b := &httpBus{
		address: d.Address, url: scheme + "://" + d.Address + zeekapi.APIPrefix, header: d.Header, transport: transport,
		dialects: append(slices.Clone(d.Dialects), operations.Dialect(operations.DefaultTopics)),
		inbox:    make(chan broker.Notification, 64),
	}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	if err := b.greet(ctx); err != nil {
		b.cancel(err)
		transport.CloseIdleConnections()
		return nil, err
	}
	b.deliver(broker.PeerAdded{Peer: broker.Peer{Dialed: true, Address: d.Address}})
	for _, dialect := range b.dialects {
		if events := dialect.Topics.Events; events != "" && slices.Contains(d.Topics, events) {
			b.running.Go(func() { b.follow(dialect) })
		}
	}
	found := Found{Transport: HTTP, Address: d.Address, TLS: kindOf(d.TLS), Dialect: d.Dialects[0]}
	return &Connection{Bus: b, Found: found, line: d.line}, nil
}

// httpBus is a bus whose only peer is a controller with an HTTP API. A published request
// becomes an HTTP request, and its response a message.
type httpBus struct {
	address   string
	url       string
	header    http.Header
	transport *http.Transport
	dialects  []*zeekapi.Dialect
	inbox     chan broker.Notification
	running   sync.WaitGroup
	ctx       context.Context // ends with Close
	cancel    context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
}

// deliver adds a notification for Next.
func (b *httpBus) deliver(n broker.Notification) {
	select {
	case b.inbox <- n:
	case <-b.ctx.Done():
	}
}

// Next implements broker.Bus.
func (b *httpBus) Next(ctx context.Context) (broker.Notification, error) {
	select {
	case n := <-b.inbox:
		return n, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.ctx.Done():
		return nil, context.Cause(b.ctx)
	}
}

// Close implements broker.Bus.
func (b *httpBus) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel(broker.ErrClosed)
	b.running.Wait()
	b.transport.CloseIdleConnections()
	return nil
}

// Publish makes a request of the controller. It returns before the response, which Next
// delivers. The request ends with ctx.
func (b *httpBus) Publish(ctx context.Context, topic string, v broker.Value) error {
	ev, err := broker.ParseEvent(v)
	if err != nil {
		return err
	}
	for _, d := range b.dialects {
		if d.Topics.Controller != topic {
			continue
		}
		msg, err := d.Decode(ev)
		if errors.Is(err, zeekapi.ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		request := zeekapi.ClientRequest(msg)
		if request == nil {
			break
		}
		return b.begin(ctx, d, request, msg)
	}
	return fmt.Errorf("connect: event %s is not a request that can be made over HTTP", ev.Name)
}

// begin makes a request in a goroutine of its own.
func (b *httpBus) begin(ctx context.Context, d *zeekapi.Dialect, request *zeekapi.Request, msg zeekapi.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	b.running.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(b.ctx, cancel)()
		results, err := b.do(ctx, request, msg)
		var refused *HTTPError
		switch {
		case errors.As(err, &refused):
			results = []zeekapi.Result{refused.result(msg.RequestID())}
		case err != nil && ctx.Err() != nil:
			return // the caller knows why
		case err != nil:
			b.deliver(broker.PeerLost{Peer: broker.Peer{Dialed: true}, Err: err})
			return
		}
		b.say(d, d.Topics.Controller, request.Respond(msg.RequestID(), results...))
	})
	return nil
}

// result returns the result of a request that was refused.
func (e *HTTPError) result(id string) zeekapi.Result {
	result := zeekapi.Failure(id, "%s", e.Detail)
	if e.StandsBy != nil {
		if data, err := record.Marshal(*e.StandsBy); err == nil {
			result.Data = data
		}
	}
	return result
}

// say delivers a message of the controller.
func (b *httpBus) say(d *zeekapi.Dialect, topic string, msg zeekapi.Message) {
	ev, err := d.Encode(msg)
	if err != nil {
		b.deliver(broker.PeerLost{Peer: broker.Peer{Dialed: true}, Err: err})
		return
	}
	b.deliver(broker.Received{Message: broker.Message{Topic: topic, Value: ev.Value()}})
}

// do makes a request and returns the results.
func (b *httpBus) do(ctx context.Context, request *zeekapi.Request, msg zeekapi.Message) ([]zeekapi.Result, error) {
	text, err := record.AppendJSON(nil, msg)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "reqid")
	if text, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	resp, err := b.send(ctx, http.MethodPost, "/requests/"+request.Name, text, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHTTPResponse))
	if err != nil {
		return nil, err
	}
	b.announce(request, msg.RequestID(), resp.Header)
	return resultsOf(request, msg.RequestID(), body)
}

// announce announces a response from a stored state, as controllers do over other transports.
func (b *httpBus) announce(request *zeekapi.Request, id string, header http.Header) {
	asOf, err := time.Parse(time.RFC3339, header.Get(zeekapi.AsOfHeader))
	if err != nil || !request.Announced() {
		return
	}
	d := b.dialects[len(b.dialects)-1] // of package operations
	b.say(d, d.Topics.Controller, zeekapi.StoredAnswer{ReqID: zeekapi.ReqID{ID: id}, Controller: b.address, AsOf: asOf})
}

// resultsOf returns the results in the body of a response.
func resultsOf(request *zeekapi.Request, id string, body []byte) ([]zeekapi.Result, error) {
	var list struct {
		Results []struct {
			Success               bool
			Instance, Node, Error string
			Data                  json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("connect: response to %s: %w", request.Name, err)
	}
	results := make([]zeekapi.Result, len(list.Results))
	for i, r := range list.Results {
		data, err := dataOf(request, r.Data)
		if err != nil {
			return nil, err
		}
		results[i] = zeekapi.Result{ReqID: id, Success: r.Success, Instance: r.Instance, Node: r.Node, Error: r.Error, Data: data}
	}
	return results, nil
}

// dataOf returns the value of the data of a result.
func dataOf(request *zeekapi.Request, text json.RawMessage) (broker.Value, error) {
	if len(text) == 0 || string(text) == "null" {
		return broker.None(), nil
	}
	if text[0] == '"' {
		var s string
		err := json.Unmarshal(text, &s)
		return broker.String(s), err
	}
	for _, t := range request.Data {
		if t.Kind() == reflect.String {
			continue
		}
		into := reflect.New(t)
		if err := record.ReadJSON(text, into.Interface()); err != nil {
			return broker.None(), fmt.Errorf("connect: response to %s: %w", request.Name, err)
		}
		return record.Marshal(into.Elem().Interface())
	}
	return broker.None(), fmt.Errorf("connect: response to %s has unexpected data", request.Name)
}

// send sends an HTTP request. It returns an *HTTPError if the server refuses it.
func (b *httpBus) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range b.header {
		req.Header[name] = values
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", applicationName)
	req.Header.Set("X-Application-Name", applicationName)
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusalOf(resp)
}

// maxProblem is the size of the largest problem document that is read, in bytes.
const maxProblem = 1 << 20

func refusalOf(resp *http.Response) error {
	var problem struct {
		Detail string
		Errors []struct{ Field, Value, Reason string }
		Leader *struct {
			Name, Clients, Agents, HTTP string
			Term                        uint64
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return &HTTPError{Status: resp.StatusCode, Detail: fmt.Sprintf("the server is no controller with an HTTP API: it answers %s", resp.Status)}
	}
	for _, e := range problem.Errors {
		problem.Detail += fmt.Sprintf("; %s: %s", e.Field, e.Reason)
	}
	refused := &HTTPError{Status: resp.StatusCode, Detail: problem.Detail}
	if m := problem.Leader; m != nil {
		leader := zeekapi.ControllerMember{Name: m.Name, Clients: m.Clients, Agents: m.Agents, HTTP: m.HTTP, Leads: true}
		refused.StandsBy = &zeekapi.NotLeader{Leader: leader, Term: m.Term}
	}
	return refused
}

// greet checks that the server is a controller that accepts the client.
func (b *httpBus) greet(ctx context.Context) error {
	resp, err := b.send(ctx, http.MethodGet, "/session", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var session struct{ Name, Role string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return err
	}
	if json.Unmarshal(body, &session) != nil || session.Role == "" {
		return &HTTPError{Status: resp.StatusCode, Detail: "the server is no controller with an HTTP API"}
	}
	return nil
}

// followPause is the time between two attempts to follow the events.
const followPause = time.Second

// follow delivers the events of the controller until the bus is closed. It resumes a stream
// that has ended, and gives up if the controller cannot be reached any more.
func (b *httpBus) follow(d *zeekapi.Dialect) {
	last, began := "", false
	for b.ctx.Err() == nil {
		err := b.stream(d, &last, &began)
		if b.ctx.Err() != nil {
			return
		}
		var refused *HTTPError
		if began && errors.As(err, &refused) && refused.StandsBy != nil { // it led before
			b.deliver(broker.PeerLost{Peer: broker.Peer{Dialed: true}, Err: err})
			return
		}
		select {
		case <-time.After(followPause):
		case <-b.ctx.Done():
			return
		}
		if err != nil && b.greet(b.ctx) != nil && b.ctx.Err() == nil {
			b.deliver(broker.PeerLost{Peer: broker.Peer{Dialed: true}, Err: err})
			return
		}
	}
}

// maxEvent is the length of the longest line of a stream, in bytes.
const maxEvent = 1 << 20

// stream delivers the events of one stream, and sets last to the ID of each, and began when
// the server accepts the stream.
func (b *httpBus) stream(d *zeekapi.Dialect, last *string, began *bool) error {
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	resp, err := b.send(b.ctx, http.MethodGet, "/events", nil, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	*began = true
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	var id, kind string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			if kind != "event" {
				continue
			}
			var e zeekapi.ClusterEvent
			if err := record.ReadJSON([]byte(value), &e); err != nil {
				return err
			}
			if id == strconv.FormatUint(e.Number, 10) {
				*last = id
			}
			b.say(d, d.Topics.Events, zeekapi.EventReport{Event: e})
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
