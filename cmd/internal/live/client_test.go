package live

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestClientsAgree checks that our client and Zeek's print the same output,
// with Zeek's controller and with ours.
func TestClientsAgree(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 5, 2, "WebSocket for zeek-client")
		t.Run("Zeek's controller", func(t *testing.T) {
			native, websocket := z.controller(t)
			clientsAgree(t, z, native, websocket)
		})
		t.Run("our controller", func(t *testing.T) {
			native, websocket := ourController(t, "anonymous")
			clientsAgree(t, z, native, websocket)
		})
	})
}

func clientsAgree(t *testing.T, z *installation, native, websocket int) {
	ourAgent(t, z, native, "simulated", "anonymous")
	c, stock := dropIn(t, websocket), z.stock(t, websocket)
	compare := func(args ...string) {
		t.Helper()
		wantOut, wantErr, wantCode := run(t, nil, append(stock.argv, args...)...)
		out, errOut, code := run(t, nil, append(c.argv, args...)...)
		checked(t)
		out, wantOut = someID.ReplaceAllString(out, "ID"), someID.ReplaceAllString(wantOut, "ID")
		if out != wantOut || errOut != wantErr || code != wantCode {
			t.Errorf("%s: exit code %d\n%s%s, zeek-client's %d\n%s%s", strings.Join(args, " "),
				code, out, errOut, wantCode, wantOut, wantErr)
		}
	}
	refused := filepath.Join(t.TempDir(), "refused.cfg")
	if err := os.WriteFile(refused, []byte("[instances]\na\n[a]\ninstance = b\nrole = manager\nport = 1\n[x]\ninstance = b\nrole = logger\nport = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.instances(t, "agent-one")
	compare("get-instances")
	compare("get-config")
	compare("get-config", "--deployed")
	compare("deploy")
	compare("restart")
	compare("get-id-value", "Cluster::node")
	compare("stage-config", refused)
	compare("deploy-config", refused)
	c.deploy(t, cluster)
	c.running(t, "agent-one", nodes...)
	compare("get-nodes")
	compare("get-config")
	compare("get-config", "--as-json")
	compare("get-config", "--deployed")
	compare("get-config", "--deployed", "--as-json")
	compare("get-id-value", "Cluster::node")
	compare("get-id-value", "no such thing", "manager", "nobody")
	compare("restart", "worker", "nobody")
	compare("restart", "nobody")
	compare("show-settings")
	compare("test-timeout", "--with-state")
	compare("stage-config", filepath.Join(clusters(t), "empty.cfg"))
	compare("deploy")
	compare("get-nodes")
}

// TestClientDetectsTransport checks that our client detects the transport and
// dialect of a controller.
func TestClientDetectsTransport(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, tls := range tlsModes {
			t.Run("tls "+tls.mode, func(t *testing.T) {
				native, websocket := z.controller(t, tls.args...)
				z.clientOf(t, native, websocket).instances(t)
				protection := "without TLS"
				if tls.mode == "anonymous" {
					protection = "with anonymous TLS"
				}
				for _, transport := range []string{"auto", "native"} {
					finds(t, native, transport, "native", protection, "Management")
				}
				if z.atLeast(8, 1) || z.version == "8.0.10" {
					protection = "without TLS" // the WebSocket server is separate
				}
				if z.atLeast(5, 2) {
					finds(t, websocket, "auto", "websocket", protection, "Management")
				}
			})
		}
	})
}

// finds requests the instances from the controller at a port, and checks the
// transport and dialect that the client reports.
func finds(t *testing.T, port int, transport, found, protection, dialect string) {
	t.Helper()
	argv := append(ours(t, port).argv, "get-instances", "--transport", transport, "-vvv", "--json")
	stdout, stderr, code := run(t, nil, argv...)
	checked(t)
	want := fmt.Sprintf("info: found %s at %s, %s, dialect %s\n", found, at(port), protection, dialect)
	if code != 0 || stdout != "{}\n" || !strings.Contains(stderr, want) {
		t.Errorf("port %d by %s: exit code %d\n%s%s, want %s", port, transport, code, stdout, stderr, want)
	}
}

