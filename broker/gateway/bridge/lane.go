package bridge

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// laneKey identifies a lane: all its messages have this subject and come from this Zeek, or
// from readers if zeek is empty.
type laneKey struct{ subject, zeek string }

// lane has the messages of a topic and a Zeek that are not confirmed yet. It exists while
// there are any.
type lane struct {
	bridge *Bridge
	laneKey
	entries []entry // guarded by Bridge.mu
}

// entry is a message in the queue.
type entry struct {
	id   string
	line []byte
}

// bytes returns the approximate memory of a message in the queue.
func (e *entry) bytes() int { return len(e.line) + len(e.id) + entryBytes }

// entryBytes is about the memory of a message besides its text.
const entryBytes = 64

// Limits of a message in NATS.
const (
	maxLines = 256
	maxBytes = 128 << 10 // of more than one line
)

// run sends the messages in order until there are none, or the bridge ends.
func (l *lane) run() {
	b := l.bridge
	select {
	case <-b.connected:
	case <-b.stop.Done():
		return
	}
	for lines := maxLines; ; {
		msg, n := l.next(lines)
		if n == 0 {
			return
		}
		switch err := l.send(msg, n); {
		case err == nil:
			l.done(n, &b.stats.Published)
			lines = maxLines
		case errors.Is(err, ErrTooLarge) && n > 1:
			lines = 1 // one of them may be, or the stream accepts less than the server
		case errors.Is(err, ErrTooLarge):
			l.done(1, &b.stats.TooLarge)
			b.notices.Warn("large").Str("subject", l.subject).Int("bytes", len(msg.Data)).Msg("the message is larger than NATS accepts, and dropped")
		default: // the bridge ends
			return
		}
	}
}

// next returns a message for the first messages of the queue, and their number. If there are
// none, it ends the lane.
func (l *lane) next(lines int) (msg *nats.Msg, n int) {
	b := l.bridge
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.entries) == 0 {
		delete(b.lanes, l.laneKey)
		return nil, 0
	}
	msg = nats.NewMsg(l.subject)
	msg.Header.Set(jetstream.MsgIDHeader, l.entries[0].id)
	msg.Header.Set(headerGateway, b.cfg.Gateway)
	if l.zeek != "" {
		msg.Header.Set(headerZeek, url.PathEscape(l.zeek))
	}
	for _, e := range l.entries[:min(lines, len(l.entries))] {
		if n > 0 {
			if len(msg.Data)+len(e.line) > maxBytes {
				break
			}
			msg.Data = append(msg.Data, '\n')
		}
		msg.Data = append(msg.Data, e.line...)
		n++
	}
	return msg, n
}

// done removes the first messages, and counts them.
func (l *lane) done(n int, counter *uint64) {
	b := l.bridge
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range l.entries[:n] {
		b.stats.WaitingBytes -= l.entries[i].bytes()
		l.entries[i] = entry{}
	}
	b.stats.Waiting -= n
	l.entries = l.entries[n:]
	*counter += uint64(n)
}

// send sends a message until it is confirmed. Other errors than ErrTooLarge mean that the
// bridge ends.
func (l *lane) send(msg *nats.Msg, n int) error {
	b := l.bridge
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := l.try(msg)
		if err == nil || errors.Is(err, ErrTooLarge) || b.stop.Err() != nil {
			return err
		}
		b.notices.Warn("unconfirmed").Err(err).Str("subject", l.subject).Msg("NATS has not confirmed a message, it is sent again")
		b.mu.Lock()
		b.stats.Repeated += uint64(n)
		b.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-b.stop.Done():
			return err
		}
	}
}

// try sends a message once, and waits for the confirmation.
func (l *lane) try(msg *nats.Msg) error {
	b := l.bridge
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	case <-b.stop.Done():
		return context.Cause(b.stop)
	}
	ctx, cancel := context.WithTimeout(b.stop, confirmTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(b.cfg.Stream), jetstream.WithRetryAttempts(0))
	switch {
	case errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return ErrTooLarge
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		if _, createErr := b.ensure(ctx); createErr != nil {
			return createErr
		}
	}
	return err
}
