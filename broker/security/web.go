package security

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

// WebConfig says how a WebSocket server protects its connections. Unlike native
// peerings, these follow the ways of the web (Zeek:
// Cluster::WebSocketTLSOptions).
type WebConfig struct {
	// CertFile holds the server's certificate and what leads from it to its
	// authority, KeyFile the private key, as PEM. Passphrase opens KeyFile if
	// it is encrypted.
	CertFile, KeyFile, Passphrase string

	// CAFile holds the certificates of the authorities that clients may have
	// theirs from, as PEM. Clients may then show a certificate, which must be
	// valid, and must if Demand is set. Without CAFile nobody is asked.
	CAFile string
	Demand bool
}

// Web is the TLS of a WebSocket server. Its methods may be called from any
// goroutine.
type Web struct {
	config  WebConfig
	current atomic.Pointer[tls.Config]
}

// NewWeb reads the files that c names.
func NewWeb(c WebConfig) (*Web, error) {
	switch {
	case c.CertFile == "" || c.KeyFile == "":
		return nil, errors.New("security: TLS for WebSockets needs both a certificate and its private key")
	case c.Demand && c.CAFile == "":
		return nil, errors.New("security: to demand certificates of WebSocket clients takes a file with their authorities")
	}
	w := &Web{config: c}
	if err := w.Reload(); err != nil {
		return nil, err
	}
	return w, nil
}

// Reload reads the files again. Connections made before keep what they have.
// On an error everything stays as it was.
func (w *Web) Reload() error {
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
	if w.config.CAFile != "" {
		if c.ClientCAs, err = loadAuthorities(w.config.CAFile); err != nil {
			return fmt.Errorf("WebSocket server: %w", err)
		}
		c.ClientAuth = tls.VerifyClientCertIfGiven
		if w.config.Demand {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	w.current.Store(c)
	return nil
}

// TLS returns a configuration that follows Reload.
func (w *Web) TLS() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.current.Load(), nil },
		// For those who ask whether there is a certificate.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &w.current.Load().Certificates[0], nil
		},
	}
}
