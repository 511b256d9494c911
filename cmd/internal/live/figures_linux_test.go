package live

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ports of the packets that flood sends.
const (
	floodPort = 9998
	stallPort = 9999 // makes a worker with stallScript stop reading for a while
)

// stallScript makes a worker with a small buffer lose packets: it stops reading when a
// packet for stallPort arrives.
const stallScript = `
redef ignore_checksums = T;
@ifdef ( Pcap::bufsize )
redef Pcap::bufsize = 1;
@endif
@ifdef ( AF_Packet::buffer_size )
redef AF_Packet::buffer_size = 1048576;
@endif
event new_connection(c: connection)
	{
	if ( c$id$resp_p != 9999/udp )
		return;
	local until = current_time() + 1sec;
	while ( current_time() < until )
		;
	}
`

// udpFrame returns an Ethernet frame with a UDP packet of another machine.
func udpFrame(port uint16, payload int) []byte {
	frame := make([]byte, 14+20+8+payload)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00})
	ip := frame[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(20+8+payload))
	copy(ip[12:], net.IPv4(192, 0, 2, 1).To4())
	copy(ip[16:], net.IPv4(192, 0, 2, 2).To4())
	udp := ip[20:]
	binary.BigEndian.PutUint16(udp, 40000)
	binary.BigEndian.PutUint16(udp[2:], port)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+payload))
	return frame
}

