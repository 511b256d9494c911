package live

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
)

// siteID is the name of the site of writeSite.
const siteID = "5e5d0a0000000000000000000000000000000000000000000000000000000000"

// machine is a launcher without an agent, and the directory of its files.
type machine struct {
	*testing.T
	*zeek.Launcher
	z       *installation
	dir     string
	agent   netip.AddrPort
	manager broker.Port
}

func newMachine(t *testing.T, z *installation) *machine {
	t.Helper()
	z.needsChildren(t)
	m := &machine{T: t, z: z, dir: t.TempDir(), manager: broker.TCP(uint16(freePort(t)))}
	m.agent = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort(t))) // no agent listens at this port
	showLogs(t, m.dir)
	m.launch()
	t.Cleanup(func() { m.Launcher.Close(t.Context()) })
	return m
}

// launch creates a launcher, in place of one that has left its nodes.
func (m *machine) launch() {
	m.Helper()
	var err error
	m.Launcher, err = zeek.New(m.Context(), zeek.Config{
		Binary: m.z.zeek, StateDir: m.file("state"), SitesDir: m.file("sites"), Agent: nodescript.Agent{Listen: m.agent},
		TLS: security.Config{Mode: security.Off}, Log: zerolog.New(zerolog.NewTestWriter(m.T)),
	})
	if err != nil {
		m.Fatal(err)
	}
}

func (m *machine) file(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) string {
	m.Helper()
	file := m.file(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.Fatal(err)
	}
	return file
}

// node returns a node of a cluster with a manager and a worker.
func (m *machine) node(name string, role zeekapi.ClusterRole, scripts ...string) launch.Node {
	n := launch.Node{Node: zeekapi.Node{Name: name, Instance: "i", Role: role, Scripts: scripts}}
	localhost := netip.MustParseAddr("127.0.0.1")
	members := []zeekapi.Member{{Name: "manager", Role: zeekapi.RoleManager, Host: localhost, Port: m.manager}}
	if role == zeekapi.RoleManager {
		n.Port = m.manager
	} else {
		members = append(members, zeekapi.Member{Name: name, Role: role, Host: localhost})
	}
	n.Layout, _ = zeekapi.NewLayout(members) // these are valid
	return n
}

// event returns the next event of a kind, and ignores others.
func event[E launch.Event](m *machine) E {
	m.Helper()
	for {
		ev, err := m.Next(m.Context())
		if err != nil {
			m.Fatal(err)
		}
		if e, ok := ev.(E); ok {
			return e
		}
		if e, ok := ev.(launch.Exited); ok {
			m.Fatalf("node %s has ended: %v\n%s", e.Node, e.Err, e.Outputs.Stderr)
		}
	}
}

// run starts a node, waits until it has listed its scripts, and returns its process.
func (m *machine) run(n launch.Node) (pid int) {
	m.Helper()
	m.Start(n)
	pid = int(event[launch.Started](m).PID)
	eventually(m.T, "fingerprint of "+n.Name, func() error {
		_, err := os.Stat(m.fingerprint(n.Name))
		return err
	})
	return pid
}

func (m *machine) fingerprint(node string) string {
	return m.file(filepath.Join("state", "nodes", node, "scripts.json"))
}

// loaded returns the scripts that a node has loaded and that the launcher watches.
func (m *machine) loaded(node string) []string {
	m.Helper()
	text, err := os.ReadFile(m.fingerprint(node))
	if err != nil {
		m.Fatal(err)
	}
	var f struct{ Files []struct{ Path string } }
	if err := json.Unmarshal(text, &f); err != nil {
		m.Fatal(err)
	}
	var paths []string
	for _, file := range f.Files {
		paths = append(paths, file.Path)
	}
	slices.Sort(paths)
	return paths
}

// trial returns the errors of a trial, by node.
func (m *machine) trial(nodes ...launch.Node) map[string]string {
	m.Helper()
	m.Check(nodes, true)
	wrong := make(map[string]string)
	for range nodes {
		if c := event[launch.Checked](m); c.Err != nil {
			wrong[c.Node.Name] = c.Err.Error()
		}
	}
	return wrong
}

func (m *machine) edited() map[string][]string {
	m.Helper()
	m.Scan()
	return event[launch.Edited](m).Nodes
}

