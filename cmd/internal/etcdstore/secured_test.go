package etcdstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// secured is an etcd with TLS and users.
type secured struct {
	*etcdtest.Cluster
	ca    *certtest.Authority
	roots *x509.CertPool
}

// startSecured starts an etcd to which only the users root and zeekwire have access, the
// latter only to keys below a prefix.
func startSecured(t *testing.T, prefix string) *secured {
	t.Helper()
	s := &secured{ca: certtest.New(t), roots: x509.NewCertPool()}
	text, err := os.ReadFile(s.ca.File)
	if err != nil || !s.roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	s.Cluster = etcdtest.StartWith(t, 3, etcdtest.Options{TLS: func(members []net.IP) etcdtest.TLS {
		cert, key := s.ca.Issue(t, "etcd", func(c *x509.Certificate) { c.IPAddresses = members })
		return etcdtest.TLS{CA: s.ca.File, Cert: cert, Key: key}
	}})
	for _, args := range []string{
		"user add root:secret", "user grant-role root root",
		"user add zeekwire:zeek", "role add zeekwire", "role grant-permission --prefix=true zeekwire readwrite " + prefix + "/",
		"user grant-role zeekwire zeekwire", "auth enable",
	} {
		s.Control(strings.Fields(args)...)
	}
	s.User = "root:secret"
	return s
}

// client returns the configuration of a client whose certificate has the given name.
func (s *secured) client(t *testing.T, prefix, name string) Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(s.ca.Issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Endpoints: s.Endpoints(), Prefix: prefix, Compact: time.Second, Member: zeekapi.ControllerMember{Name: name},
		TLS: &tls.Config{RootCAs: s.roots, Certificates: []tls.Certificate{pair}},
	}
}

// Controllers use an etcd with certificates and users, whose permissions are those for the
// keys below the prefix. The user comes with a password, or is the name in the certificate.
func TestSecuredEtcd(t *testing.T) {
	const prefix = "/secured"
	etcd := startSecured(t, prefix)
	one := etcd.client(t, prefix, "anybody")
	one.Member.Name, one.User, one.Password = "one", "zeekwire", "zeek"
	two := etcd.client(t, prefix, "zeekwire")
	two.Member.Name = "two"
	a, b := startConfig(t, one), startConfig(t, two)
	first := leader(t, 0, a, b)
	for i := range 2 { // each of them leads once
		turn := first.turn()
		if err := turn.Store.Save(staged("c1")); err != nil {
			t.Fatalf("%s: %v", first.name, err)
		}
		if err := turn.Store.Rewrite(controller.State{Term: turn.Post.Term, Configs: turn.State.Configs}); err != nil {
			t.Fatalf("%s: %v", first.name, err)
		}
		time.Sleep(2 * refreshInterval) // time to compact and to ask for alarms
		if broken, err := turn.Store.Check(); broken || err != nil {
			t.Errorf("%s: %v", first.name, err)
		}
		if !first.turn().Post.Leads {
			t.Errorf("%s leads no longer", first.name)
		}
		if i == 0 {
			first.StepDown()
			first = leader(t, turn.Post.Term, a, b)
		}
	}
	a.stop()
	b.stop()
	if err := Write(t.Context(), two, controller.State{}.After(staged("c2")), nil); err != nil {
		t.Error(err)
	}
	if state, ok, err := Read(t.Context(), one); err != nil || !ok || state.Configs[controller.Staged].ID != "c2" {
		t.Errorf("%v, %v, %v", state.Configs, ok, err)
	}
}

// Other clients have no access, and the errors give the reason.
func TestSecuredEtcdRefuses(t *testing.T) {
	const prefix = "/secured"
	etcd := startSecured(t, prefix)
	good := etcd.client(t, prefix, "anybody")
	good.User, good.Password = "zeekwire", "zeek"
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"wrong password", func(c *Config) { c.Password = "wrong" }, "authentication failed"},
		{"no user", func(c *Config) { c.User = "" }, "permission denied"},
		{"another prefix", func(c *Config) { c.Prefix = "/other" }, "permission denied"},
		{"no certificate", func(c *Config) { c.TLS = &tls.Config{RootCAs: etcd.roots} }, "certificate"},
		{"unknown authority", func(c *Config) { c.TLS = &tls.Config{RootCAs: x509.NewCertPool()} }, "certificate signed by unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, _, err := Read(ctx, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Read: %v, want %q", err, test.want)
			}
			r := startConfig(t, cfg)
			until(t, "the reason is reported", func() bool { return strings.Contains(r.turn().Post.Trouble, test.want) })
		})
	}
}
