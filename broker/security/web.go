package security

import (
	"crypto/tls"
	"errors"
	"fmt"
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

	// Demand makes client certificates mandatory. It requires CAFile.
	Demand bool
}

// Web is the TLS of a WebSocket server, created by NewWeb. Its methods may be
// called concurrently.
type Web struct {
	config  WebConfig
	current atomic.Pointer[tls.Config]
}

// NewWeb returns a Web after reading the files that c names. It returns an error if
// c is invalid or a file cannot be used.
func NewWeb(c WebConfig) (*Web, error) {
	switch {
	case c.CertFile == "" || c.KeyFile == "":
		return nil, errors.New("security: TLS for WebSockets requires both a certificate and its private key")
	case c.Demand && c.CAFile == "":
		return nil, errors.New("security: requiring certificates of WebSocket clients needs a file with their authorities")
	}
	w := &Web{config: c}
	if err := w.Reload(); err != nil {
		return nil, err
	}
	return w, nil
}

// Reload reads the files again, for new connections. On an error the Web does not
// change.
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
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.current.Load(), nil },
		// tls.NewListener requires a certificate source.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &w.current.Load().Certificates[0], nil
		},
	}
}
