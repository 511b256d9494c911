// Package tlsflags declares the TLS options of native connections once, for
// services (as settings) and for commands (as flags).
package tlsflags

import (
	"fmt"
	"os"
	"strings"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// PassphraseVariable is the environment variable that holds the passphrase of
// the private key. A flag would show it to other users of the machine.
const PassphraseVariable = "ZEEKWIRE_TLS_PASSPHRASE"

// Options are the values of the TLS options. The zero value is not valid; use
// New.
type Options struct {
	mode   string // a security.Mode
	config security.Config
}

// New returns the default options: anonymous TLS.
func New() Options { return Options{mode: security.Anonymous.String()} }

// Settings returns the declarations of the options, which set the fields of o.
func (o *Options) Settings() []settings.Setting {
	return []settings.Setting{
		{
			Name: "tls", Value: settings.Choice(&o.mode, security.Off.String(), security.Anonymous.String(), security.Mutual.String()), Common: true,
			Help: "TLS `MODE` of native connections: off, anonymous (Zeek's default: encrypted, any peer may connect) or mutual (certificates)",
			Zeek: "Broker::disable_ssl",
		},
		{
			Name: "tls-cert", Value: settings.Text(&o.config.CertFile), Common: true,
			Help: "PEM `FILE` with the certificate, for --tls mutual", Zeek: "Broker::ssl_certificate",
		},
		{
			Name: "tls-key", Value: settings.Text(&o.config.KeyFile), Common: true,
			Help: "PEM `FILE` with the private key; its passphrase, if any, is read from " + PassphraseVariable, Zeek: "Broker::ssl_keyfile",
		},
		{
			Name: "tls-ca", Value: settings.Text(&o.config.CAFile), Common: true,
			Help: "PEM `FILE` with the authorities that issue peers' certificates", Zeek: "Broker::ssl_cafile",
		},
		{
			Name: "tls-crl", Value: settings.Text(&o.config.RevokedFile),
			Help: "PEM `FILE` with the authorities' lists of revoked certificates, for --tls mutual",
		},
	}
}

// Key returns the file of --tls-key, "" for none.
func (o *Options) Key() string { return o.config.KeyFile }

// Revoked returns the file of --tls-crl, "" for none.
func (o *Options) Revoked() string { return o.config.RevokedFile }

// TurnOff sets the mode to off.
func (o *Options) TurnOff() { o.mode = security.Off.String() }

// Mode returns the text of the mode.
func (o *Options) Mode() string { return o.mode }

// Mutual reports whether both sides of a connection have certificates.
func (o *Options) Mutual() bool { return o.mode == security.Mutual.String() }

// Authority returns the name of the file with the authorities that issue peers'
// certificates, "" if there is none.
func (o *Options) Authority() string { return o.config.CAFile }

// Certificate returns the file of --tls-cert, "" for none.
func (o *Options) Certificate() string { return o.config.CertFile }

// Check returns an error that names the flags if the options contradict each
// other.
func (o *Options) Check() error {
	files := []File{{"--tls-cert", o.config.CertFile}, {"--tls-key", o.config.KeyFile}, {"--tls-ca", o.config.CAFile}}
	_, missing := Given(files...)
	given, _ := Given(append(files, File{"--tls-crl", o.config.RevokedFile})...)
	switch {
	case o.Mutual() && missing != "":
		return fmt.Errorf("--tls mutual: set %s as well", missing)
	case !o.Mutual() && given != "":
		return fmt.Errorf("%s: requires --tls mutual, but --tls is %s", given, o.mode)
	}
	return nil
}

// Config returns the options for package security. It reads the passphrase
// from the environment.
func (o *Options) Config() (security.Config, error) {
	mode, err := security.ParseMode(o.mode)
	c := o.config
	c.Mode, c.Passphrase = mode, os.Getenv(PassphraseVariable)
	return c, err
}

// Layer loads the files and returns the TLS layer.
func (o *Options) Layer() (*security.Layer, error) {
	c, err := o.Config()
	if err != nil {
		return nil, err
	}
	return security.New(c)
}

// File is the value of a flag that names a file, "" if the flag is not set.
type File struct{ Flag, Name string }

// Given returns the flags that are set and the flags that are not, separated by
// commas.
func Given(files ...File) (given, missing string) {
	var set, unset []string
	for _, f := range files {
		if f.Name == "" {
			unset = append(unset, f.Flag)
		} else {
			set = append(set, f.Flag)
		}
	}
	return strings.Join(set, ", "), strings.Join(unset, ", ")
}
