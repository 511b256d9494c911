package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/security"
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
	f.StringVar(&s.CertFile, "tls-cert", "", "our certificate, a PEM `FILE`, for --tls mutual")
	f.StringVar(&s.KeyFile, "tls-key", "", "its private key, a PEM `FILE`; "+passphraseVar+" holds the passphrase if it has one")
	f.StringVar(&s.CAFile, "tls-ca", "", "the authorities that peers have their certificates from, a PEM `FILE`")
}

func (s *tlsSetting) layer() (*security.Layer, error) {
	mode, err := security.ParseMode(s.mode)
	if err != nil {
		return nil, fmt.Errorf("--tls %q: want off, anonymous or mutual", s.mode)
	}
	s.Mode, s.Passphrase = mode, os.Getenv(passphraseVar)
	return security.New(s.Config)
}
