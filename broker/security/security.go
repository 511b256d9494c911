package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker/internal/anontls"
)

// Mode is the protection of native connections.
type Mode uint8

const (
	// Anonymous encrypts without certificates: Zeek with the defaults of
	// Broker::disable_ssl and Broker::ssl_certificate.
	Anonymous Mode = iota

	// Off is plain TCP: Zeek with Broker::disable_ssl=T.
	Off

	// Mutual requires of both ends a certificate of a common authority: Zeek
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

// Config configures a Layer. The zero Config means anonymous TLS, which is also
// Zeek's default.
type Config struct {
	Mode Mode

	// CertFile, KeyFile and CAFile are PEM files, required by Mutual and invalid
	// in other modes. CertFile contains the own certificate and its chain,
	// KeyFile the private key, and CAFile the certificates of the authorities
	// that must have issued the peers' certificates.
	CertFile, KeyFile, CAFile string

	// RevokedFile is a PEM file with lists of revoked certificates (CRL) of the
	// authorities. Peers with such a certificate are refused. It is optional, and
	// invalid in modes other than Mutual.
	RevokedFile string

	// Passphrase decrypts KeyFile if it is encrypted. It is ignored otherwise.
	Passphrase string

	// PeerName is a name that the certificate of every peer must contain, as
	// common or alternative name. If empty, any certificate of the authorities is
	// accepted, as in Broker itself. It is invalid in modes other than Mutual.
	PeerName string
}

func (c Config) validate() error {
	switch c.Mode {
	case Mutual:
	case Anonymous, Off:
		if c.CertFile != "" || c.KeyFile != "" || c.CAFile != "" || c.RevokedFile != "" || c.PeerName != "" {
			return fmt.Errorf("security: mode %s does not use certificates, keys and names of peers: set the mode to mutual, or omit them", c.Mode)
		}
		return nil
	default:
		return fmt.Errorf("security: unknown mode %d", uint8(c.Mode))
	}
	for _, file := range []struct{ what, path string }{
		{"certificate", c.CertFile}, {"private key", c.KeyFile}, {"certificate authorities", c.CAFile},
	} {
		if file.path == "" {
			return fmt.Errorf("security: mutual TLS requires a file with the %s", file.what)
		}
	}
	return nil
}

// Layer secures connections, created by New. Its methods may be called
// concurrently.
type Layer struct {
	config Config
	server atomic.Pointer[tls.Config]
	client atomic.Pointer[tls.Config] // nil unless the mode is Mutual

	reloading sync.Mutex // held by Reload, so that a later one has the later files
	verified  verified
}

// New returns a Layer after reading the files that c names. It returns an error if
// c is invalid or a file cannot be used.
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

// Reload reads the files again, for new connections, and closes the connections of
// peers whose certificate has been revoked. On an error the Layer does not change.
func (l *Layer) Reload() error {
	l.reloading.Lock()
	defer l.reloading.Unlock()
	switch l.config.Mode {
	case Mutual:
		identity, err := loadIdentity(l.config)
		if err != nil {
			return err
		}
		list, err := loadRevoked(l.config.RevokedFile, identity.authorities.certificates)
		if err != nil {
			return err
		}
		l.verified.set(list)
		l.server.Store(identity.serverConfig(l.accepts))
		l.client.Store(identity.clientConfig(l.accepts))
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

// accepts returns an error if a peer with a verified chain is not accepted.
func (l *Layer) accepts(chain []*x509.Certificate) error {
	if err := l.verified.check(chain); err != nil {
		return err
	}
	return checkName(chain[0], l.config.PeerName)
}

// PeerCertificates returns the verified certificates of the peers of open connections,
// in no order. They must not be changed. The result is empty unless the mode is Mutual.
func (l *Layer) PeerCertificates() []*x509.Certificate { return l.verified.peers() }

// Hook returns the Secure method, or nil if the mode is Off. It is the value for
// peering.Config.TLS, which has to be nil without TLS so that errors can mention
// that.
func (l *Layer) Hook() func(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error) {
	if l.config.Mode == Off {
		return nil
	}
	return l.Secure
}

// Secure performs the TLS handshake over conn, as client if dialed and else as
// server, and returns the secured connection. If the mode is Off it returns conn.
// If the mode is Mutual, the result has a method PeerNames() []string that returns
// the names in the peer's verified certificate.
//
// Each Write to the result uses separate TLS records, which Broker requires at the
// end of its handshake.
//
// Secure blocks until the handshake has finished or ctx ends. On an error it closes
// conn.
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

// DialContext opens a connection and secures it. It is the value for
// websocket.ClientConfig.DialContext to connect to Broker's own WebSocket server,
// which uses anonymous TLS by default.
func (l *Layer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.Secure(ctx, conn, true)
}

// explain adds a hint to err if it looks like a peer in another mode.
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
		hint = " (it may require certificates: mutual TLS)"
	case l.config.Mode == Anonymous && errors.As(err, &alert) && alert.Alert == anontls.HandshakeFailure:
		hint = " (it may expect certificates: mutual TLS)"
	case l.config.Mode == Mutual && op != nil && op.Op == "remote error" && dialed:
		hint = " (it may have no certificates: anonymous TLS, or not trust the authority of this end)"
	}
	return fmt.Errorf("security: %s TLS: %w%s", l.config.Mode, err, hint)
}
