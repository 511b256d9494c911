package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// alertSettings are the settings for notifications of operators.
type alertSettings struct {
	rules   alerts.Settings
	drops   float64 // percent
	command string
	webhook string
	keyFile string

	mailTo       []string
	mailFrom     string
	mailServer   string
	mailTLS      string
	mailUser     string
	passwordFile string
	mailCA       string
}

func defaultAlerts() alertSettings {
	const day = 24 * time.Hour
	return alertSettings{
		rules: alerts.Settings{
			Rules: alerts.Rules, Wait: 30 * time.Second, Interval: 5 * time.Minute, Repeat: day,
			Idle: 5 * time.Minute, Expiry: 14 * day,
		},
		drops: 5, mailServer: "127.0.0.1:25", mailTLS: alerts.StartTLS,
	}
}

func (s *alertSettings) add(t *settings.Table) {
	t.Group("Alerts")
	s.addRules(t)
	t.Add(
		settings.Setting{
			Name: "alert-command", Value: settings.Text(&s.command),
			Help: "`COMMAND` of the shell that notifies operators; it gets JSON on its standard input, and a summary in $ZEEKWIRE_ALERT",
		},
		settings.Setting{
			Name: "alert-webhook", Value: settings.Text(&s.webhook),
			Help: "`URL` to which notifications are posted as JSON",
		},
		settings.Setting{
			Name: "alert-webhook-key-file", Value: settings.Text(&s.keyFile),
			Help: "`FILE` with the key that signs these requests (HMAC-SHA-256), in its first line; empty: they are not signed",
		},
		settings.Setting{
			Name: "alert-mail-to", Value: settings.Parsed(&s.mailTo, parseAddresses, joinPatterns),
			Help: "`LIST` of mail addresses that are notified",
		},
		settings.Setting{
			Name: "alert-mail-from", Value: settings.Text(&s.mailFrom),
			Help: "mail `ADDRESS` of the controller; empty: zeekwire@ and the name of the host",
		},
		settings.Setting{
			Name: "alert-mail-server", Value: settings.Text(&s.mailServer),
			Help: "`HOST:PORT` of the mail server (SMTP)",
		},
		settings.Setting{
			Name: "alert-mail-tls", Value: settings.Choice(&s.mailTLS, alerts.StartTLS, alerts.ImplicitTLS, alerts.NoTLS),
			Help: "`KIND` of TLS of the mail server: starttls (required), tls (from the beginning) or off",
		},
		settings.Setting{
			Name: "alert-mail-ca", Value: settings.Text(&s.mailCA),
			Help: "PEM `FILE` with the authorities that issue the mail server's certificate; empty: those of the system",
		},
		settings.Setting{
			Name: "alert-mail-user", Value: settings.Text(&s.mailUser),
			Help: "`NAME` of the user at the mail server; empty: no authentication",
		},
		settings.Setting{
			Name: "alert-mail-password-file", Value: settings.Text(&s.passwordFile),
			Help: "`FILE` with the user's password in its first line",
		},
	)
}

// addRules adds the settings of the rules, and of the times of notifications.
func (s *alertSettings) addRules(t *settings.Table) {
	r := &s.rules
	t.Add(
		settings.Setting{
			Name: "alert-rules", Value: settings.Parsed(&r.Rules, parseRules, formatRules),
			Help: "`LIST` of the problems of which operators are notified: " + strings.Join(alerts.Rules, ", ") + "; none: no problems",
		},
		settings.Setting{
			Name: "alert-drops", Value: settings.Parsed(&s.drops, parsePercent, formatPercent),
			Help: "`SHARE` of dropped packets of a node, in percent, above which there is an alert; 0: none",
		},
		settings.Setting{
			Name: "alert-no-traffic", Value: settings.Duration(&r.Idle, 0),
			Help: "`TIME` without packets for a node with an interface after which there is an alert; 0: none",
		},
		settings.Setting{
			Name: "alert-certificate", Value: settings.Parsed(&r.Expiry, zeekapi.ParseExpiry, formatAge),
			Help: "`TIME` before the end of a certificate of the controller from which on there is an alert",
		},
		settings.Setting{
			Name: "alert-wait", Value: settings.Duration(&r.Wait, 0),
			Help: "`TIME` for which an alert waits for others, so that one notification has all of them",
		},
		settings.Setting{
			Name: "alert-interval", Value: settings.Duration(&r.Interval, 0),
			Help: "shortest `TIME` between two notifications",
		},
		settings.Setting{
			Name: "alert-repeat", Value: settings.Parsed(&r.Repeat, zeekapi.ParseExpiry, formatAge),
			Help: "`TIME` after which present alerts are repeated; 0: never",
		},
	)
}

