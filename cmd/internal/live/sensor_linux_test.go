package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wire is a pair of virtual interfaces. One is in our network namespace and has
// the address of a server. The other is in a namespace of its own and belongs
// to the client.
type wire struct {
	device, address string
	other           string // the device in the other namespace
	namespace       *os.File
}

// wires counts the created wires. Each has its own name, because the kernel
// removes interfaces with a delay.
var wires atomic.Int32

// newWire creates a wire, which requires root.
func newWire(t *testing.T) wire {
	t.Helper()
	number := wires.Add(1)
	tag := fmt.Sprintf("%s%d", namespacePrefix(os.Getpid()), number)
	w := wire{device: tag + "a", address: fmt.Sprintf("198.18.%d.1", number), other: tag + "b"}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			reason, _, _ := strings.Cut(strings.ReplaceAll(string(out), tag, "NAME"), "\n")
			t.Skipf("NOT TESTED WITH TRAFFIC, which requires creating interfaces: ip: %v: %s", err, reason)
		}
	}
	ip("netns", "add", tag)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", tag).CombinedOutput(); err != nil { // removes both interfaces
			t.Errorf("%v: %s", err, out)
		}
	})
	ip("link", "add", w.device, "type", "veth", "peer", "name", w.other, "netns", tag)
	ip("addr", "add", w.address+"/30", "dev", w.device)
	ip("link", "set", w.device, "mtu", "65535", "up")
	ip("-n", tag, "addr", "add", fmt.Sprintf("198.18.%d.2/30", number), "dev", w.other)
	ip("-n", tag, "link", "set", w.other, "mtu", "65535", "up")
	var err error
	if w.namespace, err = os.Open(filepath.Join("/run/netns", tag)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.namespace.Close() })
	return w
}

// there calls do in the other namespace, in a goroutine.
func (w wire) there(do func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		// The thread stays in the namespace. It ends with its goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(w.namespace.Fd()), syscall.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return done
}

// replay sends the packets of a capture from the other end. The capture is a
// pcap file of Ethernet packets. It contains the traffic of another machine, so
// that this one does not respond.
func (w wire) replay(t *testing.T, capture string) {
	t.Helper()
	file, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	const fileHeader, packetHeader = 24, 16
	if len(file) < fileHeader || binary.LittleEndian.Uint32(file) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(file[20:]) != 1 {
		t.Fatalf("%s is not a capture of Ethernet", capture)
	}
	err = w.transmit(func(send func(frame []byte) error) error {
		for rest := file[fileHeader:]; len(rest) >= packetHeader; {
			packet := rest[packetHeader:]
			length := min(len(packet), int(binary.LittleEndian.Uint32(rest[8:])))
			if err := send(packet[:length]); err != nil {
				return err
			}
			rest = packet[length:]
		}
		return nil
	})
	if err != nil {
		t.Fatalf("replaying %s: %v", capture, err)
	}
}

// transmit calls f with a function that sends a frame from the other end of the wire.
func (w wire) transmit(f func(send func(frame []byte) error) error) error {
	return <-w.there(func() error {
		device, err := net.InterfaceByName(w.other)
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		return f(func(frame []byte) error {
			return unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Index})
		})
	})
}

