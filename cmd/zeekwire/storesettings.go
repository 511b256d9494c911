package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/cmd/internal/etcdstore"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Values of --store.
const (
	storeFile = "file"
	storeEtcd = "etcd"
)

// etcdPasswordVariable is the environment variable with the password for etcd. A flag would
// show it to other users of the machine.
const etcdPasswordVariable = "ZEEKWIRE_ETCD_PASSWORD"

// storeSettings are the settings of the store of a controller.
type storeSettings struct {
	kind string
	etcdSettings
	lease, compact                    time.Duration
	advertiseClients, advertiseAgents string
	advertiseHTTP                     string
}

// etcdSettings are the settings of connections to etcd.
type etcdSettings struct {
	endpoints    []string
	prefix       string
	ca           string
	cert, key    string
	user         string
	passwordFile string
}

func defaultStore() storeSettings {
	return storeSettings{
		kind: storeFile, lease: etcdstore.DefaultLease, compact: etcdstore.DefaultCompact,
		etcdSettings: etcdSettings{prefix: etcdstore.DefaultPrefix},
	}
}

func (s *storeSettings) add(t *settings.Table) {
	t.Group("Store of the state")
	t.Add(settings.Setting{
		Name: "store", Value: settings.Choice(&s.kind, storeFile, storeEtcd), Common: true,
		Help: "`KIND` of store: file (in the state directory) or etcd (shared by several controllers, one of which leads)",
	})
	t.Add(s.etcdSettings.settings()...)
	t.Add(
		settings.Setting{
			Name: "etcd-lease", Value: settings.Duration(&s.lease, time.Second),
			Help: "`TIME` without a sign of life of the leader after which another controller leads; must be the same in all controllers",
		},
		settings.Setting{
			Name: "etcd-compact", Value: settings.Duration(&s.compact, 0),
			Help: "`TIME` for which etcd keeps former values of all its keys; 0: the leader does not compact etcd",
		},
		settings.Setting{
			Name: "advertise-clients", Value: settings.Text(&s.advertiseClients),
			Help: "`HOST:PORT` to which other controllers refer clients if this one leads; empty: the name of the host, and the port of --websocket-listen",
		},
		settings.Setting{
			Name: "advertise-agents", Value: settings.Text(&s.advertiseAgents),
			Help: "`HOST:PORT` at which agents reach this controller; empty: the name of the host, and the port of --listen",
		},
		settings.Setting{
			Name: "advertise-http", Value: settings.Text(&s.advertiseHTTP),
			Help: "`URL` to which other controllers refer clients of the HTTP API if this one leads; empty: the name of the host, and the port of --http-listen",
		},
	)
}

// settings returns the declarations.
func (s *etcdSettings) settings() []settings.Setting {
	return []settings.Setting{
		{
			Name: "etcd-endpoints", Value: settings.Parsed(&s.endpoints, parseEndpoints, joinPatterns), Common: true,
			Help: "`LIST` of addresses of etcd, HOST:PORT or URLs",
		},
		{
			Name: "etcd-prefix", Value: settings.Text(&s.prefix),
			Help: "`PREFIX` of all keys in etcd; all controllers of a cluster have the same one",
		},
		{
			Name: "etcd-tls-ca", Value: settings.Text(&s.ca),
			Help: "PEM `FILE` with the authorities that issue the certificates of etcd; empty: those of the system",
		},
		{
			Name: "etcd-tls-cert", Value: settings.Text(&s.cert),
			Help: "PEM `FILE` with the certificate for etcd",
		},
		{
			Name: "etcd-tls-key", Value: settings.Text(&s.key),
			Help: "PEM `FILE` with the private key of etcd-tls-cert",
		},
		{
			Name: "etcd-user", Value: settings.Text(&s.user),
			Help: "`NAME` of the user of etcd; empty: no authentication by password",
		},
		{
			Name: "etcd-password-file", Value: settings.Text(&s.passwordFile),
			Help: "`FILE` with the user's password in its first line; empty: it is read from " + etcdPasswordVariable,
		},
	}
}

func parseEndpoints(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var all []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		at := item
		if u, err := url.Parse(item); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
			at = u.Host
		}
		if host, _, err := address.SplitBoth(at, "2379"); err != nil || host == "" {
			return nil, fmt.Errorf("%q is no address; want HOST:PORT or a URL such as https://etcd-1:2379", item)
		}
		all = append(all, item)
	}
	return all, nil
}

