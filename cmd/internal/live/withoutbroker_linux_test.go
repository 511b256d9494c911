package live

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// withoutBroker are the arguments of an agent whose nodes use no Broker.
var withoutBroker = []string{"--node-transport", "websocket", "--cluster-backend", "zeromq"}

// withoutManagement returns an installation whose scripts do not include the Management
// framework.
func (z *installation) withoutManagement(t *testing.T) *installation {
	t.Helper()
	prefix := t.TempDir()
	bin, scripts := filepath.Join(prefix, "bin"), filepath.Join(prefix, "share", "zeek")
	if err := os.CopyFS(scripts, os.DirFS(z.scripts)); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"policy/frameworks/management", "test-all-policy.zeek", "zeekygen"} {
		if err := os.RemoveAll(filepath.Join(scripts, gone)); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(scripts, func(path string, entry os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".zeek" {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "frameworks/management") {
			t.Errorf("%s mentions the Management framework", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(z.zeek, filepath.Join(bin, "zeek")); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("#!/bin/sh\n%s \"$@\" | sed 's,%s,%s,g'\n", filepath.Join(filepath.Dir(z.zeek), "zeek-config"), z.scripts, scripts)
	if err := os.WriteFile(filepath.Join(bin, "zeek-config"), []byte(config), 0o755); err != nil {
		t.Fatal(err)
	}
	other := *z
	other.zeek, other.scripts = filepath.Join(bin, "zeek"), scripts
	return &other
}

// TestClusterWithoutManagementAndBroker runs clusters without the scripts of the Management
// framework, with ZeroMQ between nodes, and with WebSockets between the agent and nodes.
func TestClusterWithoutManagementAndBroker(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 8, 1, "choice of the cluster backend")
		z.needsChildren(t)
		z = z.withoutManagement(t)
		t.Run("operators' commands", func(t *testing.T) { operatorsCommands(t, z, withoutBroker...) })
		t.Run("figures", func(t *testing.T) {
			s := newSensorCluster(t, z, withoutBroker...)
			s.c.noBroker(t, "agent-one")
			s.loses(t)
			s.receives(t)
			s.uses(t)
			s.sees(t, "zeromq")
			s.hasSpace(t)
			s.loaded(t)
			s.counts(t)
			s.restarts(t)
			s.c.noBroker(t, "agent-one")
		})
		t.Run("manager receives logs", func(t *testing.T) { managerReceivesLogs(t, z) })
		runImports(t, z, "zeromq", func(t *testing.T, c client) { c.noBroker(t, "localhost") }, withoutBroker...)
	})
}

// restarts checks restart, rolling restart, logs, and get-id-value of all nodes.
func (s *sensorCluster) restarts(t *testing.T) {
	t.Helper()
	before := s.c.running(t, "agent-one", sensorNodes...)
	for _, command := range []string{"restart", "rolling-restart"} {
		stdout, stderr, code := run(t, nil, append(s.c.argv, command)...)
		if code != 0 && !strings.Contains(stdout, "request timed out") { // nodes start slowly on a busy machine
			t.Errorf("%s: exit code %d\n%s%s", command, code, stdout, stderr)
		}
		after := s.c.running(t, "agent-one", sensorNodes...)
		for _, name := range sensorNodes {
			if before[name].PID == after[name].PID {
				t.Errorf("%s: %s was not restarted", command, name)
			}
		}
		before = after
		s.sees(t, "zeromq")
		s.c.hasValues(t, sensorNodes...)
	}
	stdout, stderr, code := run(t, nil, append(s.c.argv, "logs", "logger", "--json=false")...)
	if code != 0 || stderr != "" {
		t.Errorf("logs: exit code %d\n%s%s", code, stdout, stderr)
	}
	checked(t)
}

// managerReceivesLogs runs a cluster without a logger. Then the manager is the node that cannot
// listen for WebSockets.
func managerReceivesLogs(t *testing.T, z *installation) {
	native, websocket := ourController(t, "off")
	startOurAgentIn(t, z, t.TempDir(), "agent-one", freePort(t), at(native), append([]string{"--tls", "off"}, withoutBroker...)...)
	c := ours(t, websocket)
	c.instances(t, "agent-one")
	c.deploy(t, "[instances]\nagent-one\n"+section(t, "manager", "manager")+section(t, "proxy", "proxy"))
	c.running(t, "agent-one", "manager", "proxy")
	c.hasValues(t, "manager", "proxy")
	c.noBroker(t, "agent-one")

	// Without the proxy, the manager cannot be asked, and the client says why.
	var answer struct{ Results map[string]any }
	if err := c.call(t, &answer, "stop", "proxy"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reason", func() error {
		stdout, _, _ := run(t, nil, append(c.argv, "get-id-value", "Cluster::node", "manager")...)
		if !strings.Contains(stdout, "is reached through another node on its machine") {
			return errors.New(stdout)
		}
		return nil
	})
}

