package main

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// zones sets up two machines on one link, and has all parts use link-local addresses
// with zones, wherever an address can be written. The controller is at fe80::a%left,
// an agent and the client at fe80::b%right.
const zones = `set -eu
ip link set lo up
unshare --net sleep 300 & # keeps the other network
other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
there() { nsenter --target "$other" --net "$@"; }
ip link add left type veth peer name right
ip link set right netns "$other"
ip link set left addrgenmode none && there ip link set right addrgenmode none
ip addr add fe80::a/64 dev left nodad && ip link set left up
there ip link set lo up && there ip addr add fe80::b/64 dev right nodad && there ip link set right up
echo ready

zeekwire controller --name controller --state-dir controller --listen '[fe80::a%left]:2150' \
  --websocket-listen '[fe80::a%left]:2149' --metrics-listen '[fe80::a%left]:9100' \
  --websocket-tls-cert cert.pem --websocket-tls-key key.pem > controller.log 2>&1 &
controller=$!
there zeekwire agent --name sensor --state-dir agent --launcher simulated --controller '[fe80::a%right]:2150' \
  --listen '[fe80::b%right]:2151' > agent.log 2>&1 &
agent=$!
trap 'cat controller.log agent.log; kill $controller $agent $other' EXIT

client() { there zeekwire "$@" --set ssl.enable=yes --set ssl.cafile=ca.pem; }
until client get-instances --controller '[fe80::a%right]:2149' > instances && grep -q sensor instances; do sleep 0.1; done
grep -F 'native=[fe80::a%left]:2150' controller.log
grep -F 'websocket=[fe80::a%left]:2149' controller.log
grep -F 'listen=[fe80::b%right]:2151' agent.log

# The status and events have the zone as the controller sees it.
client status --json --controller '[fe80::a%right]' | grep -F '"host": "fe80::b%left"'
client events --controller '[fe80::a%right]' | grep -F 'agent connected from fe80::b%left'

# Settings, the environment and files write % as %%, as ConfigParser does.
client get-instances --set controller.host='fe80::a%%right' | grep sensor
ZEEK_CLIENT_CONFIG_SETTINGS='controller.host=[fe80::a%%right]' client get-instances | grep sensor
printf '[controller]\nhost = fe80::a%%%%right\n' > client.cfg
client get-instances -c client.cfg | grep sensor
there zeekwire get-instances --controller '[fe80::a%right]:2150' --transport native | grep sensor

# The agent listens, and obeys the controller at an address with a zone.
printf '[instances]\nsensor\n[manager]\ninstance = sensor\nrole = manager\n' > cluster.cfg
client deploy-config cluster.cfg --controller '[fe80::a%right]'
there zeekwire agent --controller none --obey 'fe80::a%right' --listen '[fe80::b%right]:2151' --print-exposure > exposure
grep -F 'peers with an address of fe80::a%right may command' exposure
grep -F '[fe80::b%right]:2151' exposure

# Addresses of nodes have no zones, so nodes could not connect to the agent.
if there zeekwire agent --name other --state-dir other --zeek true --listen '[fe80::b%right]:2152' 2> errors; then exit 1; fi
grep -F 'nodes cannot connect to an address with a zone' errors
printf '[instances]\nsensor = [fe80::b%%%%right]:2151\n[manager]\ninstance = sensor\nrole = manager\n' > zone.cfg
if there zeekwire check-config zone.cfg > errors 2>&1; then exit 1; fi
grep -F 'has a zone, and addresses in Zeek have none' errors

# The tools for traffic.
there zeekwire publish --connect '[fe80::a%right]:2150' zeekwire/controller x
`

// IPv6 addresses keep their zones wherever an address can be written.
func TestZones(t *testing.T) {
	for _, tool := range []string{"unshare", "nsenter", "ip", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("ZONES NOT TESTED: no %s", tool)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	ca := certtest.New(t)
	cert, key := ca.Issue(t, "controller", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("fe80::a")} })
	for name, of := range map[string]string{"ca.pem": ca.File, "cert.pem": cert, "key.pem": key} {
		text, err := os.ReadFile(of)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(text))
	}
	probe := exec.CommandContext(ctx, "unshare", "--user", "--map-root-user", "--net", "ip", "link", "add", "left", "type", "veth", "peer", "name", "right")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("ZONES NOT TESTED: no network namespace with two machines can be made here: %s", out)
	}
	cmd := exec.CommandContext(ctx, "unshare", "--user", "--map-root-user", "--net", "sh", "-c", zones)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The shell ends the functions that it started, but not the programs in them.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // none may be left
}
