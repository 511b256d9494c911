package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// passphraseVar keeps the passphrase of a key off the command line, where other
// users of the machine could read it.
const passphraseVar = "ZEEKWIRE_TLS_PASSPHRASE"

// tlsSetting is --tls and what belongs to it: how native peerings are protected.
type tlsSetting struct {
	mode string
	security.Config
}

func (s *tlsSetting) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.mode, "tls", security.Anonymous.String(),
		"protect native connections by `MODE`: off (Broker::disable_ssl=T in Zeek), anonymous (Zeek's default: encrypted, but anybody may connect) or mutual (certificates)")
	completion.Words(cmd, "tls", security.Off.String(), security.Anonymous.String(), security.Mutual.String())
	f.StringVar(&s.CertFile, "tls-cert", "", "our certificate, a PEM `FILE`, for --tls mutual")
	f.StringVar(&s.KeyFile, "tls-key", "", "its private key, a PEM `FILE`; "+passphraseVar+" holds the passphrase if it has one")
	f.StringVar(&s.CAFile, "tls-ca", "", "the authorities that peers have their certificates from, a PEM `FILE`")
}

// add declares what register makes flags of.
func (s *tlsSetting) add(t *settings.Table) {
	t.Group("TLS between controller, agents and nodes")
	t.Add(
		settings.Setting{
			Name: "tls", Value: settings.Choice(&s.mode, "off", "anonymous", "mutual"), Common: true,
			Help: "protect native connections by `MODE`: off, anonymous (as Zeek by default: encrypted, but anybody may connect) or mutual (certificates)",
			Zeek: "Broker::disable_ssl",
		},
		settings.Setting{
			Name: "tls-cert", Value: settings.Text(&s.CertFile), Common: true,
			Help: "our certificate, a PEM `FILE`, for --tls mutual", Zeek: "Broker::ssl_certificate",
		},
		settings.Setting{
			Name: "tls-key", Value: settings.Text(&s.KeyFile), Common: true,
			Help: "its private key, a PEM `FILE`; the variable " + passphraseVar + " holds the passphrase if it has one", Zeek: "Broker::ssl_keyfile",
		},
		settings.Setting{
			Name: "tls-ca", Value: settings.Text(&s.CAFile), Common: true,
			Help: "the authorities that peers have their certificates from, a PEM `FILE`", Zeek: "Broker::ssl_cafile",
		},
	)
}

func (s *tlsSetting) layer() (*security.Layer, error) {
	mode, err := security.ParseMode(s.mode)
	if err != nil {
		return nil, wrongly(fmt.Errorf("--tls %q: want off, anonymous or mutual", s.mode))
	}
	if err := s.checkFiles(mode); err != nil {
		return nil, wrongly(err)
	}
	s.Mode, s.Passphrase = mode, os.Getenv(passphraseVar)
	return security.New(s.Config)
}

// checkFiles says in words of the command line what package security would.
func (s *tlsSetting) checkFiles(mode security.Mode) error {
	given, missing := whichAreSet([]namedFile{{"--tls-cert", s.CertFile}, {"--tls-key", s.KeyFile}, {"--tls-ca", s.CAFile}})
	switch {
	case mode == security.Mutual && missing != "":
		return fmt.Errorf("--tls mutual: set %s as well", missing)
	case mode != security.Mutual && given != "":
		return fmt.Errorf("%s: of use only with --tls mutual, and --tls is %s", given, mode)
	}
	return nil
}

// namedFile is a file and the flag that names it.
type namedFile struct{ flag, file string }

// whichAreSet lists the flags that name a file, and those that do not.
func whichAreSet(files []namedFile) (given, missing string) {
	var lists [2][]string
	for _, f := range files {
		i := 0
		if f.file == "" {
			i = 1
		}
		lists[i] = append(lists[i], f.flag)
	}
	return strings.Join(lists[0], ", "), strings.Join(lists[1], ", ")
}
