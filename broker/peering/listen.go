package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/rs/zerolog"

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
	l = e.gate.Listener(l)
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
	for {
		conn, err := l.Accept()
		if err != nil {
			if !e.closing.Load() {
				e.cfg.Log.Warn().Err(err).Stringer("addr", l.Addr()).Msg("listener was closed, accepting no more peers")
			}
			return
		}
		if e.start(func() { e.welcome(conn) }) != nil {
			conn.Close()
			return
		}
	}
}

// welcome serves an accepted connection until it ends.
func (e *Endpoint) welcome(conn net.Conn) {
	l, wasPeered, err := e.serve(e.ctx, conn, nil)
	if !wasPeered && !isClosed(err) {
		e.refused(l.peer.Addr, err)
	}
}

// refused logs why an incoming connection failed, but not more often than notices
// allow. Repeated failures of a host for the same reason are logged at debug level,
// because a Zeek with wrong settings retries every second. So are redundant
// connections, which are normal between endpoints that connect to each other, and those of
// clients that only look for the protocol of the port.
func (e *Endpoint) refused(addr netip.AddrPort, err error) {
	line := (*zerolog.Event)(nil)
	if !e.expected(addr.Addr(), err) {
		line = e.notices.Warn("handshake")
	}
	if line == nil {
		line = e.cfg.Log.Debug()
	}
	line.Err(err).Stringer("addr", addr).Msg("refused a connection")
}

// expected reports whether a failure of a connection needs no attention, and remembers it as the
// last one of the host, unless the connection was only a probe.
func (e *Endpoint) expected(host netip.Addr, err error) bool {
	var mismatch *MismatchError
	if errors.As(err, &mismatch) && mismatch.Met == wire.ProtocolPortProbe {
		return true
	}
	var drop *wire.DropError
	var refused *wire.RefusedError
	reason := repeated(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	again := e.refusals[host] == reason
	if len(e.refusals) == maxRefusals {
		clear(e.refusals)
	}
	e.refusals[host] = reason
	return again ||
		errors.As(err, &refused) && refused.Answer == wire.Redundant ||
		errors.As(err, &drop) && drop.Code == wire.CodeRedundantConnection
}

const maxRefusals = 256
