package zeek

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// parseLimit is how long Zeek may take to read the scripts of all nodes of a
// check. What it has not read by then is not held against a node: Zeek's
// controller waits 10 s for the nodes to run.
const parseLimit = 3 * time.Second

// Check finds out what would keep nodes from running: a directory or script
// that cannot be, an interface or CPU that is not there, a port that is taken,
// scripts that do not load. It starts Zeek to read scripts, so it takes time.
func (l *Launcher) Check(nodes []launch.Node, _ bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Err() != nil {
		return
	}
	l.all.Go(func() {
		l.look(l.closing)
		for _, result := range l.check(l.closing, nodes) {
			l.events.Add(result)
		}
	})
}

func (l *Launcher) check(ctx context.Context, nodes []launch.Node) []launch.Checked {
	results := make([]launch.Checked, len(nodes))
	ports := l.takenPorts(nodes)
	for i, n := range nodes {
		results[i] = launch.Checked{Node: n, Err: errors.Join(
			refuse(n),
			l.checkCluster(n),
			checkInterface(n.Interface),
			checkCPU(n.CPUAffinity),
			ports.claim(n.Name, "port", n.Port),
			ports.claim(n.Name, "metrics port", n.MetricsPort),
		)}
	}

	ctx, cancel := context.WithTimeout(ctx, l.parseLimit)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	alike := make(map[parseKey][]*launch.Checked)
	for i := range results {
		// Without scripts of its own a node loads what comes with Zeek and us.
		n := results[i].Node
		if results[i].Err == nil && len(n.Scripts)+len(n.Env) > 0 {
			key := l.parseKey(n)
			alike[key] = append(alike[key], &results[i])
		}
	}
	for key, same := range alike {
		work.Go(func() error {
			outputs, err := l.parse(ctx, key, same[0].Node)
			for _, r := range same {
				r.Outputs, r.Err = outputs, err
			}
			return nil
		})
	}
	_ = work.Wait() // errors are in the results
	return results
}

// checkCluster reads the layout and looks for what has no port though Zeek would
// connect to it by Broker: the node itself, which nobody would reach, or another,
// which would end the node.
func (l *Launcher) checkCluster(n launch.Node) error {
	members, err := n.Layout.Members()
	if err != nil {
		return err
	}
	if l.backend(n) != Broker {
		return nil
	}
	var wrong []error
	for _, other := range members {
		if dials(n.Role, other.Role) && !listens(other.Port) {
			wrong = append(wrong, fmt.Errorf("node %s, to which it has to connect, has no TCP port", other.Name))
		}
	}
	dialed := func(m zeekapi.Member) bool { return dials(m.Role, n.Role) }
	if !listens(n.Port) && slices.ContainsFunc(members, dialed) {
		wrong = append(wrong, fmt.Errorf("node %s has no TCP port", n.Name))
	}
	return errors.Join(wrong...)
}

func listens(p broker.Port) bool { return p.Number != 0 && p.Protocol == broker.ProtocolTCP }

// dials reports whether nodes of one role connect to those of another
// (Zeek: base/frameworks/cluster/setup-connections.zeek).
func dials(from, to zeekapi.ClusterRole) bool {
	switch to {
	case zeekapi.RoleLogger:
		return from == zeekapi.RoleManager || from == zeekapi.RoleProxy || from == zeekapi.RoleWorker
	case zeekapi.RoleManager:
		return from == zeekapi.RoleProxy || from == zeekapi.RoleWorker
	case zeekapi.RoleProxy:
		return from == zeekapi.RoleWorker
	}
	return false
}

// portClaims are the ports that are taken, with by whom.
type portClaims struct {
	listening map[uint16]string // by others
	claimed   map[uint16]string // by nodes of the check
}

