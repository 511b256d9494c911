package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// Paths of a Gateway.
const (
	EventsPath   = "/v1/events"
	MessagesPath = "/v1/messages"
)

// maxBody limits the message in a request, in bytes.
const maxBody = 1 << 20

// requestTimeout limits the time in which a request must arrive.
const requestTimeout = 10 * time.Second

// visitor is who sends a request.
type visitor struct {
	peer broker.Peer
}

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

// Serve accepts readers from l until ctx ends or the gateway is closed, and then closes l
// and returns nil. It returns an error if l fails. If config is non-nil, Serve uses TLS.
func (g *Gateway) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	l = g.gate.Listener(l)
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, config)
	}
	server := &http.Server{
		Handler: g, ReadHeaderTimeout: requestTimeout, IdleTimeout: requestTimeout, MaxHeaderBytes: 16 << 10,
		ErrorLog:    g.notices.Logger("http"),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	ctx, cancel := context.WithCancel(ctx)
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-ctx.Done():
		case <-g.done:
		}
		server.Close()
	})
	err := server.Serve(l)
	cancel()
	closing.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("gateway: accepting readers: %w", err)
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// ServeHTTP serves
//
//	GET  /v1/events         Server-Sent Events
//	POST /v1/messages       a message to publish, in the JSON of Zeek's WebSocket protocol
//	GET  /v1/messages/json  Zeek's WebSocket protocol
//
// The parameters of /v1/events are topic, a prefix of topics, and event, the name of an
// event or a pattern of path.Match. Both may be repeated, and without one, all match. The
// header Last-Event-ID, or the parameter last_id, has the ID of the last message that the
// reader knows. WebSocket clients may add the parameter event to the path.
//
// If messages are missing, because they are no longer in the ring or the reader was too
// slow, an event of the type "lost" precedes those that follow. Its data is an object with
// the number of lost messages of all topics, or null if that is not known.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, err error) {
		g.notices.Warn(http.StatusText(status)).Err(err).Int("status", status).Str("addr", r.RemoteAddr).Msg("reader refused")
		http.Error(w, err.Error(), status)
	}
	web := r.URL.Path == jsonv1.Path || r.Header.Get("Upgrade") != ""
	check := g.cfg.Hosts.CheckRead
	if web || r.Method != http.MethodGet {
		check = g.checkPage
	}
	if err := check(r); err != nil {
		refuse(http.StatusForbidden, err)
		return
	}
	peer, err := g.identify(r)
	if err != nil {
		refuse(http.StatusUnauthorized, err)
		return
	}
	if err := g.establish(r, peer); err != nil {
		refuse(http.StatusServiceUnavailable, err)
		return
	}
	switch {
	case web:
		g.web.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, visitor{peer})))
	case r.URL.Path == EventsPath && r.Method == http.MethodGet:
		g.stream(w, r, peer, refuse)
	case r.URL.Path == MessagesPath && r.Method == http.MethodPost:
		g.post(w, r, peer, refuse)
	case r.URL.Path == EventsPath || r.URL.Path == MessagesPath:
		refuse(http.StatusMethodNotAllowed, fmt.Errorf("%s %s is not supported", r.Method, r.URL.Path))
	default:
		refuse(http.StatusNotFound, fmt.Errorf("the paths are %s, %s and %s", EventsPath, MessagesPath, jsonv1.Path))
	}
}

// checkPage refuses requests of web pages of other hosts, which may send some without asking
// first.
func (g *Gateway) checkPage(r *http.Request) error { return g.cfg.Hosts.CheckUpgrade(r) }

// identify returns the peer that sends a request.
func (g *Gateway) identify(r *http.Request) (broker.Peer, error) {
	p := broker.Peer{ID: uuid.New()}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = a
	}
	if g.cfg.Authorize == nil {
		return p, nil
	}
	var err error
	if p.Identity, err = g.cfg.Authorize(r); err != nil {
		return p, err
	}
	p.Name = p.Identity.Name()
	return p, nil
}

// establish takes a place among the readers for the connection of a request.
func (g *Gateway) establish(r *http.Request, p broker.Peer) error {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	if conn == nil { // another server
		return nil
	}
	ticket := admission.TicketOf(conn)
	ticket.Touch()
	if err := ticket.Establish(p.Identity.Name()); err != nil {
		return errors.New("too many readers")
	}
	return nil
}

