package live

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// supervisorRecords lists the fields of Supervisor::ClusterEndpoint and
// Supervisor::NodeConfig in releases of Zeek, most of which are not available
// to the tests (Zeek: base/frameworks/supervisor/api).
var supervisorRecords = []struct {
	name             string
	layout           supervisor.Layout
	endpoint, config string
}{
	{"Zeek50", supervisor.Layout40, "role host p interface",
		"name interface directory stdout_file stderr_file bare_mode scripts env cpu_affinity cluster"},
	{"Zeek51", supervisor.Layout51, "role host p interface",
		"name interface directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts scripts env cpu_affinity cluster"},
	{"Zeek60", supervisor.Layout60, "role host p interface pcap_file",
		"name interface pcap_file directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts scripts env cpu_affinity cluster"},
	{"Zeek61", supervisor.Layout61, "role host p interface pcap_file",
		"name interface pcap_file directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts env cpu_affinity cluster"},
	{"Zeek70", supervisor.Layout61, "role host p interface pcap_file metrics_port",
		"name interface pcap_file directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts env cpu_affinity cluster"},
}

// fieldTypes maps fields to their types, unless they are optional strings.
var fieldTypes = map[string]string{
	"name": "string", "bare_mode": "bool &optional", "cpu_affinity": "int &optional",
	"scripts": "vector of string &default=vector()", "addl_base_scripts": "vector of string &default=vector()",
	"addl_user_scripts": "vector of string &default=vector()", "env": "table[string] of string &default=table()",
	"cluster": "table[string] of Endpoint &default=table()",
	"role":    "Supervisor::ClusterRole", "host": "addr", "p": "port", "metrics_port": "port &optional",
}

func recordType(name, fields string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\ttype %s: record {\n", name)
	for field := range strings.FieldsSeq(fields) {
		kind, ok := fieldTypes[field]
		if !ok {
			kind = "string &optional"
		}
		fmt.Fprintf(&b, "\t\t%s: %s;\n", field, kind)
	}
	b.WriteString("\t};\n")
	return b.String()
}

// TestSupervisorLayouts declares the records of earlier Supervisors in a Zeek.
// It must read the records that we write for these releases, and we must read
// its records.
func TestSupervisorLayouts(t *testing.T) {
	var script strings.Builder
	for _, r := range supervisorRecords {
		fmt.Fprintf(&script, "module %s;\nexport {\n%s%s\tglobal create: event(reqid: string, node: Config);\n\tglobal back: event(reqid: string, node: Config);\n}\n",
			r.name, recordType("Endpoint", r.endpoint), recordType("Config", r.config))
		fmt.Fprintf(&script, "event create(reqid: string, node: Config) { Broker::publish(\"layouts/back\", back, reqid, node); }\n")
	}
	script.WriteString("event zeek_init() { Broker::subscribe(\"layouts/there\"); }\n")

	forEachZeek(t, func(t *testing.T, z *installation) {
		file := filepath.Join(t.TempDir(), "layouts.zeek")
		if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		port, tls := freePort(t), plain(t)
		argv := append([]string{z.zeek}, z.brokerBackend()...)
		argv = append(argv, file, "exit_only_after_terminate=T", "-e",
			fmt.Sprintf(`event zeek_init() { Broker::listen("127.0.0.1", %d/tcp); }`, port))
		start(t, "Zeek with records of other releases", nil, append(argv, tls.args...)...)
		v, bus := newVisitor(t, peering.Config{Subscriptions: []string{"layouts/back"}, TLS: tls.layer.Hook()})
		if err := bus.AddPeer(at(port)); err != nil {
			t.Fatal(err)
		}
		v.awaitPeer()
		for _, r := range supervisorRecords {
			for what, sent := range map[string]supervisor.NodeConfig{"everything": fullNode(), "a name": {Name: "w"}} {
				t.Run(r.name+" "+what, func(t *testing.T) {
					dialect := supervisor.Dialect(supervisor.Topic, r.layout)
					ev, err := dialect.Encode(supervisor.CreateRequest{ReqID: zeekapi.ReqID{ID: t.Name()}, Node: sent})
					if err != nil {
						t.Fatal(err)
					}
					name := ev.Name
					ev.Name = r.name + "::create"
					// Skip responses to earlier requests, which may arrive twice.
					back := (&visitor{t, v.ctx, bus}).ask("layouts/there", ev, func(back broker.Event) bool {
						return len(back.Args) == 2 && broker.Equal(back.Args[0], ev.Args[0])
					})
					if fields := len(strings.Fields(r.config)); back.Name != r.name+"::back" || back.Args[1].Len() != fields {
						t.Fatalf("got %s, want %d fields", back, fields)
					}
					back.Name = name
					got, err := dialect.Decode(back)
					if err != nil {
						t.Fatal(err)
					}
					checked(t)
					if diff := cmp.Diff(as(sent, r.layout, r.endpoint), got.(supervisor.CreateRequest).Node,
						cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
						t.Errorf("(-want +got)\n%s", diff)
					}
				})
			}
		}
	})
}

// fullNode is a node with every field set.
func fullNode() supervisor.NodeConfig {
	bare, cpu := true, int64(3)
	return supervisor.NodeConfig{
		Name: "w", Interface: "eth0", PCAPFile: "x.pcap", Directory: "/d", Stdout: "out", Stderr: "err", BareMode: &bare,
		BaseScripts: []string{"before"}, UserScripts: []string{"a", "b"}, Env: map[string]string{"K": "v"}, CPUAffinity: &cpu,
		Cluster: map[string]supervisor.Endpoint{"w": {
			Role: zeekapi.RoleWorker, Host: netip.MustParseAddr("10.0.0.1"), Port: broker.TCP(2200),
			Interface: "eth0", PCAPFile: "x.pcap", MetricsPort: broker.TCP(9000),
		}},
	}
}

// as returns a node reduced to the fields of a release with the given layout
// and fields of endpoints.
func as(n supervisor.NodeConfig, l supervisor.Layout, endpoint string) supervisor.NodeConfig {
	if l == supervisor.Layout40 {
		n.BaseScripts, n.UserScripts = nil, slices.Concat(n.BaseScripts, n.UserScripts)
	}
	if l == supervisor.Layout40 || l == supervisor.Layout51 {
		n.PCAPFile = ""
	}
	n.Cluster = maps.Clone(n.Cluster)
	for name, e := range n.Cluster {
		if !strings.Contains(endpoint, "pcap_file") {
			e.PCAPFile = ""
		}
		if !strings.Contains(endpoint, "metrics_port") {
			e.MetricsPort = broker.Port{}
		}
		n.Cluster[name] = e
	}
	return n
}
