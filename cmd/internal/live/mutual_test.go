package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// certified returns the arguments with which Zeek uses a certificate of that
// name.
func certified(t *testing.T, ca *certtest.Authority, name string) []string {
	cert, key := ca.Issue(t, name)
	return []string{"Broker::ssl_cafile=" + ca.File, "Broker::ssl_certificate=" + cert, "Broker::ssl_keyfile=" + key}
}

// TestMutual has Zeek's agents show certificates, of which the controller hears
// those that have the agent's name.
func TestMutual(t *testing.T) {
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
						z.agent(t, native, certified(t, ca, name)...)
					} else {
						port := z.listeningAgent(t, "agent-one", certified(t, ca, name)...)
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
						c.deploy(t, config)
					}
					eventually(t, "refusal", func() error {
						const want = `the peer's certificate is for ["agent-two"], not for "agent-one"`
						if log := strings.ReplaceAll(controller.out.tail(100), `\"`, `"`); !strings.Contains(log, want) {
							return fmt.Errorf("the controller does not say that %s", want)
						}
						return nil
					})
					c.instances(t)
				})
			}
		}
	})
}
