package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// Listen accepts peers at addr, such as "127.0.0.1:9999" or ":0", until Close.
// It returns the address with the port that it got. The context is for the
// lookup of addr.
func (e *Endpoint) Listen(ctx context.Context, addr string) (net.Addr, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("peering: %w", err)
	}
	return l.Addr(), e.Serve(l)
}

// Serve accepts peers from l, which it closes with the endpoint. It does not
// wait.
func (e *Endpoint) Serve(l net.Listener) error {
	e.mu.Lock()
	e.listeners[l] = struct{}{}
	e.mu.Unlock()
	if err := e.start(func() { e.accept(l) }); err != nil {
		l.Close()
		return err
	}
	return nil
}

func (e *Endpoint) accept(l net.Listener) {
	defer l.Close()
	retry := backoff{min: 5 * time.Millisecond, max: time.Second}
	for {
		conn, err := l.Accept()
		if e.closing.Load() {
			if err == nil {
				conn.Close()
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			e.cfg.Log.Warn().Stringer("addr", l.Addr()).Msg("somebody closed the listener, accepting no more peers")
			return
		}
		if err != nil {
			// Out of file descriptors, perhaps. It may pass.
			e.cfg.Log.Error().Err(err).Stringer("addr", l.Addr()).Msg("cannot accept peers")
			if !retry.wait(e.ctx, nil) {
				return
			}
			continue
		}
		retry.reset()
		e.admit(conn)
	}
}

// admit gives an accepted connection its goroutine, unless there are too many
// that have not got through their handshake.
func (e *Endpoint) admit(conn net.Conn) {
	if e.handshakes.Add(1) > int64(e.cfg.MaxHandshakes) {
		e.handshakes.Add(-1)
		conn.Close()
		if !e.flooded.Swap(true) {
			e.cfg.Log.Warn().Int("limit", e.cfg.MaxHandshakes).Stringer("addr", conn.RemoteAddr()).
				Msg("too many handshakes at a time, refusing connections")
		}
		return
	}
	e.flooded.Store(false)
	err := e.start(func() {
		l, wasPeered, err := e.serve(e.ctx, conn, nil)
		if !wasPeered && !isClosed(err) {
			e.refused(l.peer.Addr, err)
		}
	})
	if err != nil {
		e.handshakes.Add(-1)
		conn.Close()
	}
}

// refused logs why a connection did not get through its handshake, as a warning
// once per host and reason: a Zeek with the wrong settings tries every second.
// Where two dial each other, that one connection is redundant is no news.
func (e *Endpoint) refused(addr netip.AddrPort, err error) {
	e.mu.Lock()
	level := zerolog.WarnLevel
	var drop *wire.DropError
	var refused *wire.RefusedError
	if e.refusals[addr.Addr()] == err.Error() ||
		errors.As(err, &refused) && refused.Answer == wire.Redundant ||
		errors.As(err, &drop) && drop.Code == wire.CodeRedundantConnection {
		level = zerolog.DebugLevel
	}
	if len(e.refusals) == maxRefusals {
		clear(e.refusals)
	}
	e.refusals[addr.Addr()] = err.Error()
	e.mu.Unlock()
	e.cfg.Log.WithLevel(level).Err(err).Stringer("addr", addr).Msg("refused a connection")
}

const maxRefusals = 256
