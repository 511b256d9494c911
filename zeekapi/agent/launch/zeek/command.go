package zeek

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// layoutFile is the name of the file with the cluster layout. Zeek finds it through
// ZEEKPATH (Zeek: base/frameworks/cluster/__load__.zeek).
const layoutFile = "cluster-layout.zeek"

// layout returns the content of layoutFile for the nodes of an instance.
func layout(instance string, members []zeekapi.Member, v version) []byte {
	var b bytes.Buffer
	b.WriteString(layoutTitle(instance) + "\n\n")
	manager := launch.Manager(members)
	if slices.ContainsFunc(members, func(m zeekapi.Member) bool { return m.Role == zeekapi.RoleLogger }) {
		b.WriteString("redef Cluster::manager_is_logger = F;\n\n")
	}
	b.WriteString("redef Cluster::nodes = {\n")
	for _, m := range members {
		fmt.Fprintf(&b, "\t[%s] = [$node_type=Cluster::%s, $ip=%s, $p=%s", quote(m.Name), m.Role, address(m.Host), port(m.Port))
		if manager != "" && m.Role != zeekapi.RoleManager {
			fmt.Fprintf(&b, ", $manager=%s", quote(manager))
		}
		if m.MetricsPort.Number != 0 && v.atLeast(7, 0) {
			fmt.Fprintf(&b, ", $metrics_port=%s", port(m.MetricsPort))
		}
		b.WriteString("],\n")
	}
	b.WriteString("};\n")
	return b.Bytes()
}

// layoutTitle returns the first line of layoutFile, which names the instance of the
// node's directory.
func layoutTitle(instance string) string {
	return layoutTitlePrefix + instance + ". Rewritten at every start of the node."
}

const layoutTitlePrefix = "# The cluster layout of the agent of "

// quote returns a Zeek string literal.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

func port(p broker.Port) string {
	switch p.Protocol {
	case broker.ProtocolTCP, broker.ProtocolUDP, broker.ProtocolICMP:
		return fmt.Sprintf("%d/%s", p.Number, p.Protocol)
	}
	return fmt.Sprintf("%d/unknown", p.Number)
}

// args returns the arguments of a node. As under Zeek's Supervisor, the node loads the
// scripts of all nodes and then its own. They are between our two scripts, of which they
// can override the first.
func (l *Launcher) args(n launch.Node) []string { return l.argsWith(l.common, n) }

// argsWith is like args, with other arguments of all nodes.
func (l *Launcher) argsWith(common nodeArgs, n launch.Node) []string {
	var args []string
	if n.Interface != "" {
		args = append(args, "-i", n.Interface)
	}
	args = append(append(args, common.options...), common.writing...)
	if l.zeek().version.atLeast(8, 1) {
		args = append(args, zeekapi.BackendScripts+string(l.backend(n)))
	}
	args = append(args, l.scripts.Defaults)
	args = append(append(args, common.words...), l.scriptsOf(n)...)
	args = append(args, l.scripts.Node)
	if l.zeek().noBroker {
		return args
	}
	switch tls := l.config.TLS; tls.Mode {
	case security.Off:
		args = append(args, "Broker::disable_ssl=T")
	case security.Mutual:
		args = append(args, "Broker::ssl_certificate="+tls.CertFile, "Broker::ssl_keyfile="+tls.KeyFile, "Broker::ssl_cafile="+tls.CAFile)
	}
	return args
}

// Backend is a cluster backend, through which nodes communicate. All nodes of a cluster
// must use the same backend.
type Backend string

// The known backends. A launcher selects one only for Zeek 8.1 or later.
const (
	Broker Backend = "broker"
	ZeroMQ Backend = "zeromq"
)

// scriptsOf returns the node's own scripts. It omits the one of Broker for versions that
// have no such script, and no other backend by default.
func (l *Launcher) scriptsOf(n launch.Node) []string {
	if l.zeek().version.atLeast(8, 1) {
		return n.Scripts
	}
	return slices.DeleteFunc(slices.Clone(n.Scripts), func(s string) bool { return s == zeekapi.BackendScripts+string(Broker) })
}

// backend returns the backend of a node: the one whose script the node or all nodes load,
// or the default.
func (l *Launcher) backend(n launch.Node) Backend {
	for _, script := range slices.Concat(n.Scripts, l.common.scripts) {
		for _, b := range []Backend{Broker, ZeroMQ} {
			if strings.Contains(script, "frameworks/cluster/backend/"+string(b)) {
				return b
			}
		}
	}
	if l.config.Backend == "" && l.zeek().noBroker {
		return ZeroMQ
	}
	return cmp.Or(l.config.Backend, Broker)
}

// environ returns the environment of a node: the agent's environment, defaults, the
// node's own variables, and last the variables that must not be overridden.
func (l *Launcher) environ(n launch.Node) []string {
	env := os.Environ()
	set := func(key, value string) { env = append(env, key+"="+value) }
	if l.zeek().path != "" {
		set("ZEEKPATH", ".:"+l.zeek().path) // relative, because the path of the node's directory may contain a colon
	}
	if os.Getenv("ZEEK_DEFAULT_CONNECT_RETRY") == "" && !l.zeek().version.atLeast(7, 2) {
		set("ZEEK_DEFAULT_CONNECT_RETRY", "1") // the default is up to a minute
	}
	for _, key := range slices.Sorted(maps.Keys(n.Env)) {
		set(key, n.Env[key])
	}
	for key, value := range l.sitePaths(n) {
		set(key, value)
	}
	set("CLUSTER_NODE", n.Name)
	if l.config.TLS.Passphrase != "" {
		set(nodescript.PassphraseVar, l.config.TLS.Passphrase)
	}

	for key, value := range l.config.Agent.Environment() {
		set(key, value)
	}
	return env
}
