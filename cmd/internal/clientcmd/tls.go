package clientcmd

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// addTLS sets the TLS options of a connection from the settings.
func (p *parameters) addTLS(o *connect.Options, warning func(format string, args ...any)) error {
	var err error
	if o.TLS, err = p.tlsConfig(warning); err != nil {
		return err
	}
	native := security.Config{Mode: security.Anonymous}
	if security.Verifies(o.TLS) {
		native = security.Config{
			Mode: security.Mutual, CertFile: p.certificate, KeyFile: p.privateKey(),
			CAFile: p.caFile, Passphrase: p.passphrase,
		}
		switch {
		case o.Transport == connect.WebSocket, o.Transport == connect.HTTP, o.Transport == connect.Auto && (p.caFile == "" || p.certificate == ""):
			return nil
		case p.caFile == "" || p.certificate == "":
			return errors.New("SSL certificates over a native connection need both ssl.certificate and ssl.cafile")
		}
	}
	o.NativeTLS, err = security.New(native)
	return err
}

// privateKey returns the file of the private key. The default is the file of the
// certificate.
func (p *parameters) privateKey() string { return cmp.Or(p.keyFile, p.certificate) }

// tlsConfig returns the TLS configuration for WebSockets. As in zeek-client, a client
// without a certificate does not verify the controller's certificate. Unlike
// zeek-client, it verifies the certificate if trusted authorities are set. It also does
// if it sends a token, because the recipient of a token can command the cluster.
// The setting client.insecure_token turns that off.
func (p *parameters) tlsConfig(warning func(format string, args ...any)) (*tls.Config, error) {
	for _, file := range []struct {
		description, name string
		dir               bool
	}{
		{"certificate file", p.certificate, false},
		{"private key file", p.keyFile, false},
		{"trusted CAs file", p.caFile, false},
		{"trusted CAs path", p.caPath, true},
	} {
		if file.name == "" {
			continue
		}
		if info, err := os.Stat(file.name); err != nil || info.IsDir() != file.dir {
			return nil, fmt.Errorf("SSL %s %q not found", file.description, file.name)
		}
	}
	roots, err := p.roots()
	switch {
	case err != nil:
		return nil, err
	case p.certificate == "" && roots == nil && !p.protectsToken():
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	host := strings.Trim(p.host, "[]")
	web := security.WebClientConfig{Host: host, Authorities: roots, RequireAltName: p.requireAltName}
	web.OnCommonName = func(*x509.Certificate) {
		warning("the controller's certificate has the name %q only as common name: issue one with the subject alternative name DNS:%s", host, host)
	}
	if p.certificate != "" {
		certificate, err := security.LoadCertificate(p.certificate, p.privateKey(), p.passphrase)
		if err != nil {
			return nil, err
		}
		web.Certificates = []tls.Certificate{certificate}
	}
	return web.TLS(), nil
}

// protectsToken reports whether there is a token that only a verified controller
// may get. Native connections have none.
func (p *parameters) protectsToken() bool {
	return p.token != "" && !p.insecureToken && p.transport != string(connect.Native)
}

// trustAdvice returns what to do about a controller whose certificate is not
// trusted, for the end of an error. It returns "" for other errors.
func (p *parameters) trustAdvice(err error) string {
	if !errors.As(err, new(*tls.CertificateVerificationError)) {
		return ""
	}
	advice := ""
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		advice = "; set ssl.cafile to the authority that issued the controller's certificate"
	case errors.As(err, new(x509.HostnameError)):
		advice = "; connect by a name or address in its certificate"
	}
	if p.protectsToken() && p.certificate == "" && p.caFile == "" && p.caPath == "" {
		advice += ". The token was not sent; --insecure-token sends it to any server"
	}
	return advice
}

// roots returns the trusted certificate authorities, or nil to trust those of the
// system.
func (p *parameters) roots() (*x509.CertPool, error) {
	var files []string
	if p.caFile != "" {
		files = append(files, p.caFile)
	}
	if p.caPath != "" {
		entries, err := os.ReadDir(p.caPath)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(p.caPath, e.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	found := false
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found = pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, fmt.Errorf("no trusted CA found in %q", files)
	}
	return pool, nil
}