// TestEveryCommandNatively checks that every command also works over a native
// connection. It does not compare with zeek-client, because that of Zeek 5.0
// needs libbroker.
func TestEveryCommandNatively(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := z.controller(t)
		ourAgent(t, z, native, "simulated", "anonymous")
		c := ours(t, native)
		c.instances(t, "agent-one")
		c.deploy(t, cluster)
		c.running(t, "agent-one", nodes...)
		for _, test := range []struct {
			args []string
			code int
		}{
			{[]string{"get-instances"}, 0},
			{[]string{"get-nodes"}, 0},
			{[]string{"get-config"}, 0},
			{[]string{"get-config", "--deployed", "--as-json"}, 0},
			{[]string{"get-id-value", "no such thing"}, 1},
			{[]string{"restart", "worker", "nobody"}, 1},
			{[]string{"test-timeout", "--with-state"}, 0},
			{[]string{"test-timeout", "--set", "client.request_timeout_secs=1"}, 1},
			{[]string{"deploy"}, 0},
		} {
			out, errOut, code := run(t, nil, append(c.argv, test.args...)...)
			checked(t)
			if code != test.code || code == 0 && out == "" {
				t.Errorf("%q: exit code %d\n%s%s", test.args, code, out, errOut)
			}
			if test.args[0] == "test-timeout" || !z.atLeast(5, 2) {
				continue
			}
			if want, _, _ := run(t, nil, append(ours(t, websocket).argv, test.args...)...); out != want {
				t.Errorf("%q: over a WebSocket\n%s, natively\n%s", test.args, want, out)
			}
		}
	})
}

// TestClientDrivesClusterController runs our client with a controller of Zeek's
// first cluster management, natively and, if the controller listens for it,
// over a WebSocket.
func TestClientDrivesClusterController(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		env := z.clusterEnv(t)
		for _, transport := range []string{"native", "websocket"} {
			t.Run(transport, func(t *testing.T) {
				agent := freePort(t)
				z.clusterAgent(t, env, agent, 0)
				port, webSocket := z.clusterController(t, env)
				c := ours(t, port)
				if transport == "websocket" { // which does not reveal the dialect
					c = ours(t, webSocket)
					c.argv = append(c.argv, "--transport", "websocket", "--dialect", "cluster")
				}
				c.instances(t)
				if transport == "native" {
					finds(t, port, "auto", transport, "without TLS", "ClusterAgent")
				}

				file := filepath.Join(t.TempDir(), "cluster.cfg")
				if err := os.WriteFile(file, []byte(listening(t, agent)), 0o600); err != nil {
					t.Fatal(err)
				}
				var deployed map[string]any
				if err := c.call(t, &deployed, "deploy-config", file); err != nil {
					t.Fatal(err)
				}
				c.instances(t, "agent-one")
				c.running(t, "agent-one", "manager", "logger", "worker")
				if _, stderr, code := run(t, nil, append(c.argv, "get-config")...); code != 1 || !strings.Contains(stderr, "ClusterAgent dialect") {
					t.Errorf("get-config: exit code %d\n%s", code, stderr)
				}
			})
		}
	})
}

// corpusDiffers lists the files of the corpus for which Zeek's client behaves
// differently, with the reason. If Zeek's client crashes, or sends a
// configuration that no controller accepts and waits, its output cannot be
// compared.
var corpusDiffers = map[string]string{
	"cpu-huge":            "zeek-client sends a number that is not an integer in Zeek",
	"spec-zone":           "zeek-client sends text that is not an address in Zeek",
	"metrics-port-large":  "zeek-client shows the value of another key",
	"mixed-case-instance": "zeekwire prints a warning",
	"role-empty":          "zeekwire prints a warnings other keys",
	"section-case":        "zeekwire prints a warnings other keys",
	"several-errors":      "zeekwire reports all errors",
	"percent-chain":       "zeek-client cannot write the file that it reads",
	"percent":             "zeek-client cannot write the file that it reads",
	"scripts-empty-word":  "zeek-client writes a different file than it reads",
	"scripts-escape":      "zeek-client writes a different file than it reads",
}

// leastCompared is the number of files of the corpus that TestCorpusAgrees must at
// least compare. Zeek 8.0.10's client crashes on 18 others.
const leastCompared = 44

var (
	someID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	found  = regexp.MustCompile(`(?m)^info: found .*\n`) // a message that zeek-client does not have
)

// TestCorpusAgrees checks that our client and Zeek's parse every valid
// configuration to the same result, and report the same errors about the
// others.
func TestCorpusAgrees(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 8, 0, "recent zeek-client")
		_, websocket := z.controller(t)
		c, stock := dropIn(t, websocket), z.stock(t, websocket)
		c.instances(t)
		files, err := filepath.Glob(filepath.Join(clusters(t), "ini", "*.cfg"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no corpus: %v", err)
		}
		var crashed []string
		compared := 0
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".cfg")
			if corpusDiffers[name] != "" {
				continue
			}
			where := regexp.MustCompile(`(?m) \(` + regexp.QuoteMeta(file) + `:\d+\)$`)
			say := func(c client) string {
				out, errOut, code := run(t, []string{"ZEEK_CLIENT_CONFIG_SETTINGS=client.verbosity=1"}, append(c.argv, "stage-config", file)...)
				all := fmt.Sprintf("%s%sexit code %d\n", out, found.ReplaceAllString(where.ReplaceAllString(errOut, ""), ""), code)
				if code == 0 {
					ini, _, _ := run(t, nil, append(c.argv, "get-config")...)
					json, _, _ := run(t, nil, append(c.argv, "get-config", "--as-json")...)
					all += ini + json
				}
				return someID.ReplaceAllString(all, "ID")
			}
			want := say(stock)
			if strings.Contains(want, "Traceback") {
				crashed = append(crashed, name)
				continue
			}
			checked(t)
			compared++
			if got := say(c); got != want {
				t.Errorf("%s: got\n%swant\n%s", name, got, want)
			}
		}
		t.Logf("%d files compared, %d on which zeek-client crashes: %s", compared, len(crashed), strings.Join(crashed, " "))
		if compared < leastCompared {
			t.Errorf("only %d files compared, want %d", compared, leastCompared)
		}
	})
}

