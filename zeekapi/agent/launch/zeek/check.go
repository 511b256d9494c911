package zeek

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// DefaultCheckTimeout is the default of Config.CheckTimeout.
const DefaultCheckTimeout = time.Minute

// parseLimit limits the time for Zeek to parse the scripts of all nodes of a check that is
// not a trial. Scripts that are not parsed in time pass the check: Zeek's controller waits
// only 10 s for the nodes to run.
const parseLimit = 3 * time.Second

// Check looks for problems that would keep nodes from running: an invalid directory or
// script name, a missing interface or CPU, no permission to capture packets, a port in
// use, or scripts that do not load.
// Checked events report the results. They take time, because Check starts Zeek to parse
// scripts.
func (l *Launcher) Check(nodes []launch.Node, trial bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Err() != nil {
		return
	}
	l.all.Go(func() {
		check := l.check
		if trial {
			check = l.trial
		}
		for _, result := range check(l.closing, nodes) {
			l.events.Add(result)
		}
	})
}

// check is a check that is not a trial: it precedes the start of the nodes.
func (l *Launcher) check(ctx context.Context, nodes []launch.Node) []launch.Checked {
	l.refresh(ctx)
	results := l.checkMachine(nodes)
	ctx, cancel := context.WithTimeout(ctx, l.parseLimit)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	alike := make(map[parseKey][]*launch.Checked)
	for i := range results {
		// Without scripts and variables of operators, a node loads only scripts of
		// Zeek and of package nodescript.
		n := results[i].Node
		if results[i].Err == nil && (len(n.Scripts)+len(n.Env)+len(l.config.Args) > 0 || n.Site != "") {
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

// checkMachine performs the checks that need no Zeek.
func (l *Launcher) checkMachine(nodes []launch.Node) []launch.Checked {
	results := make([]launch.Checked, len(nodes))
	ports := l.takenPorts(nodes)
	inUse := slices.Sorted(maps.Keys(ports.listening))
	for i, n := range nodes {
		results[i] = launch.Checked{Node: n, Err: errors.Join(
			l.refuse(n),
			l.checkCluster(n),
			checkInterface(n.Interface),
			l.checkCapture(n),
			checkCPUs(n.Node),
			ports.claim(n.Name, "port", n.Port),
			ports.claim(n.Name, "metrics port", n.MetricsPort),
		)}
		if ports.conflicts(n) {
			results[i].PortsInUse = inUse
		}
	}
	return results
}

// checkCluster parses the layout and checks that it has ports for the connections that
// Zeek makes with Broker. A node without a port is unreachable, and Zeek ends nodes that
// must connect to it.
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
			wrong = append(wrong, fmt.Errorf("cannot connect to node %s: it has no TCP port", other.Name))
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

// portClaims contains the TCP ports in use, with their users.
type portClaims struct {
	listening map[uint16]string // by program
	claimed   map[uint16]string // by node
}

// claim reserves a TCP port for a node. The error of a port in use begins with usage.
func (p portClaims) claim(node, usage string, port broker.Port) error {
	if !listens(port) {
		return nil
	}
	if other, ok := p.claimed[port.Number]; ok {
		return fmt.Errorf("%s %d is also used by node %s", usage, port.Number, other)
	}
	if by, ok := p.listening[port.Number]; ok {
		return fmt.Errorf("%s %d is in use by %s", usage, port.Number, by)
	}
	p.claimed[port.Number] = node
	return nil
}

// conflicts reports whether another program listens at a port of a node.
func (p portClaims) conflicts(n launch.Node) bool {
	for _, port := range []broker.Port{n.Port, n.MetricsPort} {
		if _, ok := p.listening[port.Number]; ok && listens(port) {
			return true
		}
	}
	return false
}

// takenPorts returns the ports in use. It ignores ports of running nodes that end before
// the checked nodes start. A running node stays if it is a member of the cluster and is
// not checked; its ports count as claimed. If the program that listens at the port of a
// running node cannot be identified, it is assumed to be that node.
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

// unknownListener describes a listening program that cannot be identified.
const unknownListener = "another program"

// checkInterface checks that the interface of a node exists. It accepts packet sources
// that may not be an interface of the machine; Zeek checks those.
func checkInterface(source string) error {
	device, err := zeekapi.NetworkInterface(source)
	if err != nil || device == "" {
		return err
	}
	if _, err := net.InterfaceByName(device); err != nil {
		return fmt.Errorf("interface %s: %w", device, errors.Unwrap(err))
	}
	return nil
}

// parse makes Zeek parse the scripts of a node, unless they have just loaded in a trial. It
// returns no error if ctx ends first.
func (l *Launcher) parse(ctx context.Context, key parseKey, n launch.Node) (zeekapi.NodeOutputs, error) {
	if l.parsed.has(key) {
		return zeekapi.NodeOutputs{}, nil
	}
	outputs, err := l.tryParse(ctx, n)
	switch {
	case ctx.Err() != nil:
		l.config.Log.Warn().Str("node", n.Name).Msg("the check of the node's scripts did not end in time")
		return zeekapi.NodeOutputs{}, nil
	case err == nil:
		return zeekapi.NodeOutputs{}, nil
	}
	return outputs, err
}

// firstLine returns the first line of Zeek's output that is not a warning, or "" if there
// is none.
func firstLine(stderr string) string {
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "warning") {
			return line
		}
	}
	return ""
}

// parseArgs returns the arguments of a node without its packet source, without options that
// write into the directory of a node, which may be running, and without our script after
// its own. If the node's last script lacked a brace, Zeek would report the error in our
// script.
func (l *Launcher) parseArgs(n launch.Node) []string {
	n.Interface = ""
	common := l.common
	common.writing = nil
	return slices.DeleteFunc(l.argsWith(common, n), func(arg string) bool { return arg == l.scripts.Node })
}

// scriptFiles returns the files to which a script name on Zeek's command line can refer
// (Zeek: util::find_script_file).
func (l *Launcher) scriptFiles(n launch.Node, script string) []string {
	var bases []string
	if filepath.IsAbs(script) {
		bases = []string{script}
	} else {
		for _, d := range append([]string{""}, filepath.SplitList(l.searchPath(n))...) {
			if !filepath.IsAbs(d) {
				d = filepath.Join(l.nodeDir(n.Name), d)
			}
			bases = append(bases, filepath.Join(d, script))
		}
	}
	var files []string
	for _, base := range bases {
		files = append(files, scriptFilesAt(base)...)
	}
	return files
}
