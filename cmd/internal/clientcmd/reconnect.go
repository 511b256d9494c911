package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

const (
	// reconnectPause is the time between the first two attempts to reconnect. It
	// doubles up to maxReconnectPause.
	reconnectPause    = time.Second
	maxReconnectPause = 5 * time.Second

	// maxReconnects limits the reconnects of one command, so that it ends if every
	// connection is lost.
	maxReconnects = 10
)

// lostError is the error of a call whose connection was lost.
type lostError struct{ error }

// isLost reports whether a call of askOn failed because the connection was lost.
func isLost(err error) bool { return errors.As(err, new(*lostError)) }

// lost returns the error to print for a call without a response, a lostError if the
// connection was lost. A server that sent a broken frame, such as a response that is too
// large, would send it again, so that the error is no lostError.
func (r *run) lost(missing error) error {
	err := errors.New("no response received: " + r.noResponseReason(missing))
	if errors.Is(missing, request.ErrDisconnected) && !isBroken(missing) {
		return &lostError{err}
	}
	return err
}

// isBroken reports whether the server has sent a broken frame.
func isBroken(err error) bool { return errors.As(err, new(*broker.FrameError)) }

// session is the connection of a command that waits for something that the controller
// does. Calls of askAgain replace the connection when it is lost: the controller may
// have been restarted, and continues.
type session struct {
	*run
	client *client.Client

	work  string        // what the controller continues, for messages
	limit time.Duration // for the attempts to reconnect
	count int           // of reconnects

	detach func()               // if non-nil, called when the connection is lost
	attach func(*client.Client) // if non-nil, called with the next one
}

// close closes the present connection.
func (s *session) close() { s.client.Close() }

// reconnect replaces a lost connection, and prints a line about that.
func (s *session) reconnect(ctx context.Context, lost error) error {
	if s.count++; s.count > maxReconnects {
		return fmt.Errorf("%w; the connection was lost %d times, see status", lost, s.count)
	}
	s.client.Close()
	if s.detach != nil {
		s.detach()
	}
	s.warning("lost the connection to the controller; reconnecting, to see how %s continues", s.work)
	quiet := *s.run
	quiet.show, quiet.progress, quiet.attempts = showNothing, nil, 1
	over := time.After(s.limit)
	for pause := reconnectPause; ; pause = min(2*pause, maxReconnectPause) {
		select {
		case <-time.After(pause):
		case <-over:
			return fmt.Errorf("%w; the controller has not come back within %s, see status when it has", lost, s.limit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c, err := quiet.connectAll(ctx)
		if err != nil {
			continue
		}
		s.client, s.run.dialect, s.run.link = c, quiet.dialect, quiet.link
		if s.attach != nil {
			s.attach(c)
		}
		return nil
	}
}

// askAgain is askOn, but makes the call again after a lost connection.
func askAgain[T any](ctx context.Context, s *session, call func(context.Context, *client.Client) (T, error)) (T, error) {
	for {
		v, err := askOn(ctx, s.run, s.client, call)
		if !isLost(err) || ctx.Err() != nil {
			return v, err
		}
		if err := s.reconnect(ctx, err); err != nil {
			return v, err
		}
	}
}