// talk sends a request over the wire and receives its echo. It returns the port
// of the server.
func (w wire) talk(t *testing.T) (port string) {
	t.Helper()
	server, err := net.Listen("tcp", net.JoinHostPort(w.address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	echoed := make(chan error, 1)
	go func() {
		conn, err := server.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.Copy(conn, conn)
		}
		echoed <- err
	}()
	asked := w.there(func() error {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			return err
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		_, err = io.ReadAll(conn)
		return err
	})
	for _, c := range []<-chan error{asked, echoed} {
		if err := <-c; err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ = net.SplitHostPort(server.Addr().String())
	return port
}

// captured matches the lines of conn.log for the two connections that begin and
// end in our capture.
var captured = []*regexp.Regexp{
	regexp.MustCompile(`\t48330\t127\.0\.0\.1\t19998\ttcp\t.*\t573\t11563\tSF\t`),
	regexp.MustCompile(`\t44438\t127\.0\.0\.1\t19997\ttcp\t.*\t538\t12080\tSF\t`),
}

// TestSensor runs a sensor, from traffic on two interfaces to lines in
// conn.log, through restarts and failures of its parts.
func TestSensor(t *testing.T) {
	controlled(t, func(t *testing.T, _ *installation, c client, p place) {
		one, two := newWire(t), newWire(t)
		script := filepath.Join(t.TempDir(), "sensor.zeek")
		// Packets on virtual interfaces have no valid checksums, because they are
		// usually computed by hardware.
		if err := os.WriteFile(script, []byte("redef ignore_checksums = T;\nglobal sensor_loaded = T;\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		all := []string{"manager", "logger", "proxy", "worker-1", "worker-2"}
		config := "[instances]\nagent-one\n" +
			section(t, "manager", "manager") + section(t, "logger", "logger") + section(t, "proxy", "proxy") +
			section(t, "worker-1", "worker", "interface = "+one.device, "scripts = "+script) +
			section(t, "worker-2", "worker", "interface = "+two.device, "scripts = "+script)
		agent := p.start(t)
		c.instances(t, "agent-one")
		c.deploy(t, config)
		before := c.running(t, "agent-one", all...)

		seen := func(when string) {
			t.Helper()
			for _, w := range []wire{one, two} {
				// Zeek may not have opened the interface yet, so send traffic
				// repeatedly.
				var ports []string
				eventually(t, when+": a line about "+w.address+" in conn.log", func() error {
					ports = append(ports, w.talk(t))
					log, err := os.ReadFile(filepath.Join(p.state, "nodes", "logger", "conn.log"))
					if err != nil {
						return err
					}
					for _, port := range ports {
						if strings.Contains(string(log), "\t"+w.address+"\t"+port+"\t") {
							return nil
						}
					}
					return fmt.Errorf("none about ports %q in %d bytes", ports, len(log))
				})
			}
		}
		seen("after the deployment")
		eventually(t, "the connections of a capture in conn.log", func() error {
			one.replay(t, "../../../testdata/recordings/zeek-8.0.10-types/session.pcap")
			log, err := os.ReadFile(filepath.Join(p.state, "nodes", "logger", "conn.log"))
			for _, line := range captured {
				if !line.Match(log) {
					err = errors.Join(err, fmt.Errorf("no line has %s", line))
				}
			}
			return err
		})
		if got := c.value(t, "worker-2", "sensor_loaded"); got != "true" {
			t.Errorf("sensor_loaded is %s", got)
		}

		if stdout, stderr, code := run(t, nil, append(c.argv, "restart", "worker-1")...); code != 0 {
			t.Errorf("restart: exit code %d\n%s%s", code, stdout, stderr)
		}
		if after := c.running(t, "agent-one", all...); after["worker-1"].PID == before["worker-1"].PID {
			t.Error("worker-1 was not restarted")
		}
		seen("after a restart")

		before = c.running(t, "agent-one", all...)
		agent.kill()
		agent = p.start(t)
		c.instances(t, "agent-one")
		c.same(t, "after the agent was killed", before)
		seen("after the agent was killed")

		for _, name := range []string{"worker-2", "logger"} {
			if err := syscall.Kill(before[name].PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "another "+name, func() error {
				if pid := c.running(t, "agent-one", all...)[name].PID; pid == before[name].PID {
					return fmt.Errorf("still process %d", pid)
				}
				return nil
			})
			seen("after " + name + " was killed")
		}

		// A missing interface makes one worker fail. The worker recovers when the
		// interface is back.
		broken := strings.Replace(config, two.device, "nosuchdev", 1)
		file := filepath.Join(t.TempDir(), "broken.cfg")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if stdout, _, code := run(t, nil, append(c.argv, "deploy-config", file)...); code != 1 || !strings.Contains(stdout, "nosuchdev") {
			t.Errorf("deployment with a bad interface: exit code %d\n%s", code, stdout)
		}
		c.deploy(t, config)
		before = c.running(t, "agent-one", all...)
		seen("after the interface was back")

		// An instance that is not part of the cluster runs no nodes.
		if err := os.WriteFile(file, []byte("[instances]\nagent-two\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		end := []string{"deploy-config", file} // times out waiting for agent-two
		if c.partial != nil {
			end = []string{"teardown", "--yes"} // ours refuses a file without nodes
		}
		run(t, nil, append(c.argv, end...)...)
		gone(t, before)
		agent.stop()
	})
}
