// Package listening opens listeners of commands. Its errors name the address, what uses
// it, and the flag that changes it.
package listening

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/zeekwire/zeekwire/broker/tcp"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
)

// Purpose describes a listener in errors.
type Purpose struct {
	For  string // such as "agents"
	Flag string // that sets the address, such as "--listen"
}

// Listen listens at a TCP address, as package tcp does.
func (p Purpose) Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := tcp.Listen(ctx, address)
	if err != nil {
		return nil, p.Explain(address, err)
	}
	return l, nil
}

// Explain returns an error that tells how to proceed after err, which another function
// returned instead of a listener at the address.
func (p Purpose) Explain(address string, err error) error {
	reason := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		reason = "the port is in use" + user(address) + "; end that program, or choose another port"
	case errors.Is(err, syscall.EACCES):
		reason = "permission denied: ports below 1024 require root, or the capability cap_net_bind_service; choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		reason = "no network interface of this machine has the address; choose another one"
	default:
		return fmt.Errorf("cannot listen for %s at %s (%s): %w", p.For, address, p.Flag, err)
	}
	return &explained{fmt.Sprintf("cannot listen for %s at %s: %s with %s HOST:PORT", p.For, address, reason, p.Flag), err}
}

// user returns which program listens at the port of an address, "" if none is found.
func user(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	if by := zeek.Listener(at.Port()); by != "" {
		return " by " + by
	}
	return ""
}

// explained is an error whose text replaces that of its cause.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }
