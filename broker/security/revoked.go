package security

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// ErrRevoked is wrapped by the error of a handshake with a peer whose certificate has
// been revoked, and by that of a connection that was closed because of that.
var ErrRevoked = errors.New("the peer's certificate has been revoked")

// maxRevokedFile limits the size of a file with lists of revoked certificates, in bytes.
const maxRevokedFile = 64 << 20

// revoked are the certificates that authorities have revoked. A nil revoked contains
// none.
type revoked map[revokedKey]struct{}

// revokedKey identifies a certificate.
type revokedKey struct{ issuer, serial string }

func keyOf(c *x509.Certificate) revokedKey {
	return revokedKey{string(c.RawIssuer), string(c.SerialNumber.Bytes())}
}

// check returns an error if one of the certificates has been revoked.
func (r revoked) check(chain []*x509.Certificate) error {
	for _, c := range chain {
		if _, found := r[keyOf(c)]; found {
			return fmt.Errorf("%w: %q", ErrRevoked, CertificateNames(c))
		}
	}
	return nil
}

// loadRevoked reads a PEM file with lists of revoked certificates, each signed by one of
// the issuers. It returns nil if file is empty. An expired list remains in force: a wrong
// clock must not accept a revoked certificate again, and a late update of the list must not
// stop a cluster.
func loadRevoked(file string, issuers []*x509.Certificate) (revoked, error) {
	if file == "" {
		return nil, nil
	}
	fail := func(err error) (revoked, error) {
		return nil, fmt.Errorf("security: revoked certificates: %s: %w", file, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("security: revoked certificates: %w", err)
	}
	if info.Size() > maxRevokedFile {
		return fail(fmt.Errorf("larger than %d bytes", maxRevokedFile))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("security: revoked certificates: %w", err)
	}
	all := make(revoked)
	lists := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return fail(err)
		}
		if err := signedByOne(list, issuers); err != nil {
			return fail(err)
		}
		for _, entry := range list.RevokedCertificateEntries {
			all[revokedKey{string(list.RawIssuer), string(entry.SerialNumber.Bytes())}] = struct{}{}
		}
		lists++
	}
	if lists == 0 {
		return fail(errors.New("contains no list (X509 CRL) in PEM format"))
	}
	return all, nil
}

// signedByOne returns an error unless one of the issuers has signed a list.
func signedByOne(list *x509.RevocationList, issuers []*x509.Certificate) error {
	var errs []error
	for _, issuer := range issuers {
		if string(issuer.RawSubject) != string(list.RawIssuer) {
			continue
		}
		err := list.CheckSignatureFrom(issuer)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return fmt.Errorf("the list is of %s, which is none of the authorities", list.Issuer)
	}
	return errors.Join(errs...)
}