// flood sends packets from the other end of a wire.
func (w wire) flood(t *testing.T, packets int, frame []byte) {
	t.Helper()
	err := w.transmit(func(send func(frame []byte) error) error {
		for range packets {
			if err := send(frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("sending packets: %v", err)
	}
}

// The JSON output of the commands.
type (
	trafficJSON struct {
		Received, Dropped, Bytes uint64
		Link                     *uint64
		Rates                    *struct{ Period, Received, Dropped, Bytes float64 }
	}

	netstatsJSON struct {
		Nodes map[string]struct {
			Traffic *trafficJSON
			Silent  *string
		}
		Total      trafficJSON
		Interfaces []struct {
			Name    string
			Traffic trafficJSON
		}
		Notes []struct{ Source, Text string }
	}

	topJSON struct {
		Nodes map[string]struct {
			State                  string
			CPU                    *float64
			Memory, Threads, Files *uint64
			Started                *time.Time
		}
		Notes []struct{ Source, Text string }
	}

	peersJSON struct {
		Nodes map[string]struct {
			Connections *struct {
				Backend        string
				Seen, Expected int
				Missing        []string
			}
		}
		Missing int
	}

	scriptsJSON struct {
		Results map[string]struct {
			Scripts []struct {
				Path    string
				SHA256  *string
				Changed bool
			}
			Omitted int
		}
	}
)

// sensorCluster is a cluster whose workers read from two wires.
type sensorCluster struct {
	z        *installation
	c        client
	one, two wire
	script   string // of the workers
	metrics  string // URL of the agent's metrics
}

var sensorNodes = []string{"manager", "logger", "proxy", "worker-1", "worker-2"}

// newSensorCluster starts and deploys a cluster with our controller and agent. The second
// worker reads with AF_PACKET if Zeek can.
func newSensorCluster(t *testing.T, z *installation, args ...string) *sensorCluster {
	t.Helper()
	z.needsChildren(t)
	s := &sensorCluster{z: z, one: newWire(t), two: newWire(t), script: filepath.Join(t.TempDir(), "stall.zeek")}
	if err := os.WriteFile(s.script, []byte(stallScript), 0o644); err != nil {
		t.Fatal(err)
	}
	native, websocket := ourController(t, "off")
	metrics := freePort(t)
	s.metrics = "http://" + at(metrics) + "/metrics"
	startOurAgentIn(t, z, t.TempDir(), "agent-one", freePort(t), at(native),
		append([]string{"--launcher", "zeek", "--tls", "off", "--metrics-listen", at(metrics)}, args...)...)
	s.c = ours(t, websocket)
	s.c.instances(t, "agent-one")
	source := s.two.device
	if z.atLeast(8, 0) {
		source = "af_packet::" + source
	}
	s.c.deploy(t, "[instances]\nagent-one\n"+
		section(t, "manager", "manager")+section(t, "logger", "logger")+section(t, "proxy", "proxy")+
		section(t, "worker-1", "worker", "interface = "+s.one.device, "scripts = "+s.script)+
		section(t, "worker-2", "worker", "interface = "+source, "scripts = "+s.script))
	s.c.running(t, "agent-one", sensorNodes...)
	return s
}

// TestFigures checks the output of the commands that show measurements, for a cluster with
// traffic, with each transport between agent and nodes, and with each backend.
func TestFigures(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tt := range []struct{ transport, backend string }{
			{"broker", "broker"}, {"websocket", "broker"}, {"broker", "zeromq"}, {"websocket", "zeromq"},
		} {
			t.Run(tt.transport+" "+tt.backend, func(t *testing.T) {
				args := []string{"--node-transport", tt.transport}
				if tt.transport == "websocket" {
					z.needs(t, 8, 0, "WebSocket server for nodes")
				}
				if tt.backend == "zeromq" {
					z.needs(t, 8, 1, "choice of the cluster backend")
					args = append(args, "--cluster-backend", tt.backend)
				}
				s := newSensorCluster(t, z, args...)
				s.loses(t)
				s.receives(t)
				s.uses(t)
				s.sees(t, tt.backend)
				s.hasSpace(t)
				s.loaded(t)
				s.counts(t)
			})
		}
	})
}

// loses makes both workers lose packets, and checks that netstats shows it.
func (s *sensorCluster) loses(t *testing.T) {
	t.Helper()
	big := udpFrame(floodPort, 1400)
	eventually(t, "packets and drops of both workers", func() error {
		for _, w := range []wire{s.one, s.two} {
			w.flood(t, 10, udpFrame(stallPort, 10)) // some, because the first may be lost
			w.flood(t, 10_000, big)
		}
		var got netstatsJSON
		if err := s.c.call(t, &got, "netstats", "--interval", "2s"); err != nil {
			return err
		}
		for _, name := range []string{"worker-1", "worker-2"} {
			traffic := got.Nodes[name].Traffic
			switch {
			case traffic == nil:
				return fmt.Errorf("%s has no traffic", name)
			case traffic.Received < 1000 || traffic.Bytes < 1_000_000 || traffic.Dropped == 0:
				return fmt.Errorf("%s has %+v", name, traffic)
			}
		}
		if len(got.Nodes) != 2 || got.Total.Dropped < 2 || got.Total.Received < 2000 {
			return fmt.Errorf("all nodes have %+v", got)
		}
		if len(got.Interfaces) != 2 || got.Interfaces[0].Traffic.Received < 10_000 || got.Interfaces[1].Traffic.Bytes < 14_000_000 {
			return fmt.Errorf("interfaces have %+v", got.Interfaces)
		}
		return nil
	})
	table, _, _ := run(t, nil, append(s.c.argv, "netstats", "--json=false")...)
	for _, want := range []string{"worker-1", "worker-2", "all ", "LOSS", s.one.device, s.two.device} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
	checked(t)
}

// receives checks the rates of packets that arrive at a steady rate.
func (s *sensorCluster) receives(t *testing.T) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		frame := udpFrame(floodPort, 100)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				s.one.flood(t, 10, frame)
			}
		}
	}()
	defer func() {
		close(stop)
		<-done
	}()
	eventually(t, "rate of packets", func() error {
		var got netstatsJSON
		if err := s.c.call(t, &got, "netstats", "--interval", "2s", "worker-1"); err != nil {
			return err
		}
		n := got.Nodes["worker-1"]
		if len(got.Nodes) != 1 || n.Traffic == nil || n.Traffic.Rates == nil || n.Traffic.Rates.Received < 10 || n.Traffic.Rates.Period < 1 {
			return fmt.Errorf("worker-1 has %+v", n.Traffic)
		}
		if len(got.Interfaces) != 1 || got.Interfaces[0].Traffic.Rates == nil || got.Interfaces[0].Traffic.Rates.Received < 10 {
			return fmt.Errorf("interfaces have %+v", got.Interfaces)
		}
		return nil
	})
}

// uses checks the resources that top shows.
func (s *sensorCluster) uses(t *testing.T) {
	t.Helper()
	eventually(t, "resources of nodes", func() error {
		var got topJSON
		if err := s.c.call(t, &got, "top"); err != nil {
			return err
		}
		for _, name := range sensorNodes {
			n := got.Nodes[name]
			if n.Memory == nil || *n.Memory < 1<<20 || n.Threads == nil || *n.Threads == 0 || n.Files == nil || *n.Files < 3 || n.Started == nil {
				return fmt.Errorf("%s has %+v", name, n)
			}
		}
		if len(got.Notes) > 0 {
			return fmt.Errorf("notes are %v", got.Notes)
		}
		return nil
	})
	table, _, _ := run(t, nil, append(s.c.argv, "top", "--sort", "memory", "--json=false")...)
	if !strings.Contains(table, "5 of 5 nodes running") || !strings.Contains(table, "THREADS") {
		t.Errorf("top shows\n%s", table)
	}
	checked(t)
}

