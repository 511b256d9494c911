package hostile

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// Names in the cluster.
const (
	instance = "instance-1"
	worker   = "worker-1"
)

// configuration is the cluster that the operator deploys. ROUND differs.
const configuration = `[instances]
instance-1

[manager]
instance = instance-1
role = manager

[logger]
instance = instance-1
role = logger

[worker-1]
instance = instance-1
role = worker
interface = lo
env = ROUND=@
`

// cluster is a controller with an agent, both under attack.
type cluster struct {
	controller, agent *process
	stage             stage
	credentials       credentials
	trap              string // address to which the agent connects, besides the controller
	native, websocket string // addresses of the controller
	agentNative       string
	ports             *ports
	configs           [2]string // files with configurations of which the operator deploys one after the other
}

func startCluster(t *testing.T, binary string, s stage) *cluster {
	t.Helper()
	free := func() string { return peertest.FreeAddress(t) }
	c := &cluster{stage: s, native: free(), websocket: free(), agentNative: free(), trap: free()}
	dir := t.TempDir()
	switch s.tls {
	case "mutual":
		c.credentials = newCredentials(t, c.websocket)
	case "joined":
		c.ports = newPorts(t, binary)
		c.credentials = c.ports.bootstrap(c.native, c.websocket)
	case "open":
		c.ports = newPorts(t, binary)
		c.credentials.controller = []string{"--http-listen", c.ports.api}
	}
	for i := range c.configs {
		c.configs[i] = filepath.Join(dir, "cluster-"+string(rune('a'+i)))
		if err := os.WriteFile(c.configs[i], []byte(strings.ReplaceAll(configuration, "@", string(rune('a'+i)))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	common := func(name string) []string {
		return []string{"--name", name, "--state-dir", filepath.Join(dir, name), "--tls", modes[s.tls]}
	}
	c.controller = startProcess(t, binary, "controller", free(), s.files, slices.Concat(common("controller"), s.settings, c.credentials.controller,
		[]string{"--listen", c.native, "--websocket-listen", c.websocket})...)
	if s.tls == "joined" {
		c.credentials.agent = c.ports.joinAgent()
	}
	c.agent = startProcess(t, binary, "agent", free(), s.files, slices.Concat(common(instance), c.credentials.agent,
		[]string{"--listen", c.agentNative, "--controller", c.native + "," + c.trap, "--launcher", "simulated", "--connect-retry", "100ms"})...)
	return c
}

// modes are the modes of TLS at native ports, by those of stages. The machines of a
// "joined" cluster have joined it, and "open" is without TLS. Both have an HTTP API and a
// gateway.
var modes = map[string]string{"off": "off", "anonymous": "anonymous", "mutual": "mutual", "joined": "mutual", "open": "off"}

func (c *cluster) processes() []*process {
	all := []*process{c.controller, c.agent}
	if c.ports != nil {
		all = append(all, c.ports.gateway)
	}
	return all
}

// target returns the target of an attack at a port.
func (c *cluster) target(port string) attack.Target {
	t := attack.Target{Instance: instance, Node: worker, TLS: modes[c.stage.tls] != "off"}
	switch port {
	case "controller":
		t.Address = c.native
	case "agent":
		t.Address, t.Agent = c.agentNative, true
	case "agent dials":
		t.Address, t.Listen, t.Agent = c.trap, true, true
	case "websocket":
		t.Address, t.WebSocket, t.TLS = c.websocket, true, c.credentials.tls != nil
	case "controller http":
		t.Address, t.TLS = c.controller.http, false
	case "agent http":
		t.Address, t.TLS = c.agent.http, false
	default:
		c.ports.target(port, &t)
	}
	return t
}

// await waits until the operator has deployed the cluster and is answered.
func (c *cluster) await(ctx context.Context, t *testing.T, o *operator) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := o.command(ctx, []string{"deploy-config", c.configs[0]}, []string{worker})
		if err == nil {
			err = o.round(ctx)
		}
		if err == nil {
			return
		}
		for _, p := range c.processes() {
			if dead := p.alive(); dead != nil {
				t.Fatal(dead)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
