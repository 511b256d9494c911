package authority

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

var epoch = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

var sensor = Subject{Kind: Agent, Name: "sensor-1", Hosts: []string{"10.0.0.2", "sensor-1.example.org"}}

func create(t *testing.T) *Authority {
	t.Helper()
	a, err := Create(filepath.Join(t.TempDir(), "authority"), "controller.example.org", DefaultLifetime, ownedfile.Own(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reopen returns the authority as another process sees it.
func reopen(t *testing.T, a *Authority) *Authority {
	t.Helper()
	b, err := Open(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func invite(t *testing.T, a *Authority, s Subject) string {
	t.Helper()
	secret, expires, err := a.Invite(epoch, s)
	if err != nil {
		t.Fatal(err)
	}
	if !expires.Equal(epoch.Add(time.Hour)) {
		t.Errorf("the invitation expires at %s", expires)
	}
	return secret
}

// request returns a certificate request, which change may modify, and its key.
func request(t *testing.T, change ...func(*x509.CertificateRequest)) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := new(x509.CertificateRequest)
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// The certificate has the names of the invitation, whatever the request says.
func TestJoin(t *testing.T) {
	a := create(t)
	secret := invite(t, a, sensor)
	der, key := request(t, func(r *x509.CertificateRequest) {
		r.Subject = pkix.Name{CommonName: "admin", OrganizationalUnit: []string{"controller"}}
		r.DNSNames, r.IPAddresses = []string{"controller.example.org"}, []net.IP{net.IPv4(10, 0, 0, 1)}
	})
	c, err := reopen(t, a).Join(epoch.Add(59*time.Minute), secret, der)
	if err != nil {
		t.Fatal(err)
	}
	if names := security.CertificateNames(c); !slices.Equal(names, []string{"sensor-1", "sensor-1.example.org", "10.0.0.2"}) {
		t.Errorf("the certificate has the names %q", names)
	}
	if !key.PublicKey.Equal(c.PublicKey) || c.IsCA {
		t.Error("the certificate has another key, or is that of an authority")
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: epoch, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
	if got, err := subjectOf(c); err != nil || got.Kind != Agent || got.Name != "sensor-1" {
		t.Errorf("subject %v, %v", got, err)
	}
}

func TestClientsAreNoServers(t *testing.T) {
	a := create(t)
	der, _ := request(t)
	c, err := a.Join(epoch, invite(t, a, Subject{Kind: Client, Name: "alice"}), der)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usages %v", c.ExtKeyUsage)
	}
}

func TestJoinIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration
		edit  func(t *testing.T, a *Authority, secret string) string // returns the secret to use
		want  error
	}{
		"expired":             {after: time.Hour, want: ErrExpired},
		"expired a while ago": {after: 20 * time.Hour, want: ErrExpired},
		"forgotten":           {after: 26 * time.Hour, want: ErrUnknown},
		"clock set back":      {after: -10 * time.Minute, want: ErrClock},
		"wrong secret": {want: ErrUnknown, edit: func(_ *testing.T, _ *Authority, s string) string {
			return strings.ToUpper(s)
		}},
		"no secret": {want: ErrUnknown, edit: func(*testing.T, *Authority, string) string { return "" }},
		"the hash instead of the secret": {want: ErrUnknown, edit: func(_ *testing.T, _ *Authority, s string) string {
			return hashOf([]byte(s))
		}},
		"invited again": {want: ErrUnknown, edit: func(t *testing.T, a *Authority, s string) string {
			invite(t, a, sensor)
			return s
		}},
		"revoked": {want: ErrUnknown, edit: func(t *testing.T, a *Authority, s string) string {
			if _, n, err := a.Revoke(epoch, sensor.Name); n != 1 || err != nil {
				t.Fatalf("%d invitations, %v", n, err)
			}
			return s
		}},
		"used": {want: ErrUsed, edit: func(t *testing.T, a *Authority, s string) string {
			der, _ := request(t)
			if _, err := a.Join(epoch, s, der); err != nil {
				t.Fatal(err)
			}
			return s
		}},
		"used, after it expired": {after: 2 * time.Hour, want: ErrUsed, edit: func(t *testing.T, a *Authority, s string) string {
			der, _ := request(t)
			if _, err := a.Join(epoch, s, der); err != nil {
				t.Fatal(err)
			}
			return s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := create(t)
			secret := invite(t, a, sensor)
			if test.edit != nil {
				secret = test.edit(t, a, secret)
			}
			der, _ := request(t)
			c, err := reopen(t, a).Join(epoch.Add(test.after), secret, der)
			if !errors.Is(err, test.want) || c != nil {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A response may get lost: the same key gets the same certificate, also from another
// process, and no second one is issued.
func TestJoinAgainWithTheSameKey(t *testing.T) {
	a := create(t)
	secret := invite(t, a, sensor)
	der, _ := request(t)
	first, err := a.Join(epoch, secret, der)
	if err != nil {
		t.Fatal(err)
	}
	second, err := reopen(t, a).Join(epoch.Add(2*time.Hour), secret, der)
	if err != nil || !first.Equal(second) {
		t.Errorf("got another certificate, %v", err)
	}
	list, err := a.List(epoch)
	if err != nil || len(list) != 1 || list[0].State != "valid" {
		t.Errorf("list %v, %v", list, err)
	}
}

// Of many machines that use a join file at the same time, one gets a certificate.
func TestJoinConcurrently(t *testing.T) {
	a := create(t)
	secret := invite(t, a, sensor)
	var wg sync.WaitGroup
	var mu sync.Mutex
	results := make(map[string]int)
	for i := range 16 {
		process := a
		if i%2 == 0 {
			process = reopen(t, a)
		}
		der, _ := request(t)
		wg.Go(func() {
			_, err := process.Join(epoch, secret, der)
			mu.Lock()
			defer mu.Unlock()
			results[fmt.Sprint(err)]++
		})
	}
	wg.Wait()
	if results["<nil>"] != 1 || results[ErrUsed.Error()] != 15 {
		t.Errorf("results %v", results)
	}
}

// A join file counts as used before anybody gets the certificate.
func TestJoinIsStoredFirst(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can write everywhere")
	}
	a := create(t)
	secret := invite(t, a, sensor)
	der, _ := request(t)
	if err := os.Chmod(a.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(a.dir, 0o700) })
	if c, err := a.Join(epoch, secret, der); c != nil || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestHostileRequests(t *testing.T) {
	sign := func(key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := request(t)
	damaged := slices.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for name, der := range map[string][]byte{
		"empty": nil, "no DER": []byte("hello"), "truncated": good[:len(good)/2], "signature": damaged,
		"RSA": sign(weak), "Ed25519": sign(edwards), "P-521": sign(other), "trailing": append(slices.Clone(good), 0),
	} {
		a := create(t)
		secret := invite(t, a, sensor)
		if _, err := a.Join(epoch, secret, der); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := a.Join(epoch, secret, good); err != nil {
			t.Errorf("%s: the invitation cannot be used any more: %v", name, err)
		}
	}
}

func TestSubjects(t *testing.T) {
	for name, s := range map[string]Subject{
		"no name":         {Kind: Agent},
		"slash":           {Kind: Agent, Name: "../x"},
		"dots":            {Kind: Agent, Name: ".."},
		"pattern":         {Kind: Agent, Name: "sensor-*"},
		"comment":         {Kind: Client, Name: "#x"},
		"flag":            {Kind: Agent, Name: "-x"},
		"space":           {Kind: Agent, Name: "a b"},
		"long":            {Kind: Agent, Name: strings.Repeat("x", 65)},
		"no kind":         {Name: "x"},
		"unknown kind":    {Kind: "root", Name: "x"},
		"wildcard host":   {Kind: Agent, Name: "x", Hosts: []string{"*.example.org"}},
		"host with space": {Kind: Agent, Name: "x", Hosts: []string{"a b"}},
		"zone":            {Kind: Agent, Name: "x", Hosts: []string{"fe80::1%eth0"}},
		"many hosts":      {Kind: Agent, Name: "x", Hosts: make([]string, maxHosts+1)},
	} {
		if s.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, s := range []Subject{sensor, {Kind: Client, Name: "Äpfel.42_x"}, {Kind: Controller, Name: "c", Hosts: []string{"::1", "a.b-c.example"}}} {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
}

// No two parts of a cluster can prove the same name.
func TestNamesAreUnique(t *testing.T) {
	a := create(t)
	_, key := request(t)
	if _, err := a.Issue(epoch, Subject{Kind: Client, Name: "admin"}, &key.PublicKey); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(epoch, Subject{Kind: Controller, Name: "controller", Hosts: []string{"host-1", "10.0.0.1"}}, &key.PublicKey); err != nil {
		t.Fatal(err)
	}
	invite(t, a, sensor)
	for name, s := range map[string]Subject{
		"agent with the name of a client":       {Kind: Agent, Name: "admin"},
		"agent at the name of a client":         {Kind: Agent, Name: "sensor-2", Hosts: []string{"admin"}},
		"agent at the name of an agent":         {Kind: Agent, Name: "sensor-2", Hosts: []string{"sensor-1"}},
		"client with the name of an invitation": {Kind: Client, Name: "sensor-1"},
		"client with a host of an agent":        {Kind: Client, Name: "sensor-1.example.org"},
		"agent with the name of the controller": {Kind: Agent, Name: "controller"},
	} {
		if _, _, err := a.Invite(epoch, s); !errors.Is(err, ErrNames) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The machine of the controller may have an agent.
	invite(t, a, Subject{Kind: Agent, Name: "host-1", Hosts: []string{"10.0.0.1"}})
}

func TestCreateRefusesAnExistingAuthority(t *testing.T) {
	a := create(t)
	before, err := os.ReadFile(filepath.Join(a.dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(a.dir, "x", DefaultLifetime, ownedfile.Own(), epoch); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(a.dir, keyFile)); err != nil || string(before) != string(after) {
		t.Errorf("the key changed, %v", err)
	}
	for _, lifetime := range []time.Duration{0, time.Second, ownLifetime} {
		if _, err := Create(t.TempDir(), "x", lifetime, ownedfile.Own(), epoch); err == nil {
			t.Errorf("lifetime %s: no error", lifetime)
		}
	}
}

func TestModes(t *testing.T) {
	a := create(t)
	for name, want := range map[string]fs.FileMode{
		".": 0o700, keyFile: 0o600, registerFile: 0o600, certificateFile: 0o644, revokedFile: 0o644,
	} {
		info, err := os.Stat(filepath.Join(a.dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestOpenFails(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"key for all":      {func(dir string) error { return os.Chmod(filepath.Join(dir, keyFile), 0o644) }, "other users can use the key"},
		"no key":           {func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) }, "zeekwire bootstrap"},
		"empty key":        {func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), nil, 0o600) }, "does not begin with"},
		"no certificate":   {func(dir string) error { return os.Remove(filepath.Join(dir, certificateFile)) }, certificateFile},
		"no register":      {func(dir string) error { return os.Remove(filepath.Join(dir, registerFile)) }, registerFile},
		"damaged register": {func(dir string) error { return os.WriteFile(filepath.Join(dir, registerFile), []byte("{"), 0o600) }, registerFile},
		"register of later": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, registerFile), []byte(`{"format": 2}`), 0o600)
		}, "format 2"},
		"another certificate": {func(dir string) error {
			text, err := os.ReadFile(create(t).File())
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, certificateFile), text, 0o644)
		}, "not that of"},
	} {
		a := create(t)
		if err := test.damage(a.dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(a.dir); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestKnows(t *testing.T) {
	a := create(t)
	secret := invite(t, a, sensor)
	for text, want := range map[string]bool{secret: true, secret + "x": false, "": false} {
		if got, err := a.Knows(text); got != want || err != nil {
			t.Errorf("Knows(%q) = %v, %v", text, got, err)
		}
	}
	later, _, err := reopen(t, a).Invite(epoch, Subject{Kind: Agent, Name: "sensor-2"})
	if err != nil {
		t.Fatal(err)
	}
	if known, err := a.Knows(later); !known || err != nil {
		t.Errorf("an invitation of another process is not known: %v", err)
	}
}

func TestRenew(t *testing.T) {
	a := create(t)
	der, _ := request(t)
	old, err := a.Join(epoch, invite(t, a, sensor), der)
	if err != nil {
		t.Fatal(err)
	}
	again, key := request(t)
	if _, err := a.Renew(epoch.Add(DefaultLifetime/3), old, again); !errors.Is(err, ErrEarly) {
		t.Errorf("early: %v", err)
	}
	c, err := reopen(t, a).Renew(epoch.Add(DefaultLifetime*2/3), old, again)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(security.CertificateNames(c), security.CertificateNames(old)) || !slices.Equal(c.ExtKeyUsage, old.ExtKeyUsage) {
		t.Errorf("the certificate has the names %q", security.CertificateNames(c))
	}
	if !key.PublicKey.Equal(c.PublicKey) || !c.NotAfter.After(old.NotAfter) {
		t.Error("the certificate has the old key, or ends earlier")
	}
	if _, _, err := a.Revoke(epoch.Add(DefaultLifetime*2/3), sensor.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(epoch.Add(DefaultLifetime*2/3), old, again); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked: %v", err)
	}
}

// The certificates of one name are limited, so that a machine cannot fill the register.
func TestRenewIsLimited(t *testing.T) {
	a := create(t)
	der, _ := request(t)
	old, err := a.Join(epoch, invite(t, a, sensor), der)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = a.Renew(epoch.Add(DefaultLifetime*2/3), old, der)
	}
	if n > maxValid || err == nil {
		t.Errorf("%d renewals, %v", n, err)
	}
}

func TestRenewForeign(t *testing.T) {
	a := create(t)
	der, _ := request(t)
	for _, c := range []*x509.Certificate{
		{Subject: pkix.Name{CommonName: "x"}, NotBefore: epoch.AddDate(-1, 0, 0), NotAfter: epoch},
		{Subject: pkix.Name{CommonName: "x", OrganizationalUnit: []string{"root"}}, NotBefore: epoch.AddDate(-1, 0, 0), NotAfter: epoch},
	} {
		if _, err := a.Renew(epoch, c, der); err == nil {
			t.Errorf("renewed %v", c.Subject)
		}
	}
}

func TestRevoke(t *testing.T) {
	a := create(t)
	der, _ := request(t)
	c, err := a.Join(epoch, invite(t, a, sensor), der)
	if err != nil {
		t.Fatal(err)
	}
	invite(t, a, sensor)
	if n, m, err := reopen(t, a).Revoke(epoch, sensor.Name); n != 1 || m != 1 || err != nil {
		t.Fatalf("%d certificates, %d invitations, %v", n, m, err)
	}
	der, err = readPEM(a.RevokedFile(), "X509 CRL")
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(a.Certificate()); err != nil {
		t.Error(err)
	}
	if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(c.SerialNumber) != 0 || list.Number.Int64() != 2 {
		t.Errorf("list %v", list)
	}
	for _, name := range []string{sensor.Name, "sensor-9"} {
		if _, _, err := a.Revoke(epoch, name); err == nil {
			t.Errorf("%s is revoked again", name)
		}
	}
	if _, err := a.Join(epoch, invite(t, a, sensor), must(request(t))); err != nil {
		t.Errorf("the name cannot join again: %v", err)
	}
}

func must(der []byte, _ *ecdsa.PrivateKey) []byte { return der }
