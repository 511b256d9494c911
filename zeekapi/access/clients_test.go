package access

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
)

const secret = "0123456789abcdef"

func hashOf(token string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(token))) }

func proved(name, proof string) *broker.Identity {
	return &broker.Identity{Names: []string{name}, Proof: proof}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clients")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // independent of the umask
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, text string) *Clients {
	t.Helper()
	c, warning, err := Load(write(t, text, 0o600))
	if err != nil || warning != nil {
		t.Fatal(warning, err)
	}
	return c
}

const example = `
# who       may        because of
alice       full       sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
	grafana	read-only	token:0123456789abcdef
ops-root    read-only  certificate
ops-*       full       certificate
`

func TestRole(t *testing.T) {
	c := load(t, example)
	for _, tt := range []struct {
		id   *broker.Identity
		want Role
	}{
		{proved("alice", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"), Full},
		{proved("grafana", strings.TrimPrefix(hashOf(secret), "sha256:")), ReadOnly},
		{proved("alice", strings.TrimPrefix(hashOf(secret), "sha256:")), None}, // the token of another client
		{&broker.Identity{Names: []string{"alice"}}, None},
		{&broker.Identity{Names: []string{"ops-1"}}, None},
		{&broker.Identity{Names: []string{"ops-1"}, Certified: true}, Full},
		{&broker.Identity{Names: []string{"other", "ops-1"}, Certified: true}, Full},
		{&broker.Identity{Names: []string{"ops-1", "ops-root"}, Certified: true}, ReadOnly},
		{&broker.Identity{Names: []string{"alice"}, Certified: true}, None},
		{&broker.Identity{Certified: true}, None},
		{&broker.Identity{}, None},
		{nil, None},
	} {
		if got := c.Role(broker.Peer{Name: "alice", Identity: tt.id}); got != tt.want {
			t.Errorf("role of %+v is %s, want %s", tt.id, got, tt.want)
		}
	}
	if Everybody(Full).Role(broker.Peer{}) != Full {
		t.Error("Everybody(Full) returns another role")
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"missing field", "\nalice full", ":2: 2 fields, want name, role and proof"},
		{"unknown role", "alice admin certificate", `:1: unknown role "admin", want read-only or full`},
		{"role none", "alice none certificate", `unknown role "none"`},
		{"unknown proof", "alice full " + secret, "unknown kind of proof"},
		{"short token", "alice full token:abc", `:1: the token of "alice" has 3 characters, want 16 or more`},
		{"short hash", "alice full sha256:abcd", `does not have 64 hexadecimal digits`},
		{"long hash", "alice full " + hashOf(secret) + "00", `does not have 64 hexadecimal digits`},
		{"invalid hash", "alice full sha256:" + strings.Repeat("x", 64), `does not have 64 hexadecimal digits`},
		{"certificate with value", "alice full certificate:x", "takes no value"},
		{"invalid pattern", "[ full certificate", `name "[": syntax error in pattern`},
		{"same token", "a full token:" + secret + "\nb full " + hashOf(secret), `:2: "b" has the same token as "a"`},
		{"two roles", "a full token:" + secret + "\na read-only " + hashOf("x"), `:2: "a" has the roles full and read-only`},
		{"too large", strings.Repeat("#\n", 1<<19+1), "is larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Load(write(t, tt.text, 0o600))
			if err == nil || !strings.HasPrefix(err.Error(), "access: clients: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error contains a secret: %v", err)
			}
		})
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestLoadEncodings checks that a byte order mark does not become part of a name.
func TestLoadEncodings(t *testing.T) {
	clients, _, err := Load(write(t, "\ufeffops full token:"+secret+"\r\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{RemoteAddr: "127.0.0.1:4711", Header: http.Header{"Authorization": {"Bearer " + secret}}}
	if id, err := clients.Authorize(r); err != nil || id.Names[0] != "ops" {
		t.Errorf("%+v, %v, want the client ops", id, err)
	}
	if _, _, err := Load(write(t, "\xff\xfeo\x00", 0o600)); err == nil || !strings.Contains(err.Error(), "the file is UTF-16; save it as UTF-8") {
		t.Error(err)
	}
}

func TestLoadChecksFileMode(t *testing.T) {
	plain, hashed := "a full token:"+secret, "a full "+hashOf(secret)
	for _, tt := range []struct {
		text          string
		mode          os.FileMode
		warning, fail bool
	}{
		{plain, 0o600, false, false},
		{plain, 0o640, false, false},
		{plain, 0o644, true, false},
		{hashed, 0o644, false, false},
		{hashed, 0o660, false, true},
		{hashed, 0o602, false, true},
	} {
		_, warning, err := Load(write(t, tt.text, tt.mode))
		if errors.Is(warning, ErrExposed) != tt.warning || (err != nil) != tt.fail {
			t.Errorf("mode %#o of %.20q: warning %v, error %v", tt.mode, tt.text, warning, err)
		}
	}
}

func TestReloadKeepsClientsAfterError(t *testing.T) {
	c := load(t, "a full token:"+secret)
	a := broker.Peer{Identity: proved("a", strings.TrimPrefix(hashOf(secret), "sha256:"))}
	if err := os.WriteFile(c.path, []byte("a full invalid"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(); err == nil || c.Role(a) != Full {
		t.Errorf("after a failed reload (%v), a is %s", err, c.Role(a))
	}
	if err := os.WriteFile(c.path, []byte("a read-only token:"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(); err != nil || c.Role(a) != ReadOnly {
		t.Errorf("after the reload (%v), a is %s", err, c.Role(a))
	}
	if err := os.WriteFile(c.path, []byte("a full token:another-"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(); err != nil || c.Role(a) != None {
		t.Errorf("with the earlier token of a (%v), a is %s", err, c.Role(a))
	}
}

func TestAuthorize(t *testing.T) {
	c := load(t, example)
	encrypted := &tls.ConnectionState{}
	verified := func(names ...string) *tls.ConnectionState {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names[1:]}
		return &tls.ConnectionState{
			PeerCertificates: []*x509.Certificate{cert},
			VerifiedChains:   [][]*x509.Certificate{{cert}},
		}
	}
	unverified := verified("ops-1")
	unverified.VerifiedChains = nil
	const remote, local = "192.0.2.1:40000", "127.0.0.1:40000"
	for _, tt := range []struct {
		name      string
		from      string
		tls       *tls.ConnectionState
		header    string
		want      string
		certified bool
		err       error
	}{
		{"token", remote, encrypted, "Bearer " + secret, "grafana", false, nil},
		{"unknown token", remote, encrypted, "bearer  test-test-test-test", "", false, ErrWrongToken},
		{"hash of the token", remote, encrypted, "Bearer 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "", false, ErrWrongToken},
		{"wrong token", remote, encrypted, "Bearer 0123456789abcdeF", "", false, ErrWrongToken},
		{"longer token", remote, encrypted, "Bearer " + secret + "0", "", false, ErrWrongToken},
		{"empty token", remote, encrypted, "Bearer", "", false, ErrWrongToken},
		{"other scheme", remote, encrypted, "Basic " + secret, "", false, ErrNoProof},
		{"token without TLS", remote, nil, "Bearer " + secret, "", false, ErrPlainToken},
		{"wrong token without TLS", remote, nil, "Bearer x", "", false, ErrPlainToken},
		{"token without TLS from this machine", local, nil, "Bearer " + secret, "grafana", false, nil},
		{"token without TLS from this machine, IPv6", "[::1]:1", nil, "Bearer " + secret, "grafana", false, nil},
		{"nothing", local, encrypted, "", "", false, ErrNoProof},
		{"no token without TLS from this machine", local, nil, "", "", false, ErrNoProof},
		{"certificate", remote, verified("host", "ops-1"), "", "host", true, nil},
		{"unverified certificate", remote, unverified, "", "", false, ErrNoProof},
		{"token before certificate", remote, verified("ops-1"), "Bearer " + secret, "grafana", false, nil},
		{"wrong token before certificate", remote, verified("ops-1"), "Bearer x", "", false, ErrWrongToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}, RemoteAddr: tt.from, TLS: tt.tls}
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			id, err := c.Authorize(r)
			if !errors.Is(err, tt.err) || id.Name() != tt.want || id != nil && id.Certified != tt.certified {
				t.Errorf("got %+v and %v, want %q and %v", id, err, tt.want, tt.err)
			}
		})
	}
	r := &http.Request{RemoteAddr: remote, TLS: verified("mallory")}
	if _, err := c.Authorize(r); err == nil || !strings.Contains(err.Error(), `unknown certificate for ["mallory"]`) {
		t.Errorf("unknown certificate: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("a full sha256:\n# x\n\x00 read-only token:")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parse(text)
		if err != nil {
			return
		}
		l.token(text)
		l.certificate([]string{text})
	})
}
