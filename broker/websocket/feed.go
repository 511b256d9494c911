package websocket

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
)

// Feed has the messages for one client, in place of Server.Publish. With it, the texts that
// wait for clients are shared: a client costs no more memory when it is behind. The server
// calls the methods one at a time.
type Feed interface {
	// Begin is called once, when the client has subscribed to topics. The client gets the
	// messages from then on.
	Begin(client broker.Peer, topics broker.Filter)

	// Take appends the texts of the next messages to list, as far as its capacity allows, in
	// the JSON of the protocol. They must not change later. Lost is how many messages the
	// client misses before them. Without texts, more is closed when there may be some, or is
	// nil at the end. Take must not block. An error disconnects the client. It should wrap
	// broker.ErrOverflow if the client is too slow.
	Take(list [][]byte) (texts [][]byte, lost int, more <-chan struct{}, err error)

	// End is called after Begin, when the client has left.
	End()
}

// fed is the method Take of a feed for a connection, which reports losses and errors.
type fed func(list [][]byte) (texts [][]byte, more <-chan struct{})

// fedBuffer is the size of the buffer for frames of a feed, in bytes. Each client that does
// not read holds that much memory.
const fedBuffer = 8 << 10

// fedTexts is the number of texts that a feed should return at most.
const fedTexts = 64

// fedScratch is the memory that a connection uses while it has messages of a feed to send.
type fedScratch struct {
	list   [fedTexts][]byte
	frames [fedBuffer]byte
}

var fedScratches = sync.Pool{New: func() any { return new(fedScratch) }}

// nextQueued returns the next text of the queue. While there is none, it sends messages of
// the feed.
func (c *conn) nextQueued() ([]byte, error) {
	open := true
	for {
		feeding := c.feeding.Load() // before TryNext, which then finds the ack
		if text, ok := c.out.TryNext(); ok {
			return text, nil
		}
		var more <-chan struct{}
		var sent bool
		var err error
		if feeding {
			more, sent, err = c.sendFed()
		}
		switch {
		case err != nil:
			return nil, err
		case sent:
			continue // unless there is a text in the queue now
		case !open:
			return nil, broker.ErrClosed
		}
		select {
		case _, open = <-c.out.Ready():
		case <-more:
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
	}
}

// sendFed sends some messages of the feed. If there are none, more is closed when there are
// some, or nil at the end.
func (c *conn) sendFed() (more <-chan struct{}, sent bool, err error) {
	s := fedScratches.Get().(*fedScratch)
	defer func() {
		clear(s.list[:])
		fedScratches.Put(s)
	}()
	texts, more := c.fed(s.list[:0])
	return more, len(texts) > 0, c.sendTexts(texts, s.frames[:0])
}

// sendTexts sends texts, several at once. It collects frames in buf.
func (c *conn) sendTexts(list [][]byte, buf []byte) error {
	texts, size := 0, 0
	flush := func(large []byte) error {
		if texts == 0 {
			return nil
		}
		if err := c.send(buf, large); err != nil {
			return err
		}
		c.sent(texts, size)
		buf, texts, size = buf[:0], 0, 0
		return nil
	}
	for _, text := range list {
		if len(buf)+maxTextHeader+len(text) > cap(buf) {
			if err := flush(nil); err != nil {
				return err
			}
		}
		texts, size = texts+1, size+len(text)
		if maxTextHeader+len(text) <= cap(buf) {
			buf = appendText(buf, text, false)
			continue
		}
		buf = appendTextHeader(buf, len(text)) // the text is shared by all clients, not copied
		if err := flush(text); err != nil {
			return err
		}
	}
	return flush(nil)
}

// takeFed takes texts from the client's feed.
func (c *client) takeFed(list [][]byte) (texts [][]byte, more <-chan struct{}) {
	s := c.server
	if c.feedOver {
		return nil, nil
	}
	if s.cfg.Admits != nil && !s.cfg.Admits(c.peer) {
		c.feedOver = true
		c.drain(dismissed)
		return nil, nil
	}
	texts, lost, more, err := c.feed.Take(list)
	if lost > 0 {
		s.hooks.DroppedSending(c.peer, lost)
		if !c.lagging {
			c.log.Warn().Msg("client is too slow, dropping messages")
		}
	}
	c.lagging = lost > 0
	if err == nil {
		return texts, more
	}
	c.feedOver = true
	f := farewell{websocket.CloseInternalServerErr, "", fmt.Errorf("websocket: %w", err)}
	if errors.Is(err, broker.ErrOverflow) {
		f.code, f.reason = websocket.ClosePolicyViolation, tooSlow
	}
	c.drain(f)
	return nil, nil
}