// post publishes the message in a request.
func (g *Gateway) post(w http.ResponseWriter, r *http.Request, by broker.Peer, refuse func(int, error)) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(requestTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(http.StatusRequestEntityTooLarge, err)
		return
	}
	_ = rc.SetReadDeadline(time.Time{})
	frame, err := jsonv1.Decode(body)
	data, ok := frame.(jsonv1.Data)
	switch {
	case err != nil:
		refuse(http.StatusBadRequest, err)
		return
	case !ok || data.Topic == "" || data.Topic == broker.ControlTopic:
		refuse(http.StatusBadRequest, errors.New("the body is not a message with a topic"))
		return
	}
	switch err := g.publish(r.Context(), by, broker.Message(data)); {
	case errors.Is(err, errMayNot):
		refuse(http.StatusForbidden, err)
	case err != nil:
		refuse(http.StatusBadGateway, err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// reader is a reader of Server-Sent Events.
type reader struct {
	gateway *Gateway
	peer    broker.Peer
	since   time.Time

	place
	resuming        bool // it has not got all messages of before it connected
	delivered, lost atomic.Uint64
}

// position returns the number of the message from which a request wants to continue, and
// false if it is not known which messages are missing.
func (g *Gateway) position(r *http.Request) (from uint64, known bool) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("last_id")
	}
	end := g.ring.end()
	if last == "" {
		return end, true
	}
	name, number, _ := strings.Cut(last, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || name != g.name || n >= end {
		return end, false
	}
	return n + 1, true
}

// stream sends the selected messages to a reader until it leaves.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, p broker.Peer, refuse func(int, error)) {
	s, err := selectionOf(r.URL.Query())
	if err != nil {
		refuse(http.StatusBadRequest, err)
		return
	}
	if len(s.topics) == 0 {
		s.topics = broker.NewFilter("")
	}
	if !g.mayRead(p) {
		refuse(http.StatusForbidden, errors.New("this reader may not read"))
		return
	}
	rd := &reader{gateway: g, peer: p, since: time.Now()}
	from, known := g.position(r)
	rd.begin(g.ring, s)
	defer g.ring.leave(rd.group)
	rd.resume(from)
	rd.resuming = from < g.ring.end()
	if !g.join(rd) {
		refuse(http.StatusServiceUnavailable, errors.New("the gateway is shutting down"))
		return
	}
	defer g.leave(rd)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not hold events back
	h.Set("X-Content-Type-Options", "nosniff")
	o := &output{w: w, control: http.NewResponseController(w), stall: g.cfg.Stall}
	first := ":\n\n"
	if !known {
		first = lostEvent("null")
	}
	if o.write([]byte(first)) != nil {
		return
	}
	err = rd.run(r.Context(), o)
	g.cfg.Log.Debug().Err(err).Stringer("addr", p.Addr).Str("name", p.Name).Msg("reader gone")
}

// lostEvent returns the event that says how many messages are missing.
func lostEvent(number string) string { return "event: lost\ndata: {\"messages\":" + number + "}\n\n" }

func (g *Gateway) join(rd *reader) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Add(1)
	g.readers[rd] = struct{}{}
	return true
}

func (g *Gateway) leave(rd *reader) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.readers, rd)
	g.running.Done()
}

// output writes to a reader.
type output struct {
	w       io.Writer
	control *http.ResponseController
	stall   time.Duration
}

func (o *output) write(text []byte) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(o.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(text); err != nil {
		return err
	}
	return o.control.Flush()
}

// scratch is the memory that a reader uses while it has messages to send.
type scratch struct {
	entries []*entry
	text    []byte
}

var scratches = sync.Pool{New: func() any { return &scratch{entries: make([]*entry, 0, batch), text: make([]byte, 0, maxWrite)} }}

// maxWrite limits a text of several messages that is written at once, in bytes. Each reader
// that does not read holds that much memory.
const maxWrite = 12 << 10

// Reasons for the end of a reader.
var (
	errClosing = errors.New("the gateway is shutting down")
	errSlow    = errors.New("the reader is too slow")
	errForget  = errors.New("the reader may no longer read")
)

// run sends messages until ctx ends, the reader is at fault, or the gateway is closed.
func (rd *reader) run(ctx context.Context, o *output) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changed, err := rd.sendAll(o)
		switch {
		case err != nil:
			return err
		case changed == nil:
			return errClosing
		}
		select {
		case <-changed:
		case <-beat.C:
			if err := o.write([]byte(":\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sendAll sends the messages that are there. Changed is closed when there are more, or is
// nil at the end.
func (rd *reader) sendAll(o *output) (changed <-chan struct{}, err error) {
	s := scratches.Get().(*scratch)
	defer func() {
		clear(s.entries[:cap(s.entries)])
		scratches.Put(s)
	}()
	for {
		changed, err = rd.sendBatch(o, s)
		if changed != nil || err != nil || len(s.entries) == 0 {
			return changed, err
		}
	}
}

func (rd *reader) sendBatch(o *output, s *scratch) (<-chan struct{}, error) {
	g := rd.gateway
	if !g.mayRead(rd.peer) {
		return nil, errForget
	}
	limit := g.cfg.ReaderQueue
	if rd.resuming {
		limit = 0
	}
	entries, lost, changed := rd.take(uint64(limit), s.entries[:0])
	s.entries = entries
	rd.resuming = rd.resuming && changed == nil
	if lost > 0 {
		rd.lost.Add(lost)
		g.lost.Add(lost)
		if g.cfg.Slow == broker.OverflowDisconnect {
			return nil, errSlow
		}
		if err := o.write([]byte(lostEvent(strconv.FormatUint(lost, 10)))); err != nil {
			return nil, err
		}
	}
	if err := o.sendEntries(s); err != nil {
		return nil, err
	}
	rd.delivered.Add(uint64(len(entries)))
	g.delivered.Add(uint64(len(entries)))
	return changed, nil
}

// sendEntries sends s.entries, several at once.
func (o *output) sendEntries(s *scratch) error {
	s.text = s.text[:0]
	flush := func() error {
		if len(s.text) == 0 {
			return nil
		}
		err := o.write(s.text)
		s.text = s.text[:0]
		return err
	}
	for _, e := range s.entries {
		if len(s.text)+len(e.text) > maxWrite {
			if err := flush(); err != nil {
				return err
			}
		}
		var err error
		if len(e.text) > maxWrite { // shared by all readers, not copied
			err = o.write(e.text)
		} else {
			s.text = append(s.text, e.text...)
		}
		if err != nil {
			return err
		}
	}
	return flush()
}
