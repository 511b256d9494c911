package live

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machines is a cluster on three instances of our agent, under our controller.
type machines struct {
	client
	dir    string   // of scripts
	states []string // state directories of the agents
	before map[string]map[string]nodeStatus
}

// machineNodes are the nodes by instance.
var machineNodes = map[string][]string{
	"agent-one": {"manager", "logger"}, "agent-two": {"proxy", "worker-1"}, "agent-three": {"worker-2"},
}

func newMachines(t *testing.T, z *installation) *machines {
	t.Helper()
	native, websocket := freePort(t), freePort(t)
	startController(t, native, websocket, t.TempDir(), "off")
	m := &machines{client: ours(t, websocket), dir: t.TempDir()}
	for name := range machineNodes {
		state := t.TempDir()
		m.states = append(m.states, state)
		start(t, "our agent "+name, nil, zeekwire(t), "agent", "--name", name, "--controller", at(native), "--listen", at(freePort(t)),
			"--state-dir", state, "--launcher", "zeek", "--zeek", z.zeek, "--tls", "off")
	}
	m.instances(t, "agent-one", "agent-two", "agent-three")
	m.write(t, "good.zeek", "event zeek_init() { print \"good\"; }\n")
	return m
}

func (m *machines) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// config returns the configuration of the cluster. The lines are for worker-2.
func (m *machines) config(lines ...string) string {
	text := "[instances]\nagent-one\nagent-two\nagent-three\n"
	for _, n := range []struct{ name, instance, role string }{
		{"manager", "agent-one", "manager"}, {"logger", "agent-one", "logger"}, {"proxy", "agent-two", "proxy"},
		{"worker-1", "agent-two", "worker"}, {"worker-2", "agent-three", "worker"},
	} {
		text += fmt.Sprintf("\n[%s]\ninstance = %s\nrole = %s\n", n.name, n.instance, n.role)
		if n.name == "worker-2" && len(lines) > 0 {
			text += strings.Join(lines, "\n") + "\n"
		} else {
			text += "scripts = " + m.dir + "/good.zeek\n"
		}
	}
	return text
}

// try deploys a configuration that must fail, and returns the output.
func (m *machines) try(t *testing.T, config string, args ...string) string {
	t.Helper()
	m.write(t, "cluster.cfg", config)
	stdout, stderr, code := run(t, nil, append(append(m.argv, "deploy-config", filepath.Join(m.dir, "cluster.cfg")), args...)...)
	if code == 0 {
		t.Errorf("the deployment succeeded\n%s%s", stdout, stderr)
	}
	return stdout + stderr
}

// unchanged checks that all nodes but the given one run in the processes of before.
func (m *machines) unchanged(t *testing.T, except string) {
	t.Helper()
	for instance, names := range machineNodes {
		for name, n := range m.running(t, instance, names...) {
			if before := m.before[instance][name].PID; before != n.PID && name != except {
				t.Errorf("node %s: process %d became %d", name, before, n.PID)
			}
		}
	}
}

