package live

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"
)

// families tells at which loopback addresses a port accepts connections.
type families struct{ ip4, ip6 bool }

func familiesOf(port int) families {
	accepts := func(host string) bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), 5*time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	return families{accepts("127.0.0.1"), accepts("::1")}
}

// TestListeningAddressFamilies compares at which address families the ports of
// our services and of Zeek's accept connections.
func TestListeningAddressFamilies(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("the machine has no IPv6")
	} else {
		l.Close()
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, address := range []string{"0.0.0.0", "127.0.0.1", "::"} {
			t.Run(address, func(t *testing.T) {
				want, got := z.servicePorts(t, address), ourPorts(t, address)
				for name, port := range want {
					eventually(t, "port of Zeek's "+name, func() error {
						if familiesOf(port) == (families{}) {
							return fmt.Errorf("port %d accepts no connection", port)
						}
						return nil
					})
					eventually(t, "port of our "+name, func() error {
						if want, got := familiesOf(port), familiesOf(got[name]); got != want {
							return fmt.Errorf("%+v, Zeek's %+v", got, want)
						}
						return nil
					})
				}
			})
		}
	})
}

// servicePorts starts Zeek's controller and agent at the address and returns the
// ports.
func (z *installation) servicePorts(t *testing.T, address string) map[string]int {
	native, agent := freePort(t), freePort(t)
	ports := map[string]int{"controller": native, "agent": agent}
	env := []string{
		"ZEEK_CONTROLLER_NAME=controller-one", "ZEEK_CONTROLLER_ADDR=" + address, fmt.Sprintf("ZEEK_CONTROLLER_PORT=%d/tcp", native),
		"ZEEK_AGENT_NAME=agent-one", "ZEEK_AGENT_ADDR=" + address, fmt.Sprintf("ZEEK_AGENT_PORT=%d/tcp", agent),
		"ZEEK_MANAGEMENT_STATE_DIR=" + t.TempDir(), "ZEEK_MANAGEMENT_SPOOL_DIR=" + t.TempDir(),
	}
	if z.atLeast(5, 2) {
		websocket := freePort(t)
		ports["controller for WebSockets"] = websocket
		env = append(env, "ZEEK_CONTROLLER_WEBSOCKET_ADDR="+address, fmt.Sprintf("ZEEK_CONTROLLER_WEBSOCKET_PORT=%d/tcp", websocket))
	}
	for _, service := range []string{"controller", "agent"} {
		start(t, "Zeek's "+service, env, z.zeek, "-j", "policy/frameworks/management/"+service,
			fmt.Sprintf("Broker::default_port=%d/tcp", freePort(t)))
	}
	return ports
}

// ourPorts starts our controller and agent at the address and returns the ports.
func ourPorts(t *testing.T, address string) map[string]int {
	ports := map[string]int{"controller": freePort(t), "agent": freePort(t), "controller for WebSockets": freePort(t)}
	listen := func(name string) string { return net.JoinHostPort(address, strconv.Itoa(ports[name])) }
	start(t, "our controller", nil, zeekwire(t), "controller", "--name", "controller-one", "--state-dir", t.TempDir(),
		"--listen", listen("controller"), "--websocket-listen", listen("controller for WebSockets"))
	standIn(t, "simulated nodes")
	start(t, "our agent", nil, zeekwire(t), "agent", "--name", "agent-one", "--state-dir", t.TempDir(),
		"--listen", listen("agent"), "--controller", "none", "--launcher", "simulated")
	return ports
}
