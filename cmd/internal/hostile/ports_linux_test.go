package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// ports are the ports of a cluster other than those of controller and agent: the HTTP API, the
// port for machines that join, and a gateway to a Zeek that publishes without end.
type ports struct {
	t      *testing.T
	binary string
	dir    string

	api, join string // addresses of the controller; join is "" if no machines can join
	gateway   *process
	readers   string // address of the gateway
	trap      string // address to which the gateway connects, besides the Zeek
	joined    int    // machines
	uploaded  int    // sites
}

func newPorts(t *testing.T, binary string) *ports {
	t.Helper()
	p := &ports{
		t: t, binary: binary, dir: t.TempDir(),
		api: peertest.FreeAddress(t), readers: peertest.FreeAddress(t), trap: peertest.FreeAddress(t),
	}
	p.gateway = startProcess(t, binary, "gateway", peertest.FreeAddress(t), 0,
		"--zeek", "zeek="+publisher(t)+",trap="+p.trap, "--tls", "off", "--listen", p.readers, "--connect-retry", "100ms")
	return p
}

// publisher starts an endpoint that publishes an event every 20 ms, and returns its address.
func publisher(t *testing.T) string {
	t.Helper()
	e, err := peering.New(peering.Config{})
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		e.Close()
		<-done
	})
	go func() {
		defer close(done)
		event := broker.NewEvent("Some::event", broker.String(strings.Repeat("x", 1000))).Value()
		for e.Publish(context.Background(), "zeek/some", event) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return at.String()
}

// target sets the target of an attack at one of the ports.
func (p *ports) target(port string, t *attack.Target) {
	t.HTTPS = true
	switch port {
	case "api":
		t.Address, t.Post, t.Stream = p.api, "/api/v1/checks", "/api/v1/events"
	case "join":
		t.Address, t.Post, t.Stream = p.join, "/join", "/revoked"
	case "gateway":
		t.Address, t.TLS, t.Post, t.Stream = p.readers, false, "/v1/events", "/v1/events"
	case "gateway dials":
		t.Address, t.Listen, t.TLS = p.trap, true, false
	}
}

// settings are the flags for the files of a machine.
func (p *ports) settings(machine string) []string {
	return []string{"--config-dir", filepath.Join(p.dir, machine), "--state-dir", filepath.Join(p.dir, machine+"-state")}
}

// user returns the name of the user that runs the test.
func (p *ports) user() string {
	u, err := user.Current()
	if err != nil {
		p.t.Fatal(err)
	}
	return u.Username
}

// setup runs a command that must succeed.
func (p *ports) setup(args ...string) {
	p.t.Helper()
	if out, err := exec.Command(p.binary, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}

// bootstrap makes the certificates of the cluster, and returns the credentials of
// controller and clients. The controller has further addresses.
func (p *ports) bootstrap(addresses ...string) credentials {
	p.t.Helper()
	p.join = peertest.FreeAddress(p.t)
	args := append([]string{"bootstrap", "--agent", instance, "--client", "operator", "--output", p.dir, "--owner", p.user()}, p.settings("controller")...)
	for _, a := range append([]string{p.join, p.api}, addresses...) {
		host, _, _ := strings.Cut(a, ":")
		args = append(args, "--name", host)
	}
	p.setup(args...)
	certificates := filepath.Join(p.dir, "controller-state", "tls")
	client, authority := filepath.Join(certificates, "client.pem"), filepath.Join(certificates, "ca.pem")
	pair, err := tls.LoadX509KeyPair(client, client)
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(authority); err != nil || !roots.AppendCertsFromPEM(text) {
		p.t.Fatal("the certificate of the authority cannot be read: ", err)
	}
	return credentials{
		controller: []string{"--config", filepath.Join(p.dir, "controller", "controller.conf"), "--join-listen", p.join, "--http-listen", p.api},
		client:     []string{"--set", "ssl.enable=yes", "--set", "ssl.certificate=" + client, "--set", "ssl.keyfile=" + client, "--set", "ssl.cafile=" + authority},
		env:        []string{"XDG_CONFIG_HOME=" + filepath.Join(p.dir, "home")},
		tls:        &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
}

// joinAgent gets the certificate of the agent when the controller listens, and returns the
// flags of the agent.
func (p *ports) joinAgent() []string {
	p.t.Helper()
	file := p.joinFile(instance)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", p.join)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(began) > answerLimit {
			p.t.Fatal(err)
		}
	}
	p.setup(append([]string{"join", file, "--owner", p.user()}, p.settings("agent")...)...)
	return []string{"--config", filepath.Join(p.dir, "agent", "agent.conf"), "--renew-from", p.join}
}

// joinFile returns the name of a join file, after it has been given the controller's port.
func (p *ports) joinFile(name string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, name+".join")
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	_, port, _ := strings.Cut(p.join, ":")
	text = bytes.Replace(text, []byte(`"join_port": 2148`), []byte(`"join_port": `+port), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// use uses all ports, as the operator, machines and readers do.
func (p *ports) use(ctx context.Context, o *operator) error {
	if err := p.read(ctx, o); err != nil {
		return err
	}
	scheme := "http://"
	if p.join != "" {
		scheme = "https://"
		if err := p.invite(ctx, o); err != nil {
			return err
		}
	}
	if err := o.run(ctx, "get-nodes over HTTP", slices.Concat([]string{"--controller", scheme + p.api}, o.cluster.credentials.client, []string{"get-nodes"}), []string{instance, worker}); err != nil {
		return err
	}
	return p.upload(ctx, o)
}

// upload deploys a site that the controller does not have.
func (p *ports) upload(ctx context.Context, o *operator) error {
	p.uploaded++
	dir := filepath.Join(p.dir, "site")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "local.zeek"), fmt.Appendf(nil, "# %d\n", p.uploaded), 0o600); err != nil {
		return err
	}
	return o.command(ctx, []string{"deploy-config", o.cluster.configs[o.rounds%2], "--site", dir}, []string{worker})
}

// invite invites another client, which joins.
func (p *ports) invite(ctx context.Context, o *operator) error {
	p.joined++
	name := fmt.Sprint("client-", p.joined)
	p.setup(append([]string{"invite", "--client", "--output", p.dir, name}, p.settings("controller")...)...)
	defer os.RemoveAll(filepath.Join(p.dir, "home"))
	return o.run(ctx, "join", []string{"join", p.joinFile(name)}, []string{"client.pem"})
}

// read gets a message from the gateway as a new reader.
func (p *ports) read(ctx context.Context, o *operator) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	began := time.Now()
	defer func() { o.took("gateway", time.Since(began)) }()
	bus, err := websocket.Dial(ctx, websocket.ClientConfig{Address: p.readers, Subscriptions: jsonv1.Subscriptions{"zeek/"}})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer bus.Close()
	for {
		n, err := bus.Next(ctx)
		if err != nil {
			return fmt.Errorf("gateway: no message: %w", err)
		}
		if _, ok := n.(broker.Received); ok {
			return nil
		}
	}
}
