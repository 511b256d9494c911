package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// handshakeTime limits the search for the reason of errors.
const handshakeTime = time.Second

// detail adds the error of TLS with a member of etcd, if there is one, to an error that etcd
// does not answer. etcd's client hides it.
func (c Config) detail(ctx context.Context, err error) error {
	if c.TLS == nil || !errors.Is(err, errGone) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	for _, e := range c.Endpoints {
		if _, host, found := strings.Cut(e, "://"); found {
			e = host
		}
		if refused := c.handshake(ctx, e); refused != nil {
			return fmt.Errorf("%w: %s: %w", errGone, e, refused)
		}
	}
	return err
}

// handshake returns the error of TLS with a member of etcd, nil if there is none, or no
// connection.
func (c Config) handshake(ctx context.Context, address string) error {
	conn, err := (&tls.Dialer{Config: c.TLS}).DialContext(ctx, "tcp", address)
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(handshakeTime / 4)) // a certificate is refused after the handshake
		_, err = conn.Read(make([]byte, 1))
	}
	var alert tls.AlertError
	var untrusted *tls.CertificateVerificationError
	var remote *net.OpError
	if errors.As(err, &alert) || errors.As(err, &untrusted) || errors.As(err, &remote) && remote.Op == "remote error" {
		return err
	}
	return nil
}
