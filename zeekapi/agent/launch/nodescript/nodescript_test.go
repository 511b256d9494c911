package nodescript

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	f, err := Write(filepath.Join(t.TempDir(), "new", "scripts"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{f.Defaults: defaults, f.Node: node} {
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for listen, want := range map[string]string{
		"10.0.0.1:2151": "10.0.0.1 2151/tcp",
		"0.0.0.0:1":     "127.0.0.1 1/tcp",
		"[::]:2":        "::1 2/tcp",
	} {
		env := Agent{Listen: netip.MustParseAddrPort(listen)}.Environment()
		if got := env["ZEEK_AGENT_ADDR"] + " " + env["ZEEK_AGENT_PORT"]; got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
	got := Agent{SpoolDir: "/spool", Topic: "t", ConnectRetry: 1500 * time.Millisecond}.Environment()
	want := map[string]string{
		"ZEEK_AGENT_ADDR": "127.0.0.1", "ZEEK_AGENT_PORT": "0/tcp", "ZEEK_MANAGEMENT_SPOOL_DIR": "/spool",
		"ZEEKWIRE_NODE_TOPIC": "t", "ZEEKWIRE_CONNECT_RETRY": "1.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Nodes must find the hub of ZeroMQ's messages wherever the manager is.
func TestLiveZeroMQ(t *testing.T) {
	if os.Getenv("ZEEK") == "" {
		t.Skip("NOT TESTED WITH A LIVE ZEEK: the environment variable ZEEK names none")
	}
	stub, err := filepath.Abs("testdata/zeromq.zeek")
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range strings.Split(os.Getenv("ZEEK"), ",") {
		for manager, want := range map[string]string{
			"10.0.0.2":      "tcp://10.0.0.2:5556 tcp://10.0.0.2:5555 F",
			"10.0.0.1":      "tcp://127.0.0.1:5556 tcp://127.0.0.1:5555 F",
			"[2001:db8::1]": "tcp://[2001:db8::1]:5556 tcp://[2001:db8::1]:5555 T",
		} {
			t.Run(strings.TrimPrefix(filepath.Base(prefix), "zeek-")+"/manager at "+manager, func(t *testing.T) {
				dir := t.TempDir()
				f, err := Write(dir)
				if err != nil {
					t.Fatal(err)
				}
				layout := fmt.Sprintf(`redef Cluster::nodes = {
	["m"] = [$node_type=Cluster::MANAGER, $ip=%s, $p=2200/tcp],
	["l"] = [$node_type=Cluster::LOGGER, $ip=10.0.0.1, $p=2201/tcp, $manager="m"],
};`, manager)
				const show = `event zeek_init() { print fmt("%s %s %s", Cluster::Backend::ZeroMQ::connect_xpub_endpoint,
	Cluster::Backend::ZeroMQ::listen_xpub_endpoint, Cluster::Backend::ZeroMQ::ipv6); exit(0); }`
				for name, text := range map[string]string{"cluster-layout.zeek": layout, "show.zeek": show} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				path, err := exec.Command(filepath.Join(prefix, "bin", "zeek-config"), "--zeekpath").Output()
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(filepath.Join(prefix, "bin", "zeek"), stub, f.Defaults, f.Node, "show.zeek")
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "CLUSTER_NODE=l", "ZEEKPATH=.:"+strings.TrimSpace(string(path)))
				out, err := cmd.Output()
				if got := strings.TrimSpace(string(out)); err != nil || got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
	}
}
