package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Kind is the part of a cluster that a certificate is for.
type Kind string

// The kinds. Certificates of controllers and agents are for servers and clients,
// those of clients for clients only.
const (
	Controller Kind = "controller"
	Agent      Kind = "agent"
	Client     Kind = "client"
)

// A Subject is what a certificate is for.
type Subject struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // the common name, unique in a cluster

	// Hosts are names and IP addresses of the machine, which are alternative names of
	// the certificate, after Name.
	Hosts []string `json:"hosts,omitempty"`
}

// maxHosts limits Subject.Hosts.
const maxHosts = 64

var (
	label    = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`
	hostName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^` + label + `(\.` + label + `)*$`) })
)

// Check returns an error if no certificate can be for the subject.
func (s Subject) Check() error {
	if !slices.Contains([]Kind{Controller, Agent, Client}, s.Kind) {
		return fmt.Errorf("unknown kind %q", s.Kind)
	}
	if err := zeekapi.CheckName(s.Name); err != nil {
		return err
	}
	if len(s.Name) > 64 || strings.ContainsAny(s.Name, "*?[#;=,@'`$") || strings.HasPrefix(s.Name, "-") {
		return fmt.Errorf("name %q: want at most 64 characters without * ? [ # ; = , @ ' ` $, and no - at the beginning", s.Name)
	}
	if len(s.Hosts) > maxHosts {
		return fmt.Errorf("%d names of %s, limit is %d", len(s.Hosts), s.Name, maxHosts)
	}
	for _, host := range s.Hosts {
		if err := CheckHost(host); err != nil {
			return err
		}
	}
	return nil
}

// CheckHost returns an error unless host is an IP address without a zone, or can be the
// name of a host.
func CheckHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return nil
	}
	if len(host) > 253 || !hostName().MatchString(host) {
		return fmt.Errorf("%q is neither an IP address nor the name of a host", host)
	}
	return nil
}

// names returns all names that a certificate for the subject proves.
func (s Subject) names() []string {
	names := []string{s.Name}
	for _, host := range s.Hosts {
		if !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// usages returns the extended key usages of certificates for the subject.
func (s Subject) usages() []x509.ExtKeyUsage {
	if s.Kind == Client {
		return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

// errForeign is the error for a certificate that has not the form of those of an
// Authority.
var errForeign = errors.New("the certificate is not one that a controller has issued")

// subjectOf returns the subject of a certificate that an Authority has issued.
func subjectOf(c *x509.Certificate) (Subject, error) {
	if len(c.Subject.OrganizationalUnit) != 1 {
		return Subject{}, errForeign
	}
	s := Subject{Kind: Kind(c.Subject.OrganizationalUnit[0]), Name: c.Subject.CommonName}
	s.Hosts = slices.DeleteFunc(security.CertificateNames(c), func(name string) bool { return name == s.Name })
	if s.Check() != nil {
		return Subject{}, errForeign
	}
	return s, nil
}
