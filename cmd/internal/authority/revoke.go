package authority

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// cancel removes the unused invitations for a name and returns their number.
func (r *register) cancel(name string) int {
	before := len(r.Invitations)
	r.Invitations = slices.DeleteFunc(r.Invitations, func(i invitation) bool { return i.Used == nil && i.Name == name })
	return before - len(r.Invitations)
}

// Revoke revokes all certificates for a name, and makes its invitations void. It
// returns their numbers. A new invitation for the name is possible.
func (a *Authority) Revoke(now time.Time, name string) (certificates, invitations int, err error) {
	err = a.update(now, func(r *register) error {
		invitations = r.cancel(name)
		for i := range r.Issued {
			c := &r.Issued[i]
			if c.Name == name && c.Revoked == nil {
				at := now.UTC().Truncate(time.Second)
				c.Revoked = &at
				certificates++
			}
		}
		if certificates+invitations == 0 {
			return fmt.Errorf("authority: %q has no certificate that is valid, and no invitation", name)
		}
		if certificates == 0 {
			return nil
		}
		// The list comes first: a crash in between revokes too much, not too little.
		r.Revision++
		return a.writeRevoked(r, now)
	})
	return certificates, invitations, err
}

// writeRevoked writes the list of revoked certificates.
func (a *Authority) writeRevoked(r *register, now time.Time) error {
	list := &x509.RevocationList{
		Number:     big.NewInt(r.Revision + 1),
		ThisUpdate: now.Add(-clockDifference),
		NextUpdate: a.certificate.NotAfter,
	}
	for _, c := range r.Issued {
		if c.Revoked == nil {
			continue
		}
		serial, ok := new(big.Int).SetString(c.Serial, 16)
		if !ok {
			return fmt.Errorf("authority: serial number %q in %s", c.Serial, registerFile)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: *c.Revoked})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, a.key)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	if err := ownedfile.Write(a.RevokedFile(), text, 0o644, a.owner); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	return nil
}

// Newest returns when the newest certificate for each name expires, without revoked ones.
func (a *Authority) Newest() (map[string]time.Time, error) {
	r, err := a.cached()
	if err != nil {
		return nil, err
	}
	newest := make(map[string]time.Time)
	for _, c := range r.Issued {
		if c.Revoked == nil && c.Expires.After(newest[c.Name]) {
			newest[c.Name] = c.Expires
		}
	}
	return newest, nil
}

// Entry describes a certificate or an invitation, for people.
type Entry struct {
	Kind    Kind
	Name    string
	State   string // "invited", "valid", "expired" or "revoked"
	Expires time.Time
}

// List returns the certificates, and the invitations that wait, by name.
func (a *Authority) List(now time.Time) ([]Entry, error) {
	r, err := a.read()
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, i := range r.Invitations {
		if i.Used == nil && now.Before(i.Expires) {
			list = append(list, Entry{i.Kind, i.Name, "invited", i.Expires})
		}
	}
	for _, c := range r.Issued {
		state := "valid"
		switch {
		case c.Revoked != nil:
			state = "revoked"
		case !now.Before(c.Expires):
			state = "expired"
		}
		list = append(list, Entry{c.Kind, c.Name, state, c.Expires})
	}
	slices.SortStableFunc(list, func(x, y Entry) int {
		switch {
		case x.Name < y.Name:
			return -1
		case x.Name > y.Name:
			return 1
		}
		return x.Expires.Compare(y.Expires)
	})
	return list, nil
}