// parseRules parses a list of rules.
func parseRules(text string) ([]string, error) {
	if text == settings.None {
		return nil, nil
	}
	var rules []string
	for item := range strings.SplitSeq(text, ",") {
		rule := strings.TrimSpace(item)
		if !slices.Contains(alerts.Rules, rule) {
			return nil, fmt.Errorf("%q is no rule; want some of %s, or none", rule, strings.Join(alerts.Rules, ", "))
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func formatRules(rules []string) string {
	if len(rules) == 0 {
		return settings.None
	}
	return strings.Join(rules, ", ")
}

func parseAddresses(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	list, err := mail.ParseAddressList(text)
	if err != nil {
		return nil, errors.New("want mail addresses with commas between them")
	}
	var addresses []string
	for _, a := range list {
		addresses = append(addresses, a.Address)
	}
	return addresses, nil
}

func parsePercent(text string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(f >= 0 && f < 100) {
		return 0, errors.New("want a share in percent such as 5 or 0.1")
	}
	return f, nil
}

func formatPercent(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// check returns an error if settings are invalid or contradict each other.
func (s *alertSettings) check(t *settings.Table) error {
	if s.webhook != "" {
		if u, err := url.Parse(s.webhook); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return t.Wrong("alert-webhook", "want a URL that begins with https:// or http://")
		}
	}
	if s.webhook == "" && s.keyFile != "" {
		return t.Wrong("alert-webhook-key-file", "want alert-webhook as well")
	}
	if err := secretIn(s.keyFile); err != nil {
		return t.Wrong("alert-webhook-key-file", "%v", err)
	}
	if len(s.mailTo) == 0 {
		return nil
	}
	return s.checkMail(t)
}

func (s *alertSettings) checkMail(t *settings.Table) error {
	if host, port, err := address.SplitBoth(s.mailServer, "587"); err != nil || host == "" || port == "0" {
		return t.Wrong("alert-mail-server", "want HOST:PORT")
	}
	if s.mailFrom != "" {
		if _, err := mail.ParseAddress(s.mailFrom); err != nil {
			return t.Wrong("alert-mail-from", "want a mail address")
		}
	}
	if _, err := s.authorities(); err != nil {
		return t.Wrong("alert-mail-ca", "%v", err)
	}
	switch {
	case s.mailUser != "" && s.passwordFile == "":
		return t.Wrong("alert-mail-user", "want alert-mail-password-file as well")
	case s.mailUser != "" && s.mailTLS == alerts.NoTLS:
		return t.Wrong("alert-mail-tls", "want TLS: the password would be sent in the clear")
	}
	if err := secretIn(s.passwordFile); err != nil {
		return t.Wrong("alert-mail-password-file", "%v", err)
	}
	return nil
}

// secretIn returns an error if a file that should contain a secret cannot be used. An empty
// name means no file.
func secretIn(file string) error {
	_, err := alerts.Secret{File: file}.Read()
	return err
}

// authorities returns the authorities of the mail server's certificate, nil for those of the
// system.
func (s *alertSettings) authorities() (*x509.CertPool, error) {
	if s.mailCA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(s.mailCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New("want PEM with certificates")
	}
	return pool, nil
}

// machine returns the settings of the state machine.
func (s *alertSettings) machine() alerts.Settings {
	rules := s.rules
	rules.Drops = s.drops / 100
	return rules
}

// channels returns the channels that are set. The settings have been checked.
func (s *alertSettings) channels() ([]alerts.Channel, error) {
	var all []alerts.Channel
	if s.command != "" {
		all = append(all, alerts.Command{Command: s.command})
	}
	if s.webhook != "" {
		u, err := url.Parse(s.webhook)
		if err != nil {
			return nil, errors.New("alert-webhook: invalid URL")
		}
		all = append(all, alerts.Webhook{URL: u, Key: alerts.Secret{File: s.keyFile}, Agent: "zeekwire/" + version.String()})
	}
	if len(s.mailTo) == 0 {
		return all, nil
	}
	pool, err := s.authorities()
	if err != nil {
		return nil, err
	}
	from := s.mailFrom
	if from == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("alert-mail-from is not set, and the host name is unknown: %w", err)
		}
		from = "zeekwire@" + host
	}
	return append(all, alerts.Mail{
		Server: s.mailServer, TLS: s.mailTLS, User: s.mailUser, Password: alerts.Secret{File: s.passwordFile},
		From: from, Recipients: s.mailTo, Certificates: pool,
	}), nil
}
