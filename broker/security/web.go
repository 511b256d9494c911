package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// WebConfig configures the TLS of a WebSocket server. Unlike native peerings,
// WebSockets use TLS as the web does (Zeek: Cluster::WebSocketTLSOptions).
type WebConfig struct {
	// CertFile and KeyFile are PEM files, both required. CertFile contains the
	// server's certificate and its chain, KeyFile the private key. Passphrase
	// decrypts KeyFile if it is encrypted.
	CertFile, KeyFile, Passphrase string

	// CAFile is a PEM file with the certificates of the authorities that issue
	// client certificates. If set, the server asks for a client certificate and
	// refuses an invalid one. If empty, it does not ask.
	CAFile string

	// RevokedFile is a PEM file with lists of revoked certificates (CRL) of the
	// authorities in CAFile. Clients with such a certificate are refused. It is
	// optional, and requires CAFile.
	RevokedFile string

	// Demand makes client certificates mandatory. It requires CAFile.
	Demand bool
}

// Web is the TLS of a WebSocket server, created by NewWeb. Its methods may be
// called concurrently.
type Web struct {
	config   WebConfig
	current  atomic.Pointer[tls.Config]
	verified verified

	reloading sync.Mutex // held by Reload, so that a later one has the later files
}

// NewWeb returns a Web after reading the files that c names. It returns an error if
// c is invalid or a file cannot be used.
func NewWeb(c WebConfig) (*Web, error) {
	switch {
	case c.CertFile == "" || c.KeyFile == "":
		return nil, errors.New("security: TLS for WebSockets requires both a certificate and its private key")
	case c.RevokedFile != "" && c.CAFile == "":
		return nil, errors.New("security: revoked certificates of WebSocket clients need a file with their authorities")
	case c.Demand && c.CAFile == "":
		return nil, errors.New("security: requiring certificates of WebSocket clients needs a file with their authorities")
	}
	w := &Web{config: c}
	if err := w.Reload(); err != nil {
		return nil, err
	}
	return w, nil
}

// Reload reads the files again, for new connections, and closes the connections of
// Listener whose certificate has been revoked. On an error the Web does not change.
func (w *Web) Reload() error {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	certificate, err := LoadCertificate(w.config.CertFile, w.config.KeyFile, w.config.Passphrase)
	if err != nil {
		return fmt.Errorf("WebSocket server: %w", err)
	}
	c := &tls.Config{
		Certificates:           []tls.Certificate{certificate},
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // a ticket would outlive a Reload
	}
	var trusted authorities
	if w.config.CAFile != "" {
		if trusted, err = loadAuthorities(w.config.CAFile); err != nil {
			return fmt.Errorf("WebSocket server: %w", err)
		}
		c.ClientCAs = trusted.pool
		c.ClientAuth = tls.VerifyClientCertIfGiven
		if w.config.Demand {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	list, err := loadRevoked(w.config.RevokedFile, trusted.certificates)
	if err != nil {
		return fmt.Errorf("WebSocket server: %w", err)
	}
	w.verified.set(list)
	w.current.Store(c)
	return nil
}

// Listener returns a listener whose connections Reload closes if their certificate has been
// revoked. Without it, only new connections are refused.
func (w *Web) Listener(inner net.Listener) net.Listener { return &webListener{inner, w} }

// PeerCertificates returns the verified certificates of the clients of open connections
// of Listener, in no order. They must not be changed.
func (w *Web) PeerCertificates() []*x509.Certificate { return w.verified.peers() }

type webListener struct {
	net.Listener
	web *Web
}

func (l *webListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &webConn{Conn: c, web: l.web}, nil
}

// webConn is the connection below the TLS of a client.
type webConn struct {
	net.Conn
	web             *Web
	revoked, closed atomic.Bool
}

func (c *webConn) revoke() {
	c.revoked.Store(true)
	c.Conn.Close()
}

// verify adds the connection to those with a verified certificate. It may be closed at
// the same time.
func (c *webConn) verify(chain []*x509.Certificate) error {
	err := c.web.verified.add(c, chain)
	if c.closed.Load() {
		c.web.verified.remove(c)
	}
	return err
}

// Read implements net.Conn.
func (c *webConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.revoked.Load() {
		err = ErrRevoked
	}
	return n, err
}

// Close implements net.Conn.
func (c *webConn) Close() error {
	c.closed.Store(true)
	c.web.verified.remove(c)
	return c.Conn.Close()
}

// configFor returns the configuration for a connection.
func (w *Web) configFor(conn net.Conn) *tls.Config {
	c := w.current.Load()
	if c.ClientAuth == tls.NoClientCert {
		return c
	}
	c = c.Clone()
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		if listed, ok := netConn[*webConn](conn); ok {
			return listed.verify(state.PeerCertificates)
		}
		return w.verified.check(state.PeerCertificates)
	}
	return c
}

// Names returns the names in the server's certificate, as CertificateNames.
func (w *Web) Names() []string {
	leaf := w.current.Load().Certificates[0].Leaf
	if leaf == nil {
		return nil
	}
	return CertificateNames(leaf)
}

// TLS returns a configuration for websocket.ServerConfig.TLS. It always uses the
// files of the last successful Reload.
func (w *Web) TLS() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) { return w.configFor(info.Conn), nil },
		// tls.NewListener requires a certificate source.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &w.current.Load().Certificates[0], nil
		},
	}
}
