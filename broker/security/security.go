package security

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

// Mode says how the connections of peerings are protected.
type Mode uint8

const (
	// Anonymous encrypts without certificates: Zeek with the defaults of
	// Broker::disable_ssl and Broker::ssl_certificate.
	Anonymous Mode = iota

	// Off is plain TCP: Zeek with Broker::disable_ssl=T.
	Off

	// Mutual demands of both ends a certificate of a common authority: Zeek
	// with Broker::ssl_cafile, ssl_certificate and ssl_keyfile.
	Mutual
)

var modeNames = [...]string{"anonymous", "off", "mutual"}

// String returns the name that ParseMode takes.
func (m Mode) String() string {
	if int(m) >= len(modeNames) {
		return "mode(?)"
	}
	return modeNames[m]
}

// ParseMode returns the mode called "anonymous", "off" or "mutual".
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("security: unknown mode %q: it is one of anonymous, off and mutual", name)
}

// Config says how to protect connections. The zero Config means Anonymous, as
// in Zeek.
type Config struct {
	Mode Mode

	// The rest is for Mutual. CertFile holds our certificate and what leads from
	// it to the authority, KeyFile its private key, CAFile the certificates of
	// the authorities that peers may have theirs from, all as PEM.
	CertFile, KeyFile, CAFile string

	// Passphrase opens KeyFile if it is encrypted. It means nothing without one,
	// in any mode.
	Passphrase string

	// PeerName, if set, is who all peers must be: the common name or an
	// alternative name in their certificates. Otherwise any certificate of the
	// authorities will do, which is all that Broker itself demands.
	PeerName string
}

func (c Config) validate() error {
	switch c.Mode {
	case Mutual:
	case Anonymous, Off:
		if c.CertFile != "" || c.KeyFile != "" || c.CAFile != "" || c.PeerName != "" {
			return fmt.Errorf("security: the mode is %s, which has no place for certificates, keys and names of peers: set it to mutual, or leave them out", c.Mode)
		}
		return nil
	default:
		return fmt.Errorf("security: unknown mode %d", uint8(c.Mode))
	}
	for _, file := range []struct{ what, path string }{
		{"certificate", c.CertFile}, {"private key", c.KeyFile}, {"certificate authorities", c.CAFile},
	} {
		if file.path == "" {
			return fmt.Errorf("security: mutual TLS needs a file with the %s", file.what)
		}
	}
	return nil
}

// Layer protects connections. Its methods may be called from any goroutine.
type Layer struct {
	config Config
	server atomic.Pointer[tls.Config]
	client atomic.Pointer[tls.Config] // nil unless the mode is Mutual
}

// New reads the files that c names.
func New(c Config) (*Layer, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	l := &Layer{config: c}
	if err := l.Reload(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reload reads the files again. Connections made before keep what they have.
// On an error everything stays as it was.
func (l *Layer) Reload() error {
	switch l.config.Mode {
	case Mutual:
		identity, err := loadIdentity(l.config)
		if err != nil {
			return err
		}
		l.server.Store(identity.serverConfig(l.config.PeerName))
		l.client.Store(identity.clientConfig(l.config.PeerName))
	case Anonymous:
		if l.server.Load() != nil {
			return nil
		}
		config, err := anonymousServerConfig()
		if err != nil {
			return err
		}
		l.server.Store(config)
	}
	return nil
}

// Hook returns Secure, or nil if the mode is Off, so that whoever calls it can
// tell a connection without TLS and explain what it meets there.
func (l *Layer) Hook() func(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
	if l.config.Mode == Off {
		return nil
	}
	return l.Secure
}

// Secure performs the TLS handshake over conn, which we dialed or accepted, and
// returns the connection to use in its place. It returns conn itself if the
// mode is Off. If the mode is Mutual, the result has a method PeerNames() []string
// that returns the common name and the alternative names in the peer's verified
// certificate.
//
// Each Write on the result has TLS records of its own, which Broker needs where
// its handshake ends.
//
// Secure takes as long as the peer does, up to the end of ctx. On an error conn
// is closed.
func (l *Layer) Secure(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
	var secured net.Conn
	var err error
	switch {
	case l.config.Mode == Off:
		return conn, nil
	case l.config.Mode == Mutual:
		secured, err = l.mutual(ctx, conn, dialed)
	case dialed:
		secured, err = dialAnonymous(ctx, conn)
	default:
		secured, err = acceptAnonymous(ctx, conn, l.server.Load())
	}
	if err != nil {
		conn.Close()
		return nil, l.explain(err, dialed)
	}
	return secured, nil
}

// Dial opens a connection and secures it. It is what package websocket wants of
// ClientConfig.Dial for a server of Broker's, whose TLS is anonymous by default.
func (l *Layer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.Secure(ctx, conn, true)
}

// explain adds what a peer in another mode would look like from here.
func (l *Layer) explain(err error, dialed bool) error {
	// What crypto/tls calls a remote error of a network operation is an alert,
	// and no failure of the network.
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		err = fmt.Errorf("the peer sent the alert %w", op.Err)
	}
	hint := ""
	var alert *anontls.AlertError
	switch {
	case l.config.Mode == Anonymous && errors.As(err, &alert) && alert.Alert == anontls.HandshakeFailure && dialed:
		hint = " (it may demand certificates: mutual TLS)"
	case l.config.Mode == Anonymous && errors.As(err, &alert) && alert.Alert == anontls.HandshakeFailure:
		hint = " (it may expect certificates: mutual TLS)"
	case l.config.Mode == Mutual && op != nil && op.Op == "remote error" && dialed:
		hint = " (it may have no certificates: anonymous TLS, or not trust the authority of ours)"
	}
	return fmt.Errorf("security: %s TLS: %w%s", l.config.Mode, err, hint)
}