// sees checks that all nodes see the nodes that they should see with a backend.
func (s *sensorCluster) sees(t *testing.T, backend string) {
	t.Helper()
	expected := map[string]int{"manager": 4, "logger": 4, "proxy": 4, "worker-1": 3, "worker-2": 3}
	if backend == "zeromq" {
		expected["worker-1"], expected["worker-2"] = 4, 4
	}
	eventually(t, "connections of nodes", func() error {
		var got peersJSON
		if err := s.c.call(t, &got, "peers", "--strict-exit"); err != nil {
			return err
		}
		for _, name := range sensorNodes {
			c := got.Nodes[name].Connections
			if c == nil || c.Backend != backend || c.Seen != expected[name] || c.Expected != expected[name] || len(c.Missing) > 0 {
				return fmt.Errorf("%s has %+v", name, c)
			}
		}
		return nil
	})
}

// hasSpace checks the space of the controller and the agent.
func (s *sensorCluster) hasSpace(t *testing.T) {
	t.Helper()
	var got struct {
		Directories []struct {
			Service, Purpose, Path string
			Size, Free             *uint64
		}
	}
	if err := s.c.call(t, &got, "df"); err != nil {
		t.Fatal(err)
	}
	var purposes []string
	for _, d := range got.Directories {
		purposes = append(purposes, d.Service+" "+d.Purpose)
		if d.Size == nil || *d.Size == 0 || d.Free == nil || !filepath.IsAbs(d.Path) {
			t.Errorf("%+v", d)
		}
	}
	if want := []string{"controller state", "agent state", "agent spool", "agent archive"}; !slices.Equal(purposes, want) {
		t.Errorf("directories are %q, want %q", purposes, want)
	}
	checked(t)
}

// loaded checks the scripts of a worker before and after an edit.
func (s *sensorCluster) loaded(t *testing.T) {
	t.Helper()
	look := func(args ...string) (changed, known bool, number, omitted int, err error) {
		var got scriptsJSON
		err = s.c.call(t, &got, append([]string{"scripts", "worker-1"}, args...)...)
		n := got.Results["worker-1"]
		for _, script := range n.Scripts {
			if script.Path == s.script {
				known, changed = script.SHA256 != nil && len(*script.SHA256) == 64, script.Changed
			}
		}
		return changed, known, len(n.Scripts), n.Omitted, err
	}
	eventually(t, "scripts of a worker", func() error {
		changed, known, number, omitted, err := look()
		if err == nil && (!known || changed || number != 1 || omitted < 300) {
			err = fmt.Errorf("known: %t, changed: %t, %d scripts, %d left out", known, changed, number, omitted)
		}
		return err
	})
	if _, known, number, omitted, err := look("--all"); !known || number < 300 || omitted != 0 || err != nil {
		t.Errorf("all scripts: known: %t, %d scripts, %d left out, %v", known, number, omitted, err)
	}
	if err := os.WriteFile(s.script, []byte(stallScript+"# edited\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed, known, _, _, err := look(); !changed || !known || err != nil {
		t.Errorf("after an edit: changed: %t, known: %t, %v", changed, known, err)
	}
	checked(t)
}

// counts checks the metrics of the agent.
func (s *sensorCluster) counts(t *testing.T) {
	t.Helper()
	eventually(t, "metrics", func() error {
		resp, err := http.Get(s.metrics)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		values := make(map[string]float64)
		for line := range strings.Lines(string(text)) {
			var value float64
			if name, rest, ok := strings.Cut(line, " "); ok {
				if _, err := fmt.Sscan(rest, &value); err == nil {
					values[name] = value
				}
			}
		}
		for _, name := range []string{
			`zeekwire_agent_node_packets_received_total{node="worker-1"}`, `zeekwire_agent_node_packets_dropped_total{node="worker-1"}`,
			`zeekwire_agent_node_packets_received_total{node="worker-2"}`, `zeekwire_agent_node_packets_dropped_total{node="worker-2"}`,
			`zeekwire_agent_node_threads{node="manager"}`, `zeekwire_agent_node_open_files{node="manager"}`, `zeekwire_agent_node_start_time_seconds{node="manager"}`,
			`zeekwire_agent_interface_packets_received_total{interface="` + s.one.device + `"}`,
			`zeekwire_agent_directory_size_bytes{directory="archive"}`,
		} {
			if values[name] <= 0 {
				return fmt.Errorf("%s is %f", name, values[name])
			}
		}
		if missing, ok := values[`zeekwire_agent_node_peers_missing{node="manager"}`]; !ok || missing != 0 {
			return fmt.Errorf("the manager misses %f peers, known: %t", missing, ok)
		}
		return nil
	})
}

// TestMissingConnections checks that a connection that a node does not make is missing at
// both ends.
func TestMissingConnections(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		// The script gives worker-1 a wrong address of the proxy: a port at which no
		// program listens.
		script := filepath.Join(t.TempDir(), "proxy.zeek")
		text := fmt.Sprintf("redef Cluster::nodes += { [\"proxy\"] = [$node_type=Cluster::PROXY, $ip=127.0.0.1, $p=%d/tcp, $manager=\"manager\"] };\n", freePort(t))
		if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		native, websocket := ourController(t, "off")
		ourAgent(t, z, native, "zeek", "off")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, "[instances]\nagent-one\n"+section(t, "manager", "manager")+section(t, "logger", "logger")+
			section(t, "proxy", "proxy")+section(t, "worker-1", "worker", "scripts = "+script)+section(t, "worker-2", "worker"))
		c.running(t, "agent-one", sensorNodes...)
		eventually(t, "missing connection", func() error {
			stdout, stderr, code := run(t, nil, append(c.argv, "peers", "--strict-exit")...)
			var got peersJSON
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				return fmt.Errorf("%w: %s", err, stderr)
			}
			for name, want := range map[string][]string{"worker-1": {"proxy"}, "proxy": {"worker-1"}, "worker-2": nil, "manager": nil, "logger": nil} {
				if c := got.Nodes[name].Connections; c == nil || !slices.Equal(c.Missing, want) {
					return fmt.Errorf("%s has %+v, want %q missing", name, c, want)
				}
			}
			if got.Missing != 2 || code != 3 {
				return fmt.Errorf("%d connections are missing, exit code %d", got.Missing, code)
			}
			return nil
		})
		table, _, _ := run(t, nil, append(c.argv, "peers", "--json=false")...)
		if !strings.Contains(table, "DOES NOT SEE  proxy  worker-1") {
			t.Errorf("the matrix is\n%s", table)
		}
		status, _, _ := run(t, nil, append(c.argv, "status", "--json=false")...)
		if !strings.Contains(status, "worker-1 does not see proxy") {
			t.Errorf("the status is\n%s", status)
		}
		checked(t)
	})
}