// logs returns the log files that nodes write.
func (m *machines) logs(t *testing.T) []string {
	t.Helper()
	var logs []string
	for _, state := range m.states {
		files, err := filepath.Glob(filepath.Join(state, "nodes", "*", "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, files...)
	}
	return logs
}

func (m *machines) remember(t *testing.T) {
	t.Helper()
	m.before = make(map[string]map[string]nodeStatus)
	for instance, names := range machineNodes {
		m.before[instance] = m.running(t, instance, names...)
	}
}

// TestFailingDeploymentsStopNoNode checks that a deployment that cannot succeed
// changes nothing, and that one whose node dies is rolled back.
func TestFailingDeploymentsStopNoNode(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachines(t, z)
		m.deploy(t, m.config())
		m.remember(t)
		logs := m.logs(t)
		if len(logs) == 0 {
			t.Error("no node writes logs")
		}
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		m.write(t, "syntax.zeek", "event zeek_init() { prin \"x\"; }\n")
		m.write(t, "fatal.zeek", "event zeek_init() { Reporter::fatal(\"cannot live like this\"); }\n")
		for _, tt := range []struct {
			name, config string
			args         []string
			want         string
		}{
			{"broken script", m.config("scripts = " + m.dir + "/syntax.zeek"), nil, "syntax.zeek, line 1: unknown identifier prin"},
			{"missing interface", m.config("interface = nosuchdev"), nil, "interface nosuchdev: no such network interface"},
			{"taken port", m.config(fmt.Sprintf("metrics_port = %d", taken.Addr().(*net.TCPAddr).Port)), nil, "is in use by"},
			{"machine that is away", m.config() + "\n[worker-3]\ninstance = agent-four\nrole = worker\n", nil, "agent-four"},
			{"check only", m.config("scripts = " + m.dir + "/syntax.zeek"), []string{"--check"}, "syntax.zeek, line 1: unknown identifier prin"},
		} {
			config := tt.config
			if tt.name == "machine that is away" {
				config = strings.Replace(config, "agent-three\n", "agent-three\nagent-four\n", 1)
			}
			if got := m.try(t, config, tt.args...); !strings.Contains(got, tt.want) {
				t.Errorf("%s: want %q in\n%s", tt.name, tt.want, got)
			}
			m.unchanged(t, "")
			for _, file := range logs { // Zeek rotates those that it takes for left over
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
		}

		got := m.try(t, m.config("scripts = "+m.dir+"/fatal.zeek"))
		if !strings.Contains(got, "rolled back to deployment 1") || !strings.Contains(got, "cannot live like this") {
			t.Errorf("the output does not say that the deployment was rolled back:\n%s", got)
		}
		m.unchanged(t, "worker-2")
	})
}

// TestEditedScriptsAreDeployed checks that an edited script is reported, that a
// deployment of the same configuration restarts only nodes that loaded it, and that
// restarts with a broken script stop nothing.
func TestEditedScriptsAreDeployed(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachines(t, z)
		m.write(t, "own.zeek", "event zeek_init() { print 1; }\n")
		config := m.config("scripts = " + m.dir + "/own.zeek")
		m.deploy(t, config)
		m.remember(t)
		m.write(t, "own.zeek", "event zeek_init() { print 2; }\n")
		eventually(t, "status with the edited script", func() error {
			stdout, stderr, _ := run(t, nil, append(m.argv, "status")...)
			if !strings.Contains(stdout, "/own.zeek\"") {
				return fmt.Errorf("%s%s", stdout, stderr)
			}
			return nil
		})
		m.deploy(t, config)
		m.unchanged(t, "worker-2")
		if after := m.running(t, "agent-three", "worker-2")["worker-2"].PID; after == m.before["agent-three"]["worker-2"].PID {
			t.Error("worker-2 was not restarted")
		}

		m.remember(t)
		m.write(t, "own.zeek", "event zeek_init() { prin 3; }\n")
		for _, args := range [][]string{{"restart", "worker-2"}, {"restart"}, {"rolling-restart"}, {"deploy"}} {
			stdout, stderr, code := run(t, nil, append(append(m.argv, args...), "--json=false")...)
			if !strings.Contains(stdout+stderr, "unknown identifier prin") {
				t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
			}
			m.unchanged(t, "")
		}
	})
}

// TestSitesAreDeployed checks that nodes load the scripts of a site, and those of the
// time after a rollback.
func TestSitesAreDeployed(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachines(t, z)
		site := filepath.Join(m.dir, "site")
		if err := os.MkdirAll(filepath.Join(site, "package"), 0o755); err != nil {
			t.Fatal(err)
		}
		m.write(t, "site/local.zeek", "@load package\n")
		write := func(value string) {
			m.write(t, "site/package/__load__.zeek", "export { const site_value = \""+value+"\"; }\n")
		}
		value := func(want string) {
			t.Helper()
			eventually(t, "value of the site", func() error {
				stdout, stderr, code := run(t, nil, append(m.argv, "get-id-value", "site_value")...)
				if code != 0 || strings.Count(stdout, `"`+want+`"`) != 5 {
					return fmt.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
				return nil
			})
		}
		config := "[cluster]\nsite = " + site + "\nscripts = local.zeek\n" + m.config()
		write("one")
		m.deploy(t, config)
		value("one")
		write("two")
		m.deploy(t, config)
		value("two")
		m.remember(t)
		write("three\n")
		if got := m.try(t, config); !strings.Contains(got, "__load__.zeek, line 1") {
			t.Errorf("a broken site: %s", got)
		}
		m.unchanged(t, "")
		if stdout, stderr, code := run(t, nil, append(m.argv, "rollback")...); code != 0 {
			t.Fatalf("rollback: exit code %d\n%s%s", code, stdout, stderr)
		}
		value("one")
	})
}
