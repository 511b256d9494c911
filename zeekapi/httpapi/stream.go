package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
)

// Times of a stream over HTTP.
const (
	streamBeat  = 15 * time.Second // between two messages, at the most
	streamWrite = 10 * time.Second // that a client may take to read a message
)

// streamType is the media type of Server-Sent Events.
const streamType = "text/event-stream"

// wantsStream reports whether a client accepts Server-Sent Events.
func wantsStream(r *http.Request) bool {
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if kind, _, _ := strings.Cut(strings.TrimSpace(item), ";"); kind == streamType {
			return true
		}
	}
	return false
}

// serveStream serves the updates of the cluster as Server-Sent Events.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	after, err := lastID(r)
	if err == nil {
		err = s.posts.leads(r.Context()) // the events of a controller that stands by may come late, or never
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	stream, err := s.Follow(r.Context(), PrincipalOf(r.Context()), after)
	switch {
	case errors.Is(err, ErrStreams):
		w.Header().Set("Retry-After", "10")
		s.refuse(w, r, problem(http.StatusTooManyRequests, err.Error()))
		return
	case err != nil:
		s.refuse(w, r, err)
		return
	}
	defer stream.Close()
	PrincipalOf(r.Context()).release()
	s.Leave(r) // a stream has a limit of its own
	if err := s.copyStream(r.Context(), stream, NewEventWriter(w)); errors.Is(err, ErrSlow) {
		exchangeOf(r.Context()).Slow = true
	}
}

// gather is the time for which updates are gathered, so that many in a short time are written
// together.
const gather = 100 * time.Millisecond

// Limits of what is written together.
const (
	maxGathered = 64 << 10 // bytes, about
	batch       = 32       // updates that are taken at once
)

// texts is a pool of buffers, shared by all streams, for updates that are written together.
var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// copyStream writes the updates of a stream until either of both ends, and returns the
// reason. ErrSlow means that the client does not read the stream in time.
func (s *Server) copyStream(ctx context.Context, stream *Stream, out *EventWriter) error {
	for {
		if err := s.copyUpdates(ctx, stream, out); err != nil {
			return err
		}
	}
}

// copyUpdates waits for the next update of a stream, and writes it with those that follow
// within a short time.
func (s *Server) copyUpdates(ctx context.Context, stream *Stream, out *EventWriter) error {
	var updates []Update
	first, err := nextUpdate(ctx, stream)
	if err == nil {
		updates = []Update{first}
		select {
		case <-time.After(gather):
		case <-ctx.Done():
		}
	}
	text := texts.Get().(*bytes.Buffer)
	defer texts.Put(text)
	text.Reset()
	for {
		for _, u := range updates {
			event, err := u.event()
			if err != nil {
				return err
			}
			text.Write(event)
		}
		if err != nil || len(updates) == 0 || text.Len() > maxGathered {
			break
		}
		updates, _, err = stream.take(batch)
	}
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		text.WriteString(": \n\n")
		err = nil
	case errors.Is(err, ErrSlow), errors.Is(err, ErrRevoked), errors.Is(err, ErrStandsBy):
		text.Write(eventText("", "end", []byte(strconv.Quote(err.Error()))))
	}
	return cmp.Or(err, out.flush(text.Bytes()))
}

func nextUpdate(ctx context.Context, s *Stream) (Update, error) {
	ctx, cancel := context.WithTimeout(ctx, streamBeat)
	defer cancel()
	return s.Next(ctx)
}

// lastID returns the number of the last event that a client has, from the header
// Last-Event-ID or the parameter after. It is nil if the client has none.
func lastID(r *http.Request) (*uint64, error) {
	field, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "after", r.URL.Query().Get("after")
	}
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "the request is invalid",
			ProblemPart{Field: field, Value: clipped(text), Reason: "want the number of an event"})
	}
	return &n, nil
}

// EventWriter writes Server-Sent Events. A client that does not read an event within 10 s
// is disconnected. Its methods must not be called concurrently.
type EventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// NewEventWriter begins a response with Server-Sent Events.
func NewEventWriter(w http.ResponseWriter) *EventWriter {
	h := w.Header()
	h.Set("Content-Type", streamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // of proxies
	e := &EventWriter{w, http.NewResponseController(w)}
	_ = e.control.SetReadDeadline(time.Time{}) // there is nothing more to read
	w.WriteHeader(http.StatusOK)
	return e
}

// Write writes an event. An empty ID leaves the last ID of the client alone.
func (e *EventWriter) Write(id, kind string, data []byte) error {
	return e.flush(eventText(id, kind, data))
}

// eventText returns the text of an event.
func eventText(id, kind string, data []byte) []byte {
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "event: %s\n", kind)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		fmt.Fprintf(&b, "data: %s\n", strings.ReplaceAll(line, "\r", ""))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func (e *EventWriter) flush(text []byte) error {
	_ = e.control.SetWriteDeadline(time.Now().Add(streamWrite)) // not all connections have deadlines
	if _, err := e.w.Write(text); err != nil {
		return err
	}
	return e.control.Flush()
}

// event returns an update as Server-Sent Event, which streams share.
func (u Update) event() ([]byte, error) {
	if u.text != nil {
		return u.text()
	}
	return eventOf(u)
}

// eventOf returns an update as Server-Sent Event.
func eventOf(u Update) ([]byte, error) {
	id, kind, v := "", "", any(nil)
	switch {
	case u.Event != nil:
		id, kind, v = strconv.FormatUint(u.ID, 10), "event", *u.Event
	case u.Job != nil:
		view, err := viewOf(*u.Job)
		if err != nil {
			return nil, err
		}
		kind, v = "job", view
	case u.Summary != nil:
		kind, v = "summary", *u.Summary
	case u.Gap != nil:
		kind, v = "gap", *u.Gap
	}
	data, err := record.AppendJSON(nil, v)
	if err != nil {
		return nil, err
	}
	return eventText(id, kind, data), nil
}