// noBroker checks that all nodes of an instance listen for HTTP and ZeroMQ only, and that each of
// their connections begins or ends at such a port.
func (c client) noBroker(t *testing.T, instance string) {
	t.Helper()
	var all struct {
		Results map[string]map[string]nodeStatus
	}
	if err := c.call(t, &all, "get-nodes"); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string) // of the nodes, by socket
	var sockets []tcpSocket
	for name, n := range all.Results[instance] {
		if n.ClusterRole == nil {
			continue
		}
		for _, inode := range socketsOf(t, n.PID) {
			names[inode] = name
		}
		sockets = tcpSockets(t, n.PID) // all nodes are in the same network namespace
	}
	known := make(map[uint16]string) // protocols of ports
	for _, s := range sockets {
		if name := names[s.inode]; name != "" && s.state == tcpListen {
			if known[s.local.Port()] = protocolAt(t, s.local); known[s.local.Port()] == "" {
				t.Errorf("%s listens at %s, with a protocol other than ZeroMQ and HTTP", name, s.local)
			}
		}
	}
	connections := 0
	for _, s := range sockets {
		name := names[s.inode]
		if name == "" || s.state != tcpEstablished {
			continue
		}
		connections++
		if known[s.local.Port()] == "" && known[s.remote.Port()] == "" {
			t.Errorf("%s has a connection from %s to %s, which is no port of ZeroMQ or HTTP", name, s.local, s.remote)
		}
	}
	if len(known) < 2 || connections < 2 {
		t.Errorf("found %d ports and %d connections", len(known), connections)
	}
	checked(t)
}

// States of TCP sockets in /proc/net/tcp.
const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

type tcpSocket struct {
	local, remote netip.AddrPort
	state, inode  string
}

// tcpSockets returns all TCP sockets of a process's network namespace.
func tcpSockets(t *testing.T, pid int) (all []tcpSocket) {
	t.Helper()
	for _, file := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[0] != "sl" {
				all = append(all, tcpSocket{local: hexAddress(t, f[1]), remote: hexAddress(t, f[2]), state: f[3], inode: f[9]})
			}
		}
	}
	return all
}

// hexAddress parses an address of /proc/net/tcp. Its words have the byte order of the machine,
// which is little endian wherever Zeek is built.
func hexAddress(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	number, err := strconv.ParseUint(port, 16, 16)
	var b []byte
	for ; len(host) >= 8 && err == nil; host = host[8:] {
		var word uint64
		word, err = strconv.ParseUint(host[:8], 16, 32)
		b = append(b, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	addr, ok := netip.AddrFromSlice(b)
	if err != nil || !ok {
		t.Fatalf("address %q: %v", s, err)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number))
}

// socketsOf returns the inodes of a process's sockets.
func socketsOf(t *testing.T, pid int) (inodes []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(dir, f.Name()))
		if inode, ok := strings.CutPrefix(target, "socket:["); ok && err == nil {
			inodes = append(inodes, strings.TrimSuffix(inode, "]"))
		}
	}
	return inodes
}

// protocolAt returns the protocol of a server: ZeroMQ, which greets first, HTTP, or "".
func protocolAt(t *testing.T, address netip.AddrPort) string {
	t.Helper()
	if address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.Port())
	}
	conn, err := net.DialTimeout("tcp", address.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 10)
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if n, _ := io.ReadFull(conn, greeting); n > 0 {
		if greeting[0] == 0xff && greeting[9] == 0x7f {
			return "ZeroMQ"
		}
		return ""
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+address.String()+"\r\nConnection: close\r\n\r\n"); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(io.LimitReader(conn, 16))
	if strings.HasPrefix(string(answer), "HTTP/1.1") {
		return "HTTP"
	}
	return ""
}