// claim takes a TCP port for a node.
func (p portClaims) claim(node, what string, port broker.Port) error {
	if !listens(port) {
		return nil
	}
	if other, ok := p.claimed[port.Number]; ok {
		return fmt.Errorf("%s %d is also that of node %s", what, port.Number, other)
	}
	if by, ok := p.listening[port.Number]; ok {
		return fmt.Errorf("%s %d is in use by %s", what, port.Number, by)
	}
	p.claimed[port.Number] = node
	return nil
}

// takenPorts looks at what is listened at, but for what our own nodes do: those
// that have the ports of new ones end before, unless they are of the cluster
// and not checked with it, and so stay. Where we may not see who listens at a
// port that a node of ours has, it is that.
func (l *Launcher) takenPorts(checked []launch.Node) portClaims {
	stays := make(map[string]bool)
	for _, n := range checked {
		for _, m := range n.Members() {
			stays[m.Name] = true
		}
	}
	for _, n := range checked {
		stays[n.Name] = false
	}
	p := portClaims{listening: listening(l.groups()), claimed: make(map[uint16]string)}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, n := range l.nodes {
		for _, port := range []broker.Port{n.node.Port, n.node.MetricsPort} {
			if p.listening[port.Number] == unknownListener {
				delete(p.listening, port.Number)
			}
			if stays[name] && listens(port) {
				p.claimed[port.Number] = name
			}
		}
	}
	return p
}

// unknownListener is who listens if we may not know.
const unknownListener = "another program"

// checkInterface looks for the interface of a node. Packet sources that need
// not mean an interface of the machine are left to Zeek.
func checkInterface(name string) error {
	source, device, ok := strings.Cut(name, "::")
	if !ok {
		source, device = "pcap", name
	}
	if device == "" && ok {
		return fmt.Errorf("%q names no interface", name)
	}
	if device == "" || source != "pcap" && source != "af_packet" {
		return nil
	}
	// What libpcap has besides interfaces, and its PF_RING variants.
	if strings.ContainsAny(device, ":@,;") {
		return nil
	}
	for _, other := range []string{"any", "nflog", "nfqueue", "usbmon", "bluetooth", "dbus-"} {
		if strings.HasPrefix(device, other) {
			return nil
		}
	}
	if _, err := net.InterfaceByName(device); err != nil {
		return fmt.Errorf("interface %s: %w", device, errors.Unwrap(err))
	}
	return nil
}

// parse has Zeek read the scripts of a node, where they have not been found
// good before.
func (l *Launcher) parse(ctx context.Context, key parseKey, n launch.Node) (zeekapi.NodeOutputs, error) {
	if l.parsed.has(key) {
		return zeekapi.NodeOutputs{}, nil
	}
	outputs, err := l.tryParse(ctx, n)
	switch {
	case ctx.Err() != nil:
		l.config.Log.Warn().Str("node", n.Name).Msg("no time to check the scripts of the node")
		return zeekapi.NodeOutputs{}, nil
	case err == nil:
		l.parsed.add(key)
		return zeekapi.NodeOutputs{}, nil
	}
	return outputs, err
}

// firstLine returns what Zeek complains of first.
func firstLine(stderr string) string {
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "warning") {
			return line
		}
	}
	return ""
}

// parseArgs are the arguments of a node without its packet source, and without
// our script after its own: Zeek would complain of that where the last of the
// node's lacks a brace.
func (l *Launcher) parseArgs(n launch.Node) []string {
	n.Interface = ""
	return slices.DeleteFunc(l.args(n), func(arg string) bool { return arg == l.scripts.Node })
}

// scriptFiles returns the files that may be meant by a word on Zeek's command
// line. (Zeek: util::find_script_file)
func (l *Launcher) scriptFiles(script, dir string) []string {
	var bases []string
	if filepath.IsAbs(script) {
		bases = []string{script}
	} else {
		for _, d := range append([]string{dir}, filepath.SplitList(l.zeek().path)...) {
			bases = append(bases, filepath.Join(d, script))
		}
	}
	var files []string
	for _, base := range bases {
		files = append(files, base, base+".zeek", filepath.Join(base, "__load__.zeek"))
	}
	return files
}