// TestBrokenScriptsAreRefusedByTheCheck checks that a trial finds scripts that Zeek cannot
// load, and that it does not affect running nodes.
func TestBrokenScriptsAreRefusedByTheCheck(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachine(t, z)
		included := m.write("scripts/included.zeek", "global included = T;\n")
		good := m.write("scripts/good.zeek", "@load ./included\nevent zeek_init() { print included; }\n")
		syntax := m.write("scripts/syntax.zeek", "event zeek_init() { prin \"x\"; }\n")
		missing := m.write("scripts/missing.zeek", "@load no/such/script\n")
		pids := []int{m.run(m.node("manager", zeekapi.RoleManager)), m.run(m.node("worker", zeekapi.RoleWorker, good))}

		worker := func(name string, scripts ...string) launch.Node { return m.node(name, zeekapi.RoleWorker, scripts...) }
		nodes := []launch.Node{
			m.node("manager", zeekapi.RoleManager), worker("worker", good), worker("worker-2", good), worker("plain"),
			worker("syntax", syntax), worker("missing", missing), worker("absent", "no-such-script"),
		}
		want := map[string]string{
			"syntax":  syntax + ", line 1: unknown identifier prin",
			"missing": missing + ", line 1: can't find no/such/script",
			"absent":  "can't find no-such-script",
		}
		expect := func(when string, nodes ...launch.Node) {
			t.Helper()
			wrong := m.trial(nodes...)
			for name, text := range wrong {
				if want[name] == "" || !strings.HasPrefix(text, "scripts do not load: ") || !strings.Contains(text, want[name]) {
					t.Errorf("%s: node %s: got %q, want %q", when, name, text, want[name])
				}
			}
			if len(wrong) != len(want) {
				t.Errorf("%s: problems of %d nodes, want %d: %q", when, len(wrong), len(want), wrong)
			}
		}
		expect("first trial", nodes...)

		// A file that a script loads has changed.
		m.write("scripts/included.zeek", "global included = ;\n")
		broken := filepath.Base(included) + ", line 1: no type given (included)"
		want["worker"], want["worker-2"] = broken, broken
		expect("second trial", nodes...)

		for i, pid := range pids {
			if err := syscall.Kill(pid, 0); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
	})
}

// TestEditedScriptsAreReported checks that the launcher knows what its nodes have loaded,
// and reports what changed, also after a restart of the agent.
func TestEditedScriptsAreReported(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachine(t, z)
		included := m.write("scripts/included.zeek", "global included = T;\n")
		main := m.write("scripts/main.zeek", "@load ./included\n@load policy/tuning/json-logs\n")
		m.run(m.node("manager", zeekapi.RoleManager))
		pid := m.run(m.node("worker", zeekapi.RoleWorker, main))
		if diff := cmp.Diff([]string{included, main}, m.loaded("worker")); diff != "" {
			t.Errorf("loaded (-want +got):\n%s", diff)
		}
		if got := m.edited(); len(got) != 0 {
			t.Errorf("before any change: %v", got)
		}
		m.write("scripts/included.zeek", "global included = F;\n")
		want := map[string][]string{"worker": {included}}
		if diff := cmp.Diff(want, m.edited()); diff != "" {
			t.Errorf("changed (-want +got):\n%s", diff)
		}
		m.Leave()
		m.launch()
		if diff := cmp.Diff(want, m.edited()); diff != "" {
			t.Errorf("next launcher (-want +got):\n%s", diff)
		}
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("the node: %v", err)
		}
		m.write("scripts/included.zeek", "global included = T;\n")
		if got := m.edited(); len(got) != 0 {
			t.Errorf("changed back: %v", got)
		}
	})
}

// TestSiteComesFirst checks that a node finds the scripts and plugins of its site before
// those of the Zeek installation.
func TestSiteComesFirst(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		m := newMachine(t, z)
		site := func(name, text string) string { return m.write(filepath.Join("sites", siteID, name), text) }
		local := site("local.zeek", "@load packages/mine\n@load from-plugin\n")
		mine := site("packages/mine/__load__.zeek", "")
		plugin := site("plugin/scripts/from-plugin.zeek", "")
		for _, magic := range []string{"__bro_plugin__", "__zeek_plugin__"} {
			site("plugin/"+magic, "Test::Site")
		}
		worker := m.node("worker", zeekapi.RoleWorker, "local.zeek")
		worker.Site = siteID
		want := map[string]string{"other": "site 5e5d0a000001 is not on this machine"}
		other := worker
		other.Name, other.Site = "other", strings.Replace(siteID, "000000", "000001", 1)
		if diff := cmp.Diff(want, m.trial(worker, other)); diff != "" {
			t.Errorf("trial (-want +got):\n%s", diff)
		}
		m.run(m.node("manager", zeekapi.RoleManager))
		m.run(worker)
		scripts := []string{local, mine, plugin}
		slices.Sort(scripts)
		if diff := cmp.Diff(scripts, m.loaded("worker")); diff != "" {
			t.Errorf("loaded (-want +got):\n%s", diff)
		}

		// A broken site is found.
		site("packages/mine/__load__.zeek", "event zeek_init() { prin \"x\"; }\n")
		if got := m.trial(worker)["worker"]; !strings.HasPrefix(got, "scripts do not load: error in "+mine) {
			t.Errorf("broken site: got %q", got)
		}
	})
}
