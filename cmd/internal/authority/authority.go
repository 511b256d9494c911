// Package authority is the certificate authority of a cluster. It lives in a directory
// beside the state of the controller: the key, the certificate, a register of
// invitations and certificates, and the list of revoked ones. Commands and a running
// controller may use the directory at the same time.
//
// An authority issues certificates for the names that an operator has given, never for
// those in a request.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

const (
	// DefaultLifetime is the lifetime of certificates, unless Create is told another
	// one.
	DefaultLifetime = 365 * 24 * time.Hour

	// MinLifetime is the shortest lifetime of certificates.
	MinLifetime = 10 * time.Second

	// ownLifetime is the lifetime of an authority.
	ownLifetime = 20 * 365 * 24 * time.Hour

	// InvitationLifetime is the lifetime of an invitation.
	InvitationLifetime = time.Hour

	// Certificates are valid from some time before they are issued, because clocks
	// differ: an hour, or a tenth of their lifetime if that is less.
	clockDifference = time.Hour
)

// Authority is a certificate authority. Its methods may be called concurrently, also in
// several processes.
type Authority struct {
	dir         string
	owner       ownedfile.Owner
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey

	mu    sync.Mutex // held while the register changes; queues the goroutines of this process
	known known
}

// Create makes a new authority in a directory, which must not contain one. Host is the
// name or address at which machines reach the controller. Lifetime is that of the
// certificates that it will issue.
func Create(dir, host string, lifetime time.Duration, owner ownedfile.Owner, now time.Time) (*Authority, error) {
	if err := CheckHost(host); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if lifetime < MinLifetime || lifetime > ownLifetime/2 {
		return nil, fmt.Errorf("authority: lifetime of certificates of %s: want %s to %s", lifetime, MinLifetime, ownLifetime/2)
	}
	if err := Missing(dir); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate, err := selfSigned(key, now)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := ownedfile.MakeDir(dir, 0o700, owner); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	a := &Authority{dir: dir, owner: owner, certificate: certificate, key: key}
	if err := a.write(&register{Format: registerFormat, Host: host, Lifetime: lifetime}); err != nil {
		return nil, err
	}
	if err := ownedfile.Write(filepath.Join(dir, certificateFile), a.PEM(), 0o644, owner); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if err := a.writeRevoked(&register{}, now); err != nil {
		return nil, err
	}
	// The key comes last: with it, the authority exists.
	encoded := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := ownedfile.Create(filepath.Join(dir, keyFile), encoded, 0o600, owner); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return a, nil
}