// TestCommandLinesAgree checks that our client and Zeek's interpret command
// lines and settings the same way.
func TestCommandLinesAgree(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needs(t, 8, 0, "recent zeek-client")
		port := freePort(t) // no process listens at it
		stock := z.stock(t, port)
		dir := t.TempDir()
		settings := filepath.Join(dir, "settings.cfg")
		if err := os.WriteFile(settings, []byte("[controller]\nHost: h\n port = 7\n[client]\nverbosity=1\n[new]\nA=%(b)s\nb=1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(dir, "zeek-client")
		if out, err := exec.Command("go", "build", "-o", program, "../../zeek-client").CombinedOutput(); err != nil {
			t.Fatalf("building zeek-client: %v\n%s", err, out)
		}
		once := []string{"--set", "client.peering_attempts=1"}
		for _, test := range []struct {
			args   []string
			env    []string
			stderr bool // compare standard error as well
		}{
			{args: nil, stderr: true},
			{args: []string{"-q"}, stderr: true},
			{args: []string{"nonsense"}},
			{args: []string{"--nonsense", "get-nodes"}},
			{args: []string{"get-nodes", "x"}},
			{args: []string{"stage-config"}},
			{args: []string{"stage-config", "a", "b"}},
			{args: []string{"get-id-value"}},
			{args: []string{"get-config", "--deployed", "--staged"}},
			{args: []string{"-q", "-v", "get-nodes"}},
			{args: []string{"--set"}},
			{args: []string{"show-settings"}, stderr: true},
			{args: []string{"-vvv", "show-settings"}, stderr: true},
			{args: []string{"--verb", "--verb", "show-settings"}, stderr: true},
			{args: []string{"--contr", ":3", "show-settings"}, stderr: true},
			{args: []string{"--controller", "h", "show-settings"}, stderr: true},
			{args: []string{"--controller", "h:1", "show-settings"}, stderr: true},
			{args: []string{"--controller", "[::1]", "show-settings"}, stderr: true},
			{args: []string{"--controller", "[::1]:5", "show-settings"}, stderr: true},
			{args: []string{"--controller", "::1", "show-settings"}},
			{args: []string{"--set", "a.B=c=d.e", "--set", "client.verbosity=2", "show-settings"}, stderr: true},
			{args: []string{"--set", "client", "show-settings"}},
			{args: []string{"-c", settings, "show-settings"}, stderr: true},
			{args: []string{"-c", "/nonexistent", "show-settings"}, stderr: true},
			{args: []string{"show-settings"}, env: []string{"ZEEK_CLIENT_CONFIG_FILE=" + settings}, stderr: true},
			{args: []string{"--set", "controller.port=9", "show-settings"},
				env: []string{"ZEEK_CLIENT_CONFIG_FILE=" + settings, "ZEEK_CLIENT_CONFIG_SETTINGS=controller.port=8 new.x='a b'"}, stderr: true},
			{args: []string{"--set", "controller.port=70000", "get-nodes"}, stderr: true},
			{args: []string{"--set", "ssl.enable=yes", "--set", "ssl.certificate=/nonexistent", "get-nodes"}, stderr: true},
			{args: append(once, "--controller", at(port), "-vvv", "get-nodes"), stderr: true},
			{args: append(once, "--controller", at(port), "get-config", "--dep", "--as"), stderr: true},
			{args: []string{"stage-config", "/nonexistent"}, stderr: true},
			{args: []string{"-q", "deploy-config", "/nonexistent"}, stderr: true},
		} {
			wantOut, wantErr, wantCode := run(t, test.env, append(stock.argv[:len(stock.argv)-2:len(stock.argv)-2], test.args...)...)
			out, errOut, code := run(t, test.env, append([]string{program}, test.args...)...)
			checked(t)
			if out != wantOut || code != wantCode || errOut != wantErr && test.stderr {
				t.Errorf("%q %q: exit code %d\n%s%s, zeek-client's %d\n%s%s", test.env, test.args, code, out, errOut, wantCode, wantOut, wantErr)
			}
		}
	})
}