func (s *storeSettings) check(t *settings.Table) error {
	if s.kind != storeEtcd {
		return nil
	}
	if s.lease < etcdstore.MinLease {
		return t.Wrong("etcd-lease", "want %s or more", etcdstore.MinLease)
	}
	for name, text := range map[string]string{"advertise-clients": s.advertiseClients, "advertise-agents": s.advertiseAgents} {
		if host, _, err := address.SplitBoth(text, "2149"); text != "" && (err != nil || host == "") {
			return t.Wrong(name, "want HOST:PORT")
		}
	}
	if !validBase(s.advertiseHTTP) {
		return t.Wrong("advertise-http", "want a URL without path, such as https://controller-1:9990")
	}
	return s.etcdSettings.check(t)
}

// validBase reports whether a text is empty, or the URL of an HTTP server without path.
func validBase(text string) bool {
	u, err := url.Parse(text)
	return text == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && text == u.Scheme+"://"+u.Host
}

func (s *etcdSettings) check(t *settings.Table) error {
	switch {
	case len(s.endpoints) == 0:
		return t.Wrong("etcd-endpoints", "want addresses of etcd")
	case strings.Trim(s.prefix, "/") == "":
		return t.Wrong("etcd-prefix", "want a prefix such as %s", etcdstore.DefaultPrefix)
	case (s.cert == "") != (s.key == ""):
		return t.Wrong("etcd-tls-cert", "want etcd-tls-key as well, and the reverse")
	case s.user == "" && s.passwordFile != "":
		return t.Wrong("etcd-password-file", "want etcd-user as well")
	}
	if err := secretIn(s.passwordFile); err != nil {
		return t.Wrong("etcd-password-file", "%v", err)
	}
	if _, err := s.tls(); err != nil {
		return t.Wrong("etcd-tls-ca", "%v", err)
	}
	return nil
}

// tls returns the configuration of TLS, nil for none.
func (s *etcdSettings) tls() (*tls.Config, error) {
	secure := s.ca != "" || s.cert != ""
	for _, e := range s.endpoints {
		secure = secure || strings.HasPrefix(e, "https://")
	}
	if !secure {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		b, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(b) {
			return nil, errors.New("want PEM with certificates")
		}
	}
	if s.cert != "" {
		if _, err := tls.LoadX509KeyPair(s.cert, s.key); err != nil {
			return nil, err
		}
		// It is read for each connection, so that a renewed certificate is used.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.cert, s.key)
			return &pair, err
		}
	}
	return config, nil
}

// config returns the configuration of a client of etcd.
func (s *etcdSettings) config() (etcdstore.Config, error) {
	secure, err := s.tls()
	if err != nil {
		return etcdstore.Config{}, err
	}
	password := os.Getenv(etcdPasswordVariable)
	if s.passwordFile != "" {
		if password, err = (alerts.Secret{File: s.passwordFile}).Read(); err != nil {
			return etcdstore.Config{}, err
		}
	}
	return etcdstore.Config{Endpoints: s.endpoints, Prefix: s.prefix, TLS: secure, User: s.user, Password: password}, nil
}

// candidate returns the controller among those that share a store. Base is the URL of its HTTP
// server, "" if there is none.
func (s *controllerSettings) candidate(native, clients net.Addr, base string, log zerolog.Logger) (*etcdstore.Candidate, error) {
	config, err := s.store.config()
	if err != nil {
		return nil, err
	}
	config.Lease, config.Compact, config.Log = s.store.lease, s.store.compact, log
	config.Member = zeekapi.ControllerMember{
		Name: s.name, Version: "zeekwire " + version.String(),
		Clients: cmp.Or(s.store.advertiseClients, advertised(clients)),
		Agents:  cmp.Or(s.store.advertiseAgents, advertised(native)),
		HTTP:    cmp.Or(s.store.advertiseHTTP, base),
	}
	return etcdstore.NewCandidate(config)
}

// advertised returns the address at which others reach a listener, "" if there is none.
func advertised(listener net.Addr) string {
	if listener == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		name, err := os.Hostname()
		if err != nil {
			return ""
		}
		host = name
	}
	return net.JoinHostPort(host, port)
}
