package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/tlsflags"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// webPassphraseVar is the environment variable with the passphrase of the
// WebSocket server's private key.
const webPassphraseVar = "ZEEKWIRE_WEBSOCKET_TLS_PASSPHRASE"

// gateSettings are the settings for access to a controller.
type gateSettings struct {
	web       security.WebConfig
	anonymous bool

	agents  []string // name patterns
	clients string   // name of the file with accepted clients
}

func (s *gateSettings) add(t *settings.Table) {
	const zeek = "Management::Controller::tls_options_websocket$"
	s.agents = []string{"*"}
	t.Group("TLS between clients and controller")
	for _, short := range []struct{ name, of, help string }{
		{"websocket-tls-cert", "cert-file", "PEM `FILE` with the controller's certificate for clients; enables TLS"},
		{"websocket-tls-key", "key-file", "PEM `FILE` with its private key; its passphrase, if any, is read from " + webPassphraseVar},
		{"websocket-tls-ca", "ca-file", "PEM `FILE` with the authorities that issue clients' certificates"},
	} {
		t.AddShorthand(settings.Shorthand{
			Name: short.name, Help: short.help,
			Expand: func(text string) ([]settings.Assignment, error) {
				return []settings.Assignment{{Name: "tls-options-websocket-" + short.of, Text: text}}, nil
			},
		})
	}
	t.Add(
		settings.Setting{
			Name: "tls-options-websocket-cert-file", Value: settings.Text(&s.web.CertFile),
			Help: "`FILE` of --websocket-tls-cert; empty: no TLS", Zeek: zeek + "cert_file",
		},
		settings.Setting{
			Name: "tls-options-websocket-key-file", Value: settings.Text(&s.web.KeyFile),
			Help: "`FILE` of --websocket-tls-key", Zeek: zeek + "key_file",
		},
		settings.Setting{
			Name: "tls-options-websocket-ca-file", Value: settings.Text(&s.web.CAFile),
			Help: "`FILE` of --websocket-tls-ca; clients must have a certificate, or a token if --clients lists tokens", Zeek: zeek + "ca_file",
		},
		settings.Setting{
			Name: "websocket-tls-crl", Value: settings.Text(&s.web.RevokedFile),
			Help: "PEM `FILE` with the lists of revoked certificates of the authorities of --websocket-tls-ca",
		},
		settings.Setting{
			Name: "tls-options-websocket-enable-peer-verification", Value: settings.Bool(&s.web.Demand),
			Help: "require a certificate from every client", Zeek: zeek + "enable_peer_verification",
		},
		settings.Setting{
			Name: "tls-options-websocket-ciphers", Zeek: zeek + "ciphers",
			Value: settings.Parsed(&s.anonymous, anonymousCiphers, func(on bool) string {
				if on {
					return anonymousSuite
				}
				return ""
			}),
			Help: anonymousSuite + " enables TLS without certificates, as in controllers of Zeek 5.2 to 8.0.2; empty: the defaults of Go",
		},
	)
	t.Group("Access")
	t.Add(
		settings.Setting{
			Name: "allow-agents", Value: settings.Parsed(&s.agents, parsePatterns, joinPatterns), Common: true, Reload: true,
			Help: "`LIST` of names, or patterns such as sensor-*, of accepted agents; with --tls mutual, their certificates must contain the names",
		},
		settings.Setting{
			Name: "clients", Value: settings.Text(&s.clients), Common: true,
			Help: "`FILE` with accepted clients, in lines NAME full|read-only sha256:HEX|token:TEXT|certificate",
		},
	)
}

// anonymousSuite is the cipher suite of TLS without certificates.
const anonymousSuite = "AECDH-AES256-SHA"

// anonymousCiphers parses a cipher list. It accepts the list that Zeek's
// documentation recommends for anonymous TLS. All other suites are chosen by
// crypto/tls.
func anonymousCiphers(text string) (bool, error) {
	switch {
	case text == "":
		return false, nil
	case strings.HasPrefix(text, anonymousSuite):
		return true, nil
	}
	return false, errors.New("want " + anonymousSuite + " or nothing")
}

func parsePatterns(text string) ([]string, error) {
	var patterns []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, errors.New("empty name; use * for all agents, and --listen none for no agents")
		}
		if _, err := path.Match(item, ""); err != nil {
			return nil, err
		}
		patterns = append(patterns, item)
	}
	return patterns, nil
}

func joinPatterns(patterns []string) string { return strings.Join(patterns, ", ") }

// gate returns the access rules of a controller. Mutual reports whether native
// peers have certificates.
func (s *gateSettings) gate(mutual bool, log zerolog.Logger) (gate, error) {
	g := gate{mutual: mutual, agents: newAgentNames(s.agents), log: log}
	err := g.load(s.clients)
	if err != nil {
		return gate{}, err
	}
	web := s.web
	switch {
	case s.anonymous && (web.CAFile != "" && web.CAFile != "NONE" || web.Demand):
		return gate{}, usageError(errors.New("TLS of clients: client certificates require a certificate of the controller"))
	case s.anonymous:
		g.anonymous, err = security.New(security.Config{Mode: security.Anonymous})
		return g, err
	case web == (security.WebConfig{}):
		return g, nil
	}
	err = g.secure(web, "clients", "--websocket-tls")
	return g, err
}

// load reads the file of clients, "" for none.
func (g *gate) load(file string) error {
	if file == "" {
		return nil
	}
	var warning, err error
	if g.clients, warning, err = access.Load(file); err != nil {
		return err
	}
	g.warn(warning)
	return nil
}

// secure turns on TLS. With an authority and without a file of clients, it requires
// certificates. Errors name the peers, and the settings by the beginning of their flags.
func (g *gate) secure(web security.WebConfig, peers, flags string) (err error) {
	if _, missing := tlsflags.Given(tlsflags.File{Flag: flags + "-cert", Name: web.CertFile}, tlsflags.File{Flag: flags + "-key", Name: web.KeyFile}); missing != "" {
		return usageError(fmt.Errorf("TLS of %s: set %s as well", peers, missing))
	}
	web.Passphrase = os.Getenv(webPassphraseVar)
	web.Demand = web.Demand || web.CAFile != "" && g.clients == nil
	g.demand = web.Demand
	g.web, err = security.NewWeb(web)
	return err
}
