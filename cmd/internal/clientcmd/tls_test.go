package clientcmd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// serveInstances answers requests for instances with an empty list until the
// test ends.
func serveInstances(t *testing.T, bus broker.Bus) {
	t.Helper()
	controller := newController(t, func(m zeekapi.Message) zeekapi.Message {
		return zeekapi.GetInstancesCall.Respond(m.RequestID(), fake.Success([]zeekapi.Instance{})...)
	})
	if err := controller.Attach(bus); err != nil {
		t.Fatal(err)
	}
}

// TestServerCertificate checks the TLS settings with a server that has a certificate.
func TestServerCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate := writeCertificate(t, dir)
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(server)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	serveInstances(t, server)
	address := web.Listener.Addr().String()

	set := func(items ...string) []string {
		args := []string{"--controller", address}
		for _, item := range items {
			args = append(args, "--set", "ssl."+item)
		}
		return append(args, "get-instances")
	}
	cert, key := "certificate="+filepath.Join(dir, "cert.pem"), "keyfile="+filepath.Join(dir, "key.pem")
	otherDir := t.TempDir()
	other := filepath.Join(otherDir, "cert.pem")
	encrypted, ca := "keyfile="+filepath.Join(dir, "key.enc.pem"), "cafile="+filepath.Join(dir, "cert.pem")
	writeCertificate(t, otherDir)
	connected := outcome{stdout: "{}\n"}
	tests := []struct {
		name  string
		items []string
		want  string // in stderr; "" if connected
	}{
		{"not verified", []string{"enable=yes"}, ""},
		{"verified", []string{"enable=yes", cert, key, "cafile=" + filepath.Join(dir, "cert.pem")}, ""},
		{"verified, authorities in a directory", []string{"enable=yes", cert, key, "capath=" + dir}, ""},
		{"verified, without client certificate", []string{"enable=yes", ca}, ""},
		{"signed by another authority", []string{"enable=yes", "cafile=" + other}, "socket TLS error in connect()"},
		{"unknown authority", []string{"enable=yes", cert, key}, "socket TLS error in connect()"},
		{"invalid key file", []string{"enable=yes", cert, "keyfile=" + filepath.Join(dir, "cert.pem")}, "cannot configure connection to"},
		{"invalid CA file", []string{"enable=yes", cert, key, "cafile=" + filepath.Join(dir, "key.pem")}, "no trusted CA found in"},
		{"key with a passphrase", []string{"enable=yes", cert, encrypted, "passphrase=sesame", ca}, ""},
		{"wrong passphrase", []string{"enable=yes", cert, encrypted, "passphrase=x", ca}, "key.enc.pem: "},
		{"missing passphrase", []string{"enable=yes", cert, encrypted, ca}, "it is encrypted and there is no passphrase"},
		{"TLS not enabled", nil, "met TLS; set ssl.enable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := runCommand(t, new(clientcmd.Tool), "", set(test.items...)...)
			if test.want == "" {
				got.want(t, connected)
			} else if got.exit != 1 || got.stdout != "" || !strings.Contains(got.stderr, test.want) {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
}

// TestCommonName connects to a server whose certificate has the host only as common
// name, as zeek-client can.
func TestCommonName(t *testing.T) {
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ca := certtest.New(t)
	certFile, keyFile := ca.Issue(t, "localhost")
	certificate, err := security.LoadCertificate(certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(server)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	serveInstances(t, server)
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	args := []string{"--controller", "localhost:" + port, "--set", "ssl.enable=yes", "--set", "ssl.cafile=" + ca.File, "get-instances"}
	got := runCommand(t, &clientcmd.Tool{Extended: true}, "", args...)
	const warning = `the controller's certificate has the name "localhost" only as common name: issue one with the subject alternative name DNS:localhost`
	if got.exit != 0 || got.stdout != "{}\n" || strings.Count(got.stderr, warning) != 1 {
		t.Errorf("got %+v, want a connection with the warning %q", got, warning)
	}
	got = runCommand(t, &clientcmd.Tool{Extended: true}, "", append([]string{"--set", "ssl.require_altname=yes"}, args...)...)
	if got.exit == 0 || !strings.Contains(got.stderr, `has the name "localhost" only as common name`) {
		t.Errorf("got %+v, want a refusal", got)
	}
}

// TestClientCertificate checks the TLS settings with a server that requires client
// certificates.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate := writeCertificate(t, dir)
	authority, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(authority)
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(server)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	serveInstances(t, server)
	args := []string{"--controller", web.Listener.Addr().String(), "--set", "ssl.enable=yes"}

	got := runCommand(t, new(clientcmd.Tool), "", append(args, "get-instances")...)
	if want := "met TLS that requires a client certificate; set ssl.certificate and ssl.keyfile"; got.exit != 1 || !strings.Contains(got.stderr, want) {
		t.Errorf("%+v, want %q", got, want)
	}
	for key, name := range map[string]string{"certificate": "cert.pem", "keyfile": "key.pem", "cafile": "cert.pem"} {
		args = append(args, "--set", "ssl."+key+"="+filepath.Join(dir, name))
	}
	runCommand(t, new(clientcmd.Tool), "", append(args, "get-instances")...).want(t, outcome{stdout: "{}\n"})
}

// TestNativeCertificates checks the TLS settings with a native controller that
// requires certificates.
func TestNativeCertificates(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.enc.pem")
	layer, err := security.New(security.Config{Mode: security.Mutual, CertFile: cert, KeyFile: key, CAFile: cert, Passphrase: "sesame"})
	if err != nil {
		t.Fatal(err)
	}
	controller, err := peering.New(peering.Config{TLS: layer.Secure, Subscriptions: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	address, err := controller.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveInstances(t, controller)
	args := []string{"--controller", address.String(), "-v", "--set", "client.peering_retry_delay_secs=30"} // also the limit of an attempt
	for _, setting := range []string{"enable=yes", "certificate=" + cert, "keyfile=" + key, "passphrase=sesame"} {
		args = append(args, "--set", "ssl."+setting)
	}
	withCA := append(args[:len(args):len(args)], "--set", "ssl.cafile="+cert)
	for _, transport := range []string{"auto", "native"} {
		runCommand(t, new(clientcmd.Tool), "", append(withCA, "get-instances", "--transport", transport)...).want(t, outcome{stdout: "{}\n",
			stderr: "info: found native at " + address.String() + ", with verified TLS, dialect Management\n"})
	}
	runCommand(t, new(clientcmd.Tool), "", append(args, "get-instances", "--transport", "native")...).want(t, outcome{exit: 1,
		stderr: "error: cannot configure connection to " + address.String() + ": SSL certificates over a native connection need both ssl.certificate and ssl.cafile\n"})
	got := runCommand(t, new(clientcmd.Tool), "", "--controller", address.String(), "--transport", "native", "get-instances")
	if got.exit != 1 || !strings.HasPrefix(got.stderr, "error: cannot talk to controller ") || !strings.Contains(got.stderr, "it may require certificates") {
		t.Errorf("without a certificate: %+v", got)
	}
}

// TestFallbackToAnonymousTLS checks that the client connects to a server without
// certificate. Like Zeek, the server rejects other cipher suites with an alert.
func TestFallbackToAnonymousTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		t.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: server}
	served := make(chan struct{})
	go func() {
		defer close(served)
		web.Serve(&anonymousListener{Listener: l, layer: layer})
	}()
	defer func() {
		web.Close()
		<-served
	}()
	serveInstances(t, server)
	args := []string{"--controller", l.Addr().String(), "--set", "ssl.enable=on", "get-instances"}
	runCommand(t, new(clientcmd.Tool), "", args...).want(t, outcome{stdout: "{}\n"})
}

// anonymousListener rejects the first connection with a TLS alert, and serves later ones
// with anonymous TLS.
type anonymousListener struct {
	net.Listener
	layer   *security.Layer
	refused bool
}

func (l *anonymousListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.refused {
		return l.layer.Secure(context.Background(), conn, false)
	}
	l.refused = true
	hello := make([]byte, 4096)
	conn.Read(hello)
	conn.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // fatal handshake_failure
	conn.Close()
	return l.Accept()
}

// writeCertificate writes a self-signed certificate to cert.pem, and its private key
// to key.pem and, encrypted, to key.enc.pem.
func writeCertificate(t *testing.T, dir string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := pkcs8.MarshalPrivateKey(key, []byte("sesame"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"key.enc.pem": {Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted},
		"cert.pem":    {Type: "CERTIFICATE", Bytes: der},
		"key.pem":     {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
