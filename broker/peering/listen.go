package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/internal/backoff"
	"github.com/zeekwire/zeekwire/broker/tcp"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Listen listens at addr, such as "127.0.0.1:9999" or ":0", and accepts peers
// there in the background until Close. It returns the bound address, with the
// actual port. The address and the context are those of tcp.Listen.
func (e *Endpoint) Listen(ctx context.Context, addr string) (net.Addr, error) {
	l, err := tcp.Listen(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("peering: %w", err)
	}
	return l.Addr(), e.Serve(l)
}

// Serve accepts peers from l in the background until Close, which closes l. It
// returns at once. If the endpoint is closed, Serve closes l and returns
// broker.ErrClosed.
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
	retry := backoff.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		conn, err := l.Accept()
		if e.closing.Load() {
			if err == nil {
				conn.Close()
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			e.cfg.Log.Warn().Stringer("addr", l.Addr()).Msg("listener was closed, accepting no more peers")
			return
		}
		if err != nil {
			// Possibly out of file descriptors, which may pass.
			e.cfg.Log.Error().Err(err).Stringer("addr", l.Addr()).Msg("cannot accept peers")
			if !retry.Wait(e.ctx, nil) {
				return
			}
			continue
		}
		retry.Reset()
		e.admit(conn)
	}
}

// admit starts the goroutine of an accepted connection, unless there are too
// many connections that have not completed their handshake.
func (e *Endpoint) admit(conn net.Conn) {
	if e.handshakes.Add(1) > int64(e.cfg.MaxHandshakes) {
		e.handshakes.Add(-1)
		conn.Close()
		if !e.flooded.Swap(true) {
			e.cfg.Log.Warn().Int("limit", e.cfg.MaxHandshakes).Stringer("addr", conn.RemoteAddr()).
				Msg("too many concurrent handshakes, refusing connections")
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

// refused logs why an incoming connection failed. Repeated failures of a host for
// the same reason are logged at debug level, because a Zeek with wrong settings
// retries every second. So are redundant connections, which are normal between
// endpoints that connect to each other.
func (e *Endpoint) refused(addr netip.AddrPort, err error) {
	e.mu.Lock()
	level := zerolog.WarnLevel
	var drop *wire.DropError
	var refused *wire.RefusedError
	reason := repeated(err)
	if e.refusals[addr.Addr()] == reason ||
		errors.As(err, &refused) && refused.Answer == wire.Redundant ||
		errors.As(err, &drop) && drop.Code == wire.CodeRedundantConnection {
		level = zerolog.DebugLevel
	}
	if len(e.refusals) == maxRefusals {
		clear(e.refusals)
	}
	e.refusals[addr.Addr()] = reason
	e.mu.Unlock()
	e.cfg.Log.WithLevel(level).Err(err).Stringer("addr", addr).Msg("refused a connection")
}

const maxRefusals = 256
