package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// TestNodeScriptsParse checks that Zeek can parse our scripts for nodes.
func TestNodeScriptsParse(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		ours := nodeScripts(t)
		for _, scripts := range [][]string{
			{ours.Defaults, ours.Node},
			{"policy/frameworks/management/node", ours.Node}, // our script leaves the work to it
		} {
			stdout, stderr, code := run(t, nil, append([]string{z.zeek, "--parse-only"}, scripts...)...)
			checked(t)
			if code != 0 || stdout+stderr != "" {
				t.Errorf("%q: exit code %d\n%s%s", scripts, code, stdout, stderr)
			}
		}
	})
}

func nodeScripts(t *testing.T) nodescript.Files {
	t.Helper()
	files, err := nodescript.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestZeroMQHub checks that nodes connect to the ZeroMQ hub at the manager's
// address.
func TestZeroMQHub(t *testing.T) {
	stub, err := os.ReadFile("testdata/zeromq.zeek")
	if err != nil {
		t.Fatal(err)
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		for manager, want := range map[string]string{
			"10.0.0.2":      "tcp://10.0.0.2:5556 tcp://10.0.0.2:5555 F",
			"10.0.0.1":      "tcp://127.0.0.1:5556 tcp://127.0.0.1:5555 F",
			"[2001:db8::1]": "tcp://[2001:db8::1]:5556 tcp://[2001:db8::1]:5555 T",
		} {
			t.Run("manager at "+manager, func(t *testing.T) {
				ours, dir := nodeScripts(t), t.TempDir()
				layout := fmt.Sprintf(`redef Cluster::nodes = {
	["m"] = [$node_type=Cluster::MANAGER, $ip=%s, $p=2200/tcp],
	["l"] = [$node_type=Cluster::LOGGER, $ip=10.0.0.1, $p=2201/tcp, $manager="m"],
};`, manager)
				const show = `print fmt("%s %s %s", Cluster::Backend::ZeroMQ::connect_xpub_endpoint,
	Cluster::Backend::ZeroMQ::listen_xpub_endpoint, Cluster::Backend::ZeroMQ::ipv6); exit(0);`
				for name, text := range map[string]string{"zeromq.zeek": string(stub), "cluster-layout.zeek": layout, "show.zeek": show} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				backend := filepath.Join(dir, "zeromq.zeek")
				if z.atLeast(8, 1) {
					backend = "policy/frameworks/cluster/backend/zeromq"
				}
				env := []string{"CLUSTER_NODE=l", "ZEEKPATH=" + dir + ":" + z.zeekPath()}
				out, errOut, code := run(t, env, z.zeek, backend, ours.Defaults, ours.Node, filepath.Join(dir, "show.zeek"))
				checked(t)
				if got := strings.TrimSpace(out); code != 0 || got != want {
					t.Errorf("exit code %d, got %q, want %q\n%s", code, got, want, errOut)
				}
			})
		}
	})
}
