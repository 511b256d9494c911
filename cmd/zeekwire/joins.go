package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
)

// joins is the part of a controller that issues certificates. The zero joins issues none.
type joins struct {
	authority *authority.Authority
	web       *security.Web
}

// openAuthority opens the authority of the settings, if there is one.
func (s *controllerService) openAuthority() error {
	if s.settings.authority == "" {
		return nil
	}
	a, err := authority.Open(s.settings.authority)
	if err != nil {
		return err
	}
	native, err := s.settings.tls.Config()
	if err != nil {
		return err
	}
	web, err := security.NewWeb(security.WebConfig{
		CertFile: native.CertFile, KeyFile: native.KeyFile, Passphrase: native.Passphrase,
		CAFile: native.CAFile, RevokedFile: native.RevokedFile,
	})
	if err != nil {
		return err
	}
	s.joins = joins{a, web}
	s.operation.reloads = append(s.operation.reloads, func(declared) error { return web.Reload() })
	return nil
}

// serveJoins starts the server that issues certificates, if there is an authority.
func (s *controllerService) serveJoins(ctx context.Context, group *errgroup.Group) error {
	address := s.settings.joinAddress()
	if s.joins.authority == nil || address == "" {
		return nil
	}
	l, err := listeningForJoins.Listen(ctx, address)
	if err != nil {
		return err
	}
	s.log.Info().Stringer("address", l.Addr()).Msg("issuing certificates to machines that join")
	server := &enrol.Server{Authority: s.joins.authority, TLS: s.joins.web.TLS(), Joined: s.joined, Log: s.log.With().Str("transport", "join").Logger()}
	group.Go(func() error { return server.Serve(ctx, l) })
	return nil
}

// joined reads the file of clients again, to which an invitation may have added one.
func (s *controllerService) joined() {
	if err := s.gate.reload(); err != nil {
		s.log.Error().Err(err).Msg("cannot reload the file of clients")
	}
}

// reloadCertificates reads all certificates and lists of revoked ones again.
func (s *controllerService) reloadCertificates() error {
	errs := []error{s.security.Reload(), s.gate.reload(), s.reloadHTTP()}
	if s.joins.web != nil {
		errs = append(errs, s.joins.web.Reload())
	}
	return errors.Join(errs...)
}

// renewer returns what renews the certificates of the controller and of clients on its
// machine, nil without an authority. The first client has its certificate beside the
// controller's.
func (s *controllerService) renewer() *enrol.Renewer {
	a := s.joins.authority
	if a == nil {
		return nil
	}
	own := s.settings.tls.Certificate()
	return &enrol.Renewer{
		Files: func() []string { return issuedBy(a, filepath.Dir(own)) },
		Renew: func(_ context.Context, old tls.Certificate) (enrol.Pair, error) {
			key, request, err := enrol.NewRequest(old.Leaf.Subject.CommonName)
			if err != nil {
				return enrol.Pair{}, err
			}
			leaf, err := a.Renew(time.Now(), old.Leaf, request)
			return enrol.Pair{Leaf: leaf, Key: key}, err
		},
		Changed: s.reloadCertificates,
		Log:     s.log,
	}
}

// issuedBy returns the files in a directory that contain a certificate of the authority for a
// controller or a client, with its key. Agents renew theirs.
func issuedBy(a *authority.Authority, dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.pem")) // it fails for patterns only
	return slices.DeleteFunc(names, func(name string) bool {
		pair, err := security.LoadCertificate(name, name, "")
		return err != nil || pair.Leaf.CheckSignatureFrom(a.Certificate()) != nil ||
			slices.Contains(pair.Leaf.Subject.OrganizationalUnit, string(authority.Agent))
	})
}

// peerCertificates returns the certificates that the authority has issued to connected
// agents and clients. Of each it returns the newest: a connection outlives the renewal of
// its certificate.
func (s *controllerService) peerCertificates() ([]alerts.Cert, error) {
	if s.joins.authority == nil {
		return nil, nil
	}
	connected := s.security.PeerCertificates()
	if s.gate.web != nil {
		connected = append(connected, s.gate.web.PeerCertificates()...)
	}
	newest, err := s.joins.authority.Newest()
	all := make(map[string]alerts.Cert)
	for _, c := range connected {
		name := c.Subject.CommonName
		end := c.NotAfter
		if renewed := newest[name]; renewed.After(end) {
			end = renewed
		}
		all["of "+name] = alerts.Cert{Name: "of " + name, NotAfter: end}
	}
	list := make([]alerts.Cert, 0, len(all))
	for _, c := range all {
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y alerts.Cert) int { return cmp.Compare(x.Name, y.Name) })
	return list, err
}

// renewer returns what renews the certificate of the agent, nil if the settings do not
// name a controller that does.
func (s *agentSettings) renewer(o *operation) *enrol.Renewer {
	if s.renewFrom == "" {
		return nil
	}
	file := s.tls.Certificate()
	client := func(pair *tls.Certificate) (*enrol.Client, error) {
		issuer, err := os.ReadFile(s.tls.Authority())
		return &enrol.Client{Address: s.renewFrom, Authority: issuer, Certificate: pair}, err
	}
	return &enrol.Renewer{
		Files: func() []string { return []string{file} },
		Renew: func(ctx context.Context, old tls.Certificate) (enrol.Pair, error) {
			c, err := client(&old)
			if err != nil {
				return enrol.Pair{}, err
			}
			p, _, err := c.Renew(ctx)
			return p, err
		},
		Look: func(ctx context.Context) (bool, error) {
			if s.tls.Revoked() == "" {
				return false, nil
			}
			pair, err := security.LoadCertificate(file, file, "")
			if err != nil {
				return false, err
			}
			c, err := client(&pair)
			if err != nil {
				return false, err
			}
			list, err := c.Revoked(ctx)
			if err != nil {
				return false, err
			}
			return enrol.UpdateFile(s.tls.Revoked(), list)
		},
		Changed: o.security.Reload,
		Log:     o.log,
	}
}

// certificateFiles returns the files with the certificates of the agent.
func (s *agentSettings) certificateFiles() []string {
	return slices.DeleteFunc([]string{s.tls.Certificate(), s.tls.Authority()}, func(file string) bool { return file == "" })
}
