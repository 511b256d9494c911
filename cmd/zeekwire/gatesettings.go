package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/tlsflags"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// webPassphraseVar is the environment variable that holds the passphrase of the
// WebSocket server's private key.
const webPassphraseVar = "ZEEKWIRE_WEBSOCKET_TLS_PASSPHRASE"

// gateSettings are who gets in at a controller, and how.
type gateSettings struct {
	web       security.WebConfig
	anonymous bool

	agents  []string // patterns
	clients string   // a file
}

func (s *gateSettings) add(t *settings.Table) {
	const zeek = "Management::Controller::tls_options_websocket$"
	s.agents = []string{"*"}
	t.Group("TLS between clients and controller")
	for _, short := range []struct{ name, of, help string }{
		{"websocket-tls-cert", "cert-file", "TLS for clients: the controller's certificate, a PEM `FILE`"},
		{"websocket-tls-key", "key-file", "its private key, a PEM `FILE`; the variable " + webPassphraseVar + " holds the passphrase if it has one"},
		{"websocket-tls-ca", "ca-file", "the authorities that clients have their certificates from, a PEM `FILE`"},
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
			Help: "the `FILE` of --websocket-tls-cert; empty: no TLS", Zeek: zeek + "cert_file",
		},
		settings.Setting{
			Name: "tls-options-websocket-key-file", Value: settings.Text(&s.web.KeyFile),
			Help: "the `FILE` of --websocket-tls-key", Zeek: zeek + "key_file",
		},
		settings.Setting{
			Name: "tls-options-websocket-ca-file", Value: settings.Text(&s.web.CAFile),
			Help: "the `FILE` of --websocket-tls-ca: clients must have a certificate, or a token if some in --clients have", Zeek: zeek + "ca_file",
		},
		settings.Setting{
			Name: "tls-options-websocket-enable-peer-verification", Value: settings.Bool(&s.web.Demand),
			Help: "clients must have a certificate in any case", Zeek: zeek + "enable_peer_verification",
		},
		settings.Setting{
			Name: "tls-options-websocket-ciphers", Zeek: zeek + "ciphers",
			Value: settings.Parsed(&s.anonymous, anonymousCiphers, func(on bool) string {
				if on {
					return anonymousSuite
				}
				return ""
			}),
			Help: anonymousSuite + ": TLS without certificates, as controllers of Zeek 5.2 to 8.0.2 have; empty: what is good today",
		},
	)
	t.Group("Access")
	t.Add(
		settings.Setting{
			Name: "allow-agents", Value: settings.Parsed(&s.agents, parsePatterns, joinPatterns), Common: true,
			Help: "hear only agents in a `LIST` of names and patterns such as sensor-*; with --tls mutual, their certificates must have their names, too",
		},
		settings.Setting{
			Name: "clients", Value: settings.Text(&s.clients), Common: true,
			Help: "hear only clients in `FILE`, with lines NAME full|read-only sha256:HEX|token:TEXT|certificate",
		},
	)
}

const anonymousSuite = "AECDH-AES256-SHA"

// anonymousCiphers takes what Zeek's documentation says to get anonymous TLS.
// crypto/tls chooses among the others better than anybody who writes them down.
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
			return nil, errors.New("an empty name; * are all, and for none listen at none")
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
	g := gate{mutual: mutual, log: log}
	if !slices.Contains(s.agents, "*") {
		g.agents = s.agents
	}
	var err error
	if s.clients != "" {
		var warning error
		if g.clients, warning, err = access.Load(s.clients); err != nil {
			return gate{}, err
		}
		g.warn(warning)
	}
	web := s.web
	switch {
	case s.anonymous && (web.CAFile != "" && web.CAFile != "NONE" || web.Demand):
		return gate{}, wrongly(errors.New("TLS of clients: without certificates of the controller there are none of clients"))
	case s.anonymous:
		g.anonymous, err = security.New(security.Config{Mode: security.Anonymous})
		return g, err
	case web == (security.WebConfig{}):
		return g, nil
	}
	if _, missing := tlsflags.Given(tlsflags.File{Flag: "--websocket-tls-cert", Name: web.CertFile}, tlsflags.File{Flag: "--websocket-tls-key", Name: web.KeyFile}); missing != "" {
		return gate{}, wrongly(fmt.Errorf("TLS of clients: set %s as well", missing))
	}
	web.Passphrase = os.Getenv(webPassphraseVar)
	web.Demand = web.Demand || web.CAFile != "" && g.clients == nil
	g.demand = web.Demand
	g.web, err = security.NewWeb(web)
	return g, err
}