// Missing returns an error unless a directory contains no authority.
func Missing(dir string) error {
	name := filepath.Join(dir, keyFile)
	switch _, err := os.Stat(name); {
	case err == nil:
		return fmt.Errorf("authority: %s: %w", name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("authority: %w", err)
	}
	return nil
}

func selfSigned(key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "zeekwire authority " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now.Add(-clockDifference),
		NotAfter:              now.Add(ownLifetime),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a random serial number of 16 bytes, of which the first is not zero.
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// Open returns the authority in a directory.
func Open(dir string) (*Authority, error) {
	fail := func(name string, err error) (*Authority, error) {
		return nil, fmt.Errorf("authority: %s: %w", filepath.Join(dir, name), err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("authority: %s contains no authority; \"zeekwire bootstrap\" makes one", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fail(keyFile, fmt.Errorf("mode %#o: other users can use the key; set it to 0600", mode))
	}
	owner, err := ownedfile.Of(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	a := &Authority{dir: dir, owner: owner}
	der, err := readPEM(filepath.Join(dir, keyFile), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fail(keyFile, err)
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok {
		return fail(keyFile, fmt.Errorf("the key is a %T", key))
	}
	if der, err = readPEM(filepath.Join(dir, certificateFile), "CERTIFICATE"); err != nil {
		return nil, err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return fail(certificateFile, err)
	}
	if !a.key.PublicKey.Equal(a.certificate.PublicKey) {
		return fail(keyFile, errors.New("the key is not that of "+certificateFile))
	}
	_, err = a.read()
	return a, err
}

// readPEM returns the first block of a PEM file, which must be of the given kind.
func readPEM(name, kind string) ([]byte, error) {
	text, err := readLimited(name, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("authority: %s does not begin with a %s", name, kind)
	}
	return block.Bytes, nil
}

// Certificate returns the certificate of the authority. It must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.certificate }

// PEM returns the certificate of the authority as PEM.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// File returns the name of the file with the authority's certificate.
func (a *Authority) File() string { return filepath.Join(a.dir, certificateFile) }

// RevokedFile returns the name of the file with the list of revoked certificates.
func (a *Authority) RevokedFile() string { return RevokedFile(a.dir) }

// RevokedFile returns the name of the file with the list of revoked certificates of the
// authority in a directory.
func RevokedFile(dir string) string { return filepath.Join(dir, revokedFile) }

// Host returns the name or address at which machines reach the controller.
func (a *Authority) Host() (string, error) {
	r, err := a.read()
	if err != nil {
		return "", err
	}
	return r.Host, nil
}

// SetHost changes the name or address at which machines reach the controller, for later
// join files.
func (a *Authority) SetHost(now time.Time, host string) error {
	if err := CheckHost(host); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	return a.update(now, func(r *register) error {
		r.Host = host
		return nil
	})
}

// sign issues a certificate and adds it to the register.
func (a *Authority) sign(now time.Time, r *register, s Subject, public crypto.PublicKey) (*x509.Certificate, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := r.check(now, s); err != nil {
		return nil, err
	}
	if n := r.valid(now, s.Name); n >= maxValid {
		return nil, fmt.Errorf("%s has %d valid certificates, which is the limit; revoke them", s.Name, n)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.Name, OrganizationalUnit: []string{string(s.Kind)}},
		NotBefore:    now.Add(-min(clockDifference, r.Lifetime/10)),
		NotAfter:     now.Add(r.Lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  s.usages(),
	}
	if end := a.certificate.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	for _, name := range s.names() {
		if ip, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else if CheckHost(name) == nil {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	r.Issued = append(r.Issued, issued{Kind: s.Kind, Name: s.Name, Hosts: s.Hosts, Serial: serialOf(c), Expires: c.NotAfter})
	return c, nil
}

// serialOf returns the serial number of a certificate as text.
func serialOf(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// Issue issues a certificate for a subject and a key.
func (a *Authority) Issue(now time.Time, s Subject, public crypto.PublicKey) (c *x509.Certificate, err error) {
	err = a.update(now, func(r *register) error {
		c, err = a.sign(now, r, s, public)
		return err
	})
	return c, wrapped("certificate for "+s.Name, err)
}

func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Invite returns a secret whose holder can have one certificate for the subject, until
// the given time. An earlier invitation for the subject is void.
func (a *Authority) Invite(now time.Time, s Subject) (secret string, expires time.Time, err error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", time.Time{}, err
	}
	secret = base64.RawURLEncoding.EncodeToString(random)
	expires = now.Add(InvitationLifetime).UTC().Truncate(time.Second)
	err = a.update(now, func(r *register) error {
		if err := s.Check(); err != nil {
			return err
		}
		if err := r.check(now, s); err != nil {
			return err
		}
		r.cancel(s.Name)
		if len(r.Invitations) >= maxWaiting {
			return fmt.Errorf("there are %d invitations, which is the limit", len(r.Invitations))
		}
		r.Invitations = append(r.Invitations, invitation{Subject: s, Hash: hashOf([]byte(secret)), Made: now.UTC(), Expires: expires})
		return nil
	})
	return secret, expires, wrapped("invitation of "+s.Name, err)
}

// hashOf returns the SHA-256 of b in hexadecimal digits.
func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Errors of Invite, Join and Renew.
var (
	ErrUnknown = errors.New("the controller has not made this join file, or has forgotten it a day after it expired")
	ErrUsed    = errors.New("the join file has been used, and is valid once")
	ErrExpired = errors.New("the join file has expired, an hour after it was made")
	ErrClock   = errors.New("the join file was made in the future: the clock of the controller was set back")
	ErrEarly   = errors.New("the certificate has more than half of its lifetime left")
	ErrRevoked = errors.New("the certificate has been revoked")
	ErrRequest = errors.New("invalid request for a certificate")
	ErrNames   = errors.New("two certificates would prove the same name")
)

// clockStep is by how much the clock may be set back while an invitation is valid.
const clockStep = time.Minute

// Join issues the certificate of an invitation to the holder of its secret, for the key
// of a certificate request, whose names do not matter. It issues one certificate only,
// and returns that again for the same key.
func (a *Authority) Join(now time.Time, secret string, request []byte) (c *x509.Certificate, err error) {
	key, hash, err := keyOf(request)
	if err != nil {
		return nil, err
	}
	err = a.update(now, func(r *register) error {
		i := r.invitation(hashOf([]byte(secret)))
		switch {
		case i == nil:
			return ErrUnknown
		case i.Used != nil && i.Used.Key == hash:
			c, err = x509.ParseCertificate(i.Used.Certificate)
			return err
		case i.Used != nil:
			return ErrUsed
		case !now.Before(i.Expires):
			return ErrExpired
		case now.Before(i.Made.Add(-clockStep)):
			return ErrClock
		}
		if c, err = a.sign(now, r, i.Subject, key); err != nil {
			return err
		}
		i.Used = &use{Key: hash, Certificate: c.Raw}
		return nil
	})
	return c, err
}

// invitation returns the invitation with the hash of a secret, or nil. It takes the same
// time for all of them.
func (r *register) invitation(hash string) (found *invitation) {
	for i := range r.Invitations {
		if subtle.ConstantTimeCompare([]byte(r.Invitations[i].Hash), []byte(hash)) == 1 {
			found = &r.Invitations[i]
		}
	}
	return found
}

// keyOf returns the key in a certificate request that its holder has signed, and the
// SHA-256 of the key.
func keyOf(request []byte) (crypto.PublicKey, string, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrRequest, err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, "", fmt.Errorf("%w: the key is no ECDSA key of the curve P-256", ErrRequest)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return key, hashOf(csr.RawSubjectPublicKeyInfo), nil
}

// Renew issues a certificate with the names of an earlier one, for the key of a request.
// The caller has verified that the peer holds the key of the earlier one. At least half of
// its lifetime must be over.
func (a *Authority) Renew(now time.Time, old *x509.Certificate, request []byte) (c *x509.Certificate, err error) {
	key, _, err := keyOf(request)
	if err != nil {
		return nil, err
	}
	s, err := subjectOf(old)
	if err != nil {
		return nil, err
	}
	if old.NotAfter.Sub(now) > old.NotAfter.Sub(old.NotBefore)/2 {
		return nil, ErrEarly
	}
	err = a.update(now, func(r *register) error {
		if known := r.find(serialOf(old)); known != nil && known.Revoked != nil {
			return ErrRevoked
		}
		c, err = a.sign(now, r, s, key)
		return err
	})
	return c, err
}
