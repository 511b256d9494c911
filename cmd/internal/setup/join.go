package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// Join describes how a machine, or a person, uses a join file.
type Join struct {
	Place
	File    enrol.JoinFile
	Replace bool // replace an earlier certificate
	Extra   []settings.Assignment
}

// Run gets a certificate from the controller and writes it, the certificate of the
// authority, and settings. It returns what it has written.
//
// It checks first that it can write everything, because a join file is valid once.
func (j Join) Run(ctx context.Context) ([]Written, error) {
	conf, err := j.check()
	if err != nil {
		return nil, err
	}
	pair, revoked, err := enrol.Join(ctx, j.File)
	if err != nil {
		return nil, err
	}
	text, err := pair.PEM()
	if err != nil {
		return nil, err
	}
	steps := []step{
		{Written{j.PairFile(j.pairName()), "certificate and key of the " + string(j.File.Kind) + " " + j.File.Name}, func() error {
			return ownedfile.Write(j.PairFile(j.pairName()), text, 0o600, j.Owner)
		}},
		{Written{j.AuthorityFile(), "certificate of the authority"}, func() error {
			return ownedfile.Write(j.AuthorityFile(), []byte(j.File.Authority), 0o644, j.Owner)
		}},
		{Written{conf.file, "settings of the " + string(j.File.Kind)}, conf.write},
	}
	if j.File.Kind == authority.Agent {
		steps = slices.Insert(steps, 2, step{Written{j.RevokedFile(), "revoked certificates"}, func() error {
			return ownedfile.Write(j.RevokedFile(), revoked, 0o644, j.Owner)
		}})
	}
	var written []Written
	for _, step := range steps {
		if err := step.write(); err != nil {
			return written, fmt.Errorf("the join file has been used, but %w", err)
		}
		written = append(written, step.Written)
	}
	return written, nil
}

func (j Join) pairName() string {
	if j.File.Kind == authority.Client {
		return clientCertificate
	}
	return agentCertificate
}

// check returns the new settings, or why the join file cannot be used.
func (j Join) check() (amendment, error) {
	var conf amendment
	var err error
	if j.File.Kind == authority.Client {
		conf = amendment{file: j.config(ClientFile), perm: 0o600, owner: j.Owner}
		conf.text, err = clientSettings(j.File.Host, j.File.ClientPort, j.PairFile(clientCertificate), j.AuthorityFile(), j.File.JoinAddress())
		if !j.Replace {
			err = errors.Join(err, absent(conf.file))
		}
	} else {
		conf, err = j.amend(j.config(AgentFile), "Written by zeekwire join", j.settings())
	}
	if !j.Replace {
		err = errors.Join(absent(j.PairFile(j.pairName())), err)
	}
	if err = errors.Join(err, j.sameAuthority()); err != nil {
		return conf, err
	}
	return conf, errors.Join(
		ownedfile.MakeDir(j.StateDir, 0o750, j.Owner), ownedfile.MakeDir(j.Certificates(), 0o750, j.Owner),
		ownedfile.MakeDir(j.ConfigDir, 0o750, j.Owner.Reader()), writable(j.Certificates()), writable(j.ConfigDir))
}

// sameAuthority returns an error if the machine trusts another authority already.
func (j Join) sameAuthority() error {
	text, err := os.ReadFile(j.AuthorityFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace([]byte(j.File.Authority))) || j.Replace:
		return nil
	}
	return fmt.Errorf("%s is the certificate of another authority: this machine is part of another cluster", j.AuthorityFile())
}

func (j Join) settings() []settings.Assignment {
	pair := j.PairFile(agentCertificate)
	return append(j.Extra, []settings.Assignment{
		{Name: "name", Text: j.File.Name},
		{Name: "controller", Text: j.File.AgentAddress()},
		{Name: "tls", Text: "mutual"},
		{Name: "tls-cert", Text: pair}, {Name: "tls-key", Text: pair}, {Name: "tls-ca", Text: j.AuthorityFile()},
		{Name: "tls-crl", Text: j.RevokedFile()},
		{Name: "renew-from", Text: j.File.JoinAddress()},
	}...)
}
