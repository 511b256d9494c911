package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// imports are configurations of other programs, with the nodes that run after their
// import. $DIR stands for their directory, $ZEEK for the program, and $BACKEND for the backend
// of the cluster.
var imports = map[string]struct {
	files map[string]string
	path  string // to import
	nodes []string
	value string // of Notice::mail_dest on each node
}{
	"ZeekControl": {
		files: map[string]string{
			"etc/node.cfg": "[logger-1]\ntype=logger\nhost=localhost\n\n[manager]\ntype=manager\nhost=localhost\n\n[proxy-1]\ntype=proxy\nhost=localhost\n\n" +
				"[worker-1]\ntype=worker\nhost=localhost\nlb_procs=2\nlb_method=custom\nenv_vars=A='a b'\n",
			"etc/networks.cfg": "192.0.2.0/24 Campus\n2001:db8::/32 Students\n",
			"etc/zeekctl.cfg": "MailTo = soc@example.org\nClusterBackend = $BACKEND\nMetricsPort = 0\nLogDir = $DIR/logs\nZeek = $ZEEK\n" +
				"SitePolicyPath = $DIR/policy\nSitePolicyScripts = campus.zeek\nZeekArgs = -C Pcap::snaplen=4096\nLogRotationInterval = 1800\n",
			"policy/campus.zeek": "event zeek_init() { if ( 192.0.2.1 !in Site::local_nets || [2001:db8::1] !in Site::local_nets ) Reporter::fatal(\"no local networks\"); }\n",
		},
		path: "etc", nodes: []string{"logger-1", "manager", "proxy-1", "worker-1-1", "worker-1-2"}, value: "soc@example.org",
	},
	"zeek.conf": {
		files: map[string]string{
			"zeek.conf": "[zeek]\nmanager = 1\nloggers = 1\nproxies = 1\nmetrics_port = 0\ncluster_backend_args = frameworks/cluster/backend/$BACKEND\n" +
				"args = $DIR/campus.zeek -C Notice::mail_dest=noc@example.org\nenv = A=1\nlogger_memory_max = 4G\n\n" +
				"[interface a]\ninterface = lo\nworkers = 1\nworker_args = ignore_checksums=T\nworker_env = N=${worker_index0}-${interface_section_name}\n",
			"campus.zeek": "@if ( getenv(\"CLUSTER_NODE\") == \"worker-a-1\" && getenv(\"N\") != \"0-a\" )\n@load no-such-script\n@endif\n",
		},
		path: "zeek.conf", nodes: []string{"logger-1", "manager", "proxy-1", "worker-a-1"}, value: "noc@example.org",
	},
}

// TestImportedConfigurationsRun imports configurations of ZeekControl and of Zeek's
// generator for systemd, and deploys them with the imported settings.
func TestImportedConfigurationsRun(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		runImports(t, z, "broker", func(*testing.T, client) {})
	})
}

// runImports imports each configuration, and runs it with additional arguments of the agent.
// It calls check for each running cluster.
func runImports(t *testing.T, z *installation, backend string, check func(*testing.T, client), args ...string) {
	for name, tt := range imports {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				file = filepath.Join(dir, file)
				text = strings.NewReplacer("$DIR", dir, "$ZEEK", z.zeek, "$BACKEND", backend).Replace(text)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			into := filepath.Join(dir, "new")
			if _, stderr, code := run(t, nil, zeekwire(t), "import", "--output", into, filepath.Join(dir, tt.path)); code != 0 {
				t.Fatalf("import: %s", stderr)
			}
			native, websocket := freePort(t), freePort(t)
			start(t, "our controller", nil, zeekwire(t), "controller", "--config", filepath.Join(into, "controller.conf"),
				"--listen", at(native), "--websocket-listen", at(websocket), "--state-dir", t.TempDir(), "--tls", "off")
			start(t, "our agent", nil, append([]string{zeekwire(t), "agent", "--config", filepath.Join(into, "agents", "localhost.conf"), "--zeek", z.zeek,
				"--controller", at(native), "--listen", at(freePort(t)), "--state-dir", t.TempDir(), "--tls", "off"}, args...)...)
			c := ours(t, websocket)
			c.instances(t, "localhost")
			if stdout, stderr, code := run(t, nil, append(c.argv, "deploy-config", filepath.Join(into, "cluster.cfg"))...); code != 0 {
				t.Fatalf("deploy-config: %s%s", stdout, stderr)
			}
			c.running(t, "localhost", tt.nodes...)
			eventually(t, "get-id-value", func() error {
				stdout, stderr, _ := run(t, nil, append(c.argv, "get-id-value", "Notice::mail_dest")...)
				if strings.Count(stdout, `"`+tt.value+`"`) != len(tt.nodes) {
					return fmt.Errorf("%s%s", stdout, stderr)
				}
				return nil
			})
			check(t, c)
		})
	}
}
