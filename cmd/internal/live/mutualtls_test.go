package live

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// TestMutualTLS starts Zeek's agents with certificates. The controller accepts
// only an agent whose certificate contains its name.
func TestMutualTLS(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, name := range []string{"agent-one", "agent-two"} {
			for _, way := range []string{"connects", "listens"} {
				t.Run("agent-one with the certificate of "+name+" "+way, func(t *testing.T) {
					ca := certtest.New(t)
					cert, key := ca.Issue(t, "controller")
					native, websocket := freePort(t), freePort(t)
					controller := start(t, "our controller", nil, zeekwire(t), "controller", "--name", "controller-one",
						"--listen", at(native), "--websocket-listen", at(websocket), "--state-dir", t.TempDir(),
						"--tls", "mutual", "--tls-cert", cert, "--tls-key", key, "--tls-ca", ca.File, "--allow-agents", "agent-*")
					c := ours(t, websocket)
					c.instances(t)
					config := cluster
					if way == "connects" {
						z.agent(t, native, brokerOptions(issue(t, ca, name))...)
					} else {
						port := z.listeningAgent(t, "agent-one", brokerOptions(issue(t, ca, name))...)
						config = strings.Replace(config, "agent-one\n", "agent-one = "+at(port)+"\n", 1)
					}
					if name == "agent-one" {
						if way == "connects" {
							c.instances(t, name)
						}
						c.deploy(t, config)
						c.running(t, name, nodes...)
						return
					}
					if way == "listens" {
						file := filepath.Join(t.TempDir(), "cluster.cfg")
						if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
							t.Fatal(err)
						}
						run(t, nil, append(c.argv, "deploy-config", file)...) // makes the controller connect
					}
					eventually(t, "refusal", func() error {
						const want = `the peer's certificate is for ["agent-two"], not for "agent-one"`
						if log := strings.ReplaceAll(controller.out.tail(100), `\"`, `"`); !strings.Contains(log, want) {
							return fmt.Errorf("the controller's log does not contain %s", want)
						}
						return nil
					})
					c.instances(t)
				})
			}
		}
	})
}

// TestCommonNames connects our client and Zeek's to a controller whose certificate
// has the host only as common name. Both accept it. Both refuse another name.
func TestCommonNames(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 8, 0, "client with ssl.enable")
		ca := certtest.New(t)
		mine, mineKey := ca.Issue(t, "operator")
		for _, tt := range []struct {
			name     string
			accepted bool
		}{{"localhost", true}, {"elsewhere", false}} {
			t.Run(tt.name, func(t *testing.T) {
				cert, key := ca.Issue(t, tt.name)
				websocket := freePort(t)
				start(t, "our controller", nil, zeekwire(t), "controller", "--name", "controller-one",
					"--listen", at(freePort(t)), "--websocket-listen", at(websocket), "--state-dir", t.TempDir(),
					"--websocket-tls-cert", cert, "--websocket-tls-key", key)
				for _, c := range []client{z.stock(t, websocket), ours(t, websocket)} {
					args := append(c.argv, "--controller", fmt.Sprintf("localhost:%d", websocket), "--set", "ssl.enable=yes",
						"--set", "ssl.certificate="+mine, "--set", "ssl.keyfile="+mineKey, "--set", "ssl.cafile="+ca.File, "get-instances")
					_, stderr, code := run(t, nil, args...)
					checked(t)
					if (code == 0) != tt.accepted {
						t.Errorf("%s: exit code %d, accepted should be %t: %s", filepath.Base(c.argv[0]), code, tt.accepted, stderr)
					}
				}
			})
		}
	})
}

// TestZeekClientTLS runs Zeek's client with both of its TLS modes: with
// certificates, and anonymous, the default up to Zeek 8.0.2.
func TestZeekClientTLS(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 8, 0, "client with ssl.enable")
		ca := certtest.New(t)
		cert, key := ca.Issue(t, "controller", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
		mine, mineKey := ca.Issue(t, "operator")
		clients := filepath.Join(t.TempDir(), "clients")
		if err := os.WriteFile(clients, []byte("operator read-only certificate\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name               string
			controller, client []string
			refused            string // error of stage-config
		}{
			{
				"certificates",
				[]string{"--websocket-tls-cert", cert, "--websocket-tls-key", key, "--websocket-tls-ca", ca.File, "--clients", clients},
				[]string{"ssl.certificate=" + mine, "ssl.keyfile=" + mineKey, "ssl.cafile=" + ca.File},
				"controller: client 'operator' may only read",
			},
			{"anonymous", []string{"--tls-options-websocket-ciphers", "AECDH-AES256-SHA@SECLEVEL=0:AECDH-AES256-SHA:P-384"}, nil, ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				native, websocket := freePort(t), freePort(t)
				start(t, "our controller", nil, append([]string{zeekwire(t), "controller", "--name", "controller-one",
					"--listen", at(native), "--websocket-listen", at(websocket), "--state-dir", t.TempDir()}, tt.controller...)...)
				c := z.stock(t, websocket)
				c.argv = append(c.argv, "--set", "ssl.enable=yes")
				for _, s := range tt.client {
					c.argv = append(c.argv, "--set", s)
				}
				c.instances(t)
				config := filepath.Join(t.TempDir(), "cluster.cfg")
				if err := os.WriteFile(config, []byte(cluster), 0o600); err != nil {
					t.Fatal(err)
				}
				stdout, stderr, _ := run(t, nil, append(c.argv, "stage-config", config)...)
				checked(t)
				if refused := strings.Contains(stdout, "controller: "); refused != (tt.refused != "") || !strings.Contains(stdout, tt.refused) {
					t.Errorf("stage-config: %s%s", stdout, stderr)
				}
			})
		}
	})
}
