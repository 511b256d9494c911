package supervised

import (
	"maps"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// stockScript is the script that nodes of Zeek's agent load.
const stockScript = "policy/frameworks/management/node"

// setup is the common part of all nodes.
type setup struct {
	agent    nodescript.Agent
	stateDir string
	scripts  nodescript.Files
}

// config returns the Supervisor's configuration of a node. Like Zeek's agent, it leaves
// standard output and error to the Supervisor, which can report the output.
func (s setup) config(n launch.Node) control.NodeConfig {
	members := n.Members()
	c := control.NodeConfig{
		Name:        n.Name,
		Interface:   n.Interface,
		Directory:   nodeDir(s.stateDir, n.Name),
		BaseScripts: []string{s.scripts.Defaults},
		UserScripts: append(slices.Clone(n.Scripts), s.scripts.Node),
		Env:         s.agent.Environment(),
		CPUAffinity: n.CPUAffinity,
		Cluster:     make(map[string]control.Endpoint, len(members)),
	}
	maps.Copy(c.Env, n.Env)
	for _, m := range members {
		p := m.Port
		if p.Number == 0 {
			p = broker.Port{Protocol: broker.ProtocolUnknown}
		}
		host := m.Host
		if !host.IsValid() {
			host = netip.IPv4Unspecified()
		}
		c.Cluster[m.Name] = control.Endpoint{Role: m.Role, Host: host, Port: p, MetricsPort: m.MetricsPort}
	}
	return c
}

func nodeDir(stateDir, name string) string { return filepath.Join(stateDir, "nodes", name) }

// same reports whether a node of the Supervisor need not restart to have the
// configuration want. The node may have been created by Zeek's agent, or by zeekwire with
// another address or directory, so the comparison omits these settings.
func (s setup) same(has, want control.NodeConfig) bool {
	return has.Name == want.Name &&
		has.Interface == want.Interface &&
		(has.CPUAffinity == nil) == (want.CPUAffinity == nil) &&
		(has.CPUAffinity == nil || *has.CPUAffinity == *want.CPUAffinity) &&
		slices.Equal(s.ownScripts(has), s.ownScripts(want)) &&
		maps.Equal(s.ownEnv(has), s.ownEnv(want)) &&
		maps.EqualFunc(has.Cluster, want.Cluster, sameEndpoint)
}

// sameEndpoint ignores the interface, which Zeek does not use, and the protocol of a
// missing port, which depends on the version. Zeek before 7.0 has no metrics ports.
func sameEndpoint(has, want control.Endpoint) bool {
	return has.Role == want.Role && has.Host.Unmap() == want.Host.Unmap() && has.Port.Number == want.Port.Number &&
		(has.MetricsPort.Number == 0 || has.MetricsPort.Number == want.MetricsPort.Number)
}

// ownScripts returns the scripts that belong to the node alone.
func (s setup) ownScripts(c control.NodeConfig) []string {
	return slices.DeleteFunc(slices.Concat(c.BaseScripts, c.UserScripts), func(script string) bool {
		return script == stockScript || s.scripts.Has(script)
	})
}

func (s setup) ownEnv(c control.NodeConfig) map[string]string {
	env := maps.Clone(c.Env)
	for key := range s.agent.Environment() {
		delete(env, key)
	}
	return env
}