// TestFiguresOfZeek checks the output of the commands for agents and controllers of Zeek,
// including the notes about missing measurements.
func TestFiguresOfZeek(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		t.Run("agent", func(t *testing.T) {
			c := z.clusterOfAgent(t)
			c.figuresOfZeek(t, "Zeek's own agent")
			for command, want := range map[string]string{
				"netstats": "Zeek's own agent does not measure", "df": "Zeek's own agent does not measure", "scripts": "not supported by the agent",
			} {
				if stdout, stderr, _ := run(t, nil, append(c.argv, command)...); !strings.Contains(stdout+stderr, want) {
					t.Errorf("%s shows\n%s%s", command, stdout, stderr)
				}
			}
			checked(t)
		})
		t.Run("controller", func(t *testing.T) {
			native, websocket := z.controller(t)
			ourAgent(t, z, native, "zeek", "anonymous")
			c := z.clientOf(t, native, websocket)
			c.instances(t, "agent-one")
			c.deploy(t, cluster)
			c.running(t, "agent-one", nodes...)
			c.figuresOfZeek(t, "Zeek's own controller")
			for _, command := range []string{"netstats", "df", "scripts"} {
				if stdout, stderr, code := run(t, nil, append(c.argv, command)...); code != 1 || stdout != "" || !strings.Contains(stderr, "knows nothing of") {
					t.Errorf("%s: exit code %d\n%s%s", command, code, stdout, stderr)
				}
			}
			checked(t)
		})
	})
}

// figuresOfZeek checks that top shows states, and peers the connections, which come from a
// global of the nodes.
func (c client) figuresOfZeek(t *testing.T, who string) {
	t.Helper()
	var top topJSON
	if err := c.call(t, &top, "top"); err != nil {
		t.Fatal(err)
	}
	for _, name := range nodes {
		if top.Nodes[name].State != "RUNNING" {
			t.Errorf("%s is %+v", name, top.Nodes[name])
		}
	}
	if len(top.Notes) != 1 || !strings.HasPrefix(top.Notes[0].Text, who) {
		t.Errorf("notes are %v", top.Notes)
	}
	eventually(t, "connections of nodes", func() error {
		var got peersJSON
		if err := c.call(t, &got, "peers"); err != nil {
			return err
		}
		for _, name := range nodes {
			if c := got.Nodes[name].Connections; c == nil || c.Seen != len(nodes)-1 || c.Expected != len(nodes)-1 {
				return fmt.Errorf("%s has %+v", name, c)
			}
		}
		return nil
	})
}
