package zeekctl_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

const manager = "[m]\ntype=manager\nhost=localhost\n[p]\ntype=proxy\nhost=localhost\n"

func options(t *testing.T, text string) zeekctl.Options {
	t.Helper()
	o, err := zeekctl.ParseOptions("zeekctl.cfg", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// describe returns a line for each node.
func describe(nodes []zeekctl.Node) []string {
	var all []string
	for _, n := range nodes {
		cpu := "-"
		if n.CPU != nil {
			cpu = fmt.Sprint(*n.CPU)
		}
		var env []string
		for _, name := range slices.Sorted(maps.Keys(n.Env)) {
			env = append(env, name+"="+n.Env[name])
		}
		all = append(all, strings.TrimRight(fmt.Sprintf("%s %s %s %s cpu=%s %s", n.Name, n.Type, n.Host, n.Interface, cpu, strings.Join(env, " ")), " "))
	}
	return all
}

func TestNodes(t *testing.T) {
	for _, tt := range []struct {
		name, options, nodes string
		want                 []string
	}{
		{"standalone", "", "[zeek]\ntype=standalone\nhost=localhost\ninterface=eth0\npin_cpus=3,4", []string{"zeek standalone localhost eth0 cpu=3"}},
		{"order, and values of the options", "env_vars = A=1, B = 2", "[w]\ntype=worker\nhost=localhost\nenv_vars=B=3\n[l]\ntype=logger\nhost=::1\n" + manager, []string{
			"l logger ::1  cpu=- A=1 B=2", "m manager localhost  cpu=- A=1 B=2", "p proxy localhost  cpu=- A=1 B=2", "w worker localhost  cpu=- A=1 B=3"}},
		{"interfaces, the last first", "", manager + "[w]\ntype=worker\nhost=localhost\nlb_method=interfaces\nlb_procs=2\nlb_interfaces=a, b", []string{
			"m manager localhost  cpu=-", "p proxy localhost  cpu=-", "w-1 worker localhost b cpu=-", "w-2 worker localhost a cpu=-"}},
		{"CPUs in turn", "", manager + "[w]\ntype=worker\nhost=localhost\ninterface=a\nlb_method=af_packet\nlb_procs=3\npin_cpus=5, 7", []string{
			"m manager localhost  cpu=-", "p proxy localhost  cpu=-", "w-1 worker localhost af_packet::a cpu=5",
			"w-2 worker localhost af_packet::a cpu=7", "w-3 worker localhost af_packet::a cpu=5"}},
		{"prefix and suffix", "LB_Custom.InterfacePrefix=x::\nlb_custom.interfacesuffix=@1", manager + "[w]\ntype=worker\nhost=localhost\ninterface=a\nlb_method=custom\nlb_procs=1", []string{
			"m manager localhost  cpu=-", "p proxy localhost  cpu=-", "w-1 worker localhost x::a@1 cpu=-"}},
		{"parts of a PF_RING interface", "PFRINGFirstAppInstance=2", manager + "[w]\ntype=worker\nhost=localhost\ninterface=zc:a\nlb_method=pf_ring\nlb_procs=2", []string{
			"m manager localhost  cpu=-", "p proxy localhost  cpu=-",
			"w-1 worker localhost zc:a@2 cpu=- PCAP_PF_RING_APPNAME=zeek-zc:a@2 PCAP_PF_RING_USE_CLUSTER_PER_FLOW_4_TUPLE=1 PCAP_PF_RING_ZC_RSS=1",
			"w-2 worker localhost zc:a@3 cpu=- PCAP_PF_RING_APPNAME=zeek-zc:a@3 PCAP_PF_RING_USE_CLUSTER_PER_FLOW_4_TUPLE=1 PCAP_PF_RING_ZC_RSS=1"}},
		{"no PF_RING", "pfringclusterid = 0", manager + "[w]\ntype=worker\nhost=localhost\ninterface=a\nlb_method=pf_ring\nlb_procs=1", []string{
			"m manager localhost  cpu=-", "p proxy localhost  cpu=-", "w-1 worker localhost a cpu=-"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes, warnings, err := zeekctl.ParseNodes("node.cfg", strings.NewReader(tt.nodes), options(t, tt.options))
			if err != nil || len(warnings) > 0 {
				t.Fatal(err, warnings)
			}
			if diff := cmp.Diff(tt.want, describe(nodes)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNodeErrors(t *testing.T) {
	worker := manager + "[w]\ntype=worker\nhost=localhost\n"
	for text, want := range map[string]string{
		"":                                  "no nodes found in node config (node.cfg)",
		"[a]\nhost=x":                       "no type given for node a (node.cfg:1:1)",
		"[a]\ntype=x\nhost=x":               "unknown node type 'x' given for node 'a' (node.cfg:2:6)",
		"[a]\ntype = manager":               "no host given for node 'a' (node.cfg:1:1)",
		"[a]\ntype=manager\nhost=x":         "no proxy defined in node config (node.cfg)",
		"[a]\ntype=proxy\nhost=x":           "no manager defined in node config (node.cfg)",
		"[a]\ntype = x\n[a]":                "section \"a\" occurs twice, first in line 1 (node.cfg:3:1)",
		"[a]\nbroken":                       "parsing error: key \"broken\" has no value (node.cfg:2:1)",
		manager + "[P]\ntype=proxy\nhost=x": "node name \"P\" is a duplicate of \"p\" (node.cfg:7:1)",
		manager + "[q]\ntype=proxy\nhost=x": "all nodes must use localhost/127.0.0.1/::1 when manager uses it (node.cfg:9:6)",
		manager + "[q]\ntype=manager\nhost=localhost":                  "only one manager can be defined in node config (node.cfg:8:6)",
		manager + "[q]\ntype=standalone\nhost=localhost":               "more than one node defined in standalone node config (node.cfg)",
		worker + "env_vars=A":                                          "node 'w' config: missing '=' in env_vars option value: A (node.cfg:10:10)",
		worker + "env_vars = =1":                                       "node 'w' config: env_vars option value must contain at least one environment variable name: =1 (node.cfg:10:12)",
		worker + "lb_method=custom":                                    "number of load-balanced processes not specified for node 'w' (node.cfg:10:11)",
		worker + "lb_procs=0":                                          "number of load-balanced processes must be greater than zero for node 'w' (node.cfg:10:10)",
		worker + "lb_procs=2000":                                       "number of load-balanced processes of node 'w' exceeds 1000 (node.cfg:10:10)",
		worker + "lb_procs=1\nlb_method=x":                             "unknown load balancing method 'x' given for node 'w' (node.cfg:11:11)",
		worker + "lb_procs=1\nlb_method=interfaces":                    "list of load-balanced interfaces not specified for node 'w' (node.cfg:11:11)",
		worker + "pin_cpus=-1":                                         "pin cpus list must contain only non-negative integers for node 'w' (node.cfg:10:10)",
		"[a]\ntype=logger\nhost=x\nlb_procs=1":                         "node 'a' config: load balancing node config options are only for worker nodes (node.cfg:4:10)",
		worker + "lb_procs=1\nlb_method=interfaces\nlb_interfaces=a,b": "number of load-balanced interfaces is not same as number of load-balanced processes for node 'w' (node.cfg:12:15)",
	} {
		_, _, err := zeekctl.ParseNodes("node.cfg", strings.NewReader(text), zeekctl.Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
	_, _, err := zeekctl.ParseNodes("node.cfg", strings.NewReader(manager), options(t, "\n Env_Vars = A"))
	if want := "zeekctl config: missing '=' in env_vars option value: A (zeekctl.cfg:2:13)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestWarnings has errors after which ZeekControl continues.
func TestWarnings(t *testing.T) {
	text := manager + "[w]\ntype=worker\nhost=localhost\ninterface=af_packet::a\nlb_method=%s\nlb_procs=1"
	for method, want := range map[string]string{
		"af_packet": "unexpected af_packet:: prefix for interface af_packet::a of w-1 (node.cfg:10:11)",
		"pf_ring":   "PFRINGClusterType \"round-robin\" not supported (zeekctl.cfg:1:21)",
	} {
		o := options(t, "PFRINGClusterType = round-robin")
		nodes, warnings, err := zeekctl.ParseNodes("node.cfg", strings.NewReader(fmt.Sprintf(text, method)), o)
		if method == "af_packet" {
			warnings = slices.DeleteFunc(warnings, func(e *configparser.Error) bool { return e.File != "node.cfg" })
		}
		if err != nil || warnings.Error() != want || nodes[2].Interface != "af_packet::a" || len(nodes[2].Env) != 0 {
			t.Errorf("%s: %v, %v, %+v", method, err, warnings, nodes)
		}
	}
}

func TestOptions(t *testing.T) {
	o := options(t, "# comment\n  comprEsSloGs   =     1 \nfoo1=this is a test\nMailTo=a\nmailto = b\nlogexpireinterval = 36 hrs\nzeekbase=/z\n")
	if !o.Bool("compresslogs", false) || o.Text("mailto", "") != "b" || o.LogExpireMinutes() != 36*60 || o.Int("zeekport", 7) != 7 {
		t.Errorf("%+v", o)
	}
	if len(o.Unknown) != 1 || o.Unknown[0].Name != "foo1" || len(o.Replaced) != 1 || o.Replaced[0].Value != "a" {
		t.Errorf("unknown %+v, replaced %+v", o.Unknown, o.Replaced)
	}
	if at := o.Get("compresslogs"); at.Line != 2 || at.Column != 24 || at.Written != "comprEsSloGs" {
		t.Errorf("%+v", at)
	}
	for name, want := range map[string]string{"zeek": "/z/bin/zeek", "sitepolicypath": "/z/share/zeek/site", "fileextractdir": "/z/spool/extract_files"} {
		if got := o.Path(name, "/other"); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := (zeekctl.Options{}).Path("zeek", ""); got != "" {
		t.Errorf("the path of an unknown installation is %s", got)
	}
}

func TestNetworks(t *testing.T) {
	nets, err := zeekctl.ParseNetworks("networks.cfg", strings.NewReader("# Ours\n\n 10.1.2.3/8\tour  net \n[fe80::]/64\nfe80::1/64\n"))
	if want := "invalid CIDR notation in file: [fe80::]/64 (networks.cfg:4:1)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if len(nets) != 2 || nets[0].Prefix.String() != "10.0.0.0/8" || nets[0].Name != "our  net" || nets[0].Line != 3 || nets[1].Prefix.String() != "fe80::/64" {
		t.Errorf("%+v", nets)
	}
}

func TestSize(t *testing.T) {
	large := strings.Repeat("#", zeekctl.MaxSize+1)
	_, errOptions := zeekctl.ParseOptions("f", strings.NewReader(large))
	_, errNetworks := zeekctl.ParseNetworks("f", strings.NewReader(large))
	_, _, errNodes := zeekctl.ParseNodes("f", strings.NewReader(large), zeekctl.Options{})
	for _, err := range []error{errOptions, errNetworks, errNodes} {
		if err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("error %v", err)
		}
	}
}

// FuzzParse checks that no files cause a panic, that errors have positions, and that the
// nodes of valid files are unique.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("../../cmd/internal/importer/testdata/zeekctl-*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		parts := map[string]string{}
		for _, part := range strings.Split(string(text), "\n-- ") {
			name, part, _ := strings.Cut(part, " --\n")
			parts[filepath.Base(name)] = part
		}
		f.Add(parts["node.cfg"], parts["zeekctl.cfg"], parts["networks.cfg"])
	}
	f.Fuzz(func(t *testing.T, nodes, settings, networks string) {
		o, err := zeekctl.ParseOptions("zeekctl.cfg", strings.NewReader(settings))
		checkErrors(t, err)
		_, err = zeekctl.ParseNetworks("networks.cfg", strings.NewReader(networks))
		checkErrors(t, err)
		parsed, warnings, err := zeekctl.ParseNodes("node.cfg", strings.NewReader(nodes), o)
		checkErrors(t, err)
		checkErrors(t, warnings)
		seen := map[string]bool{}
		for _, n := range parsed {
			if seen[strings.ToLower(n.Name)] {
				t.Errorf("two nodes are %q", n.Name)
			}
			seen[strings.ToLower(n.Name)] = true
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var errs configparser.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("error of type %T: %v", err, err)
	}
	for _, e := range errs {
		if e.Text == "" || e.Line < 0 || e.Column < 0 {
			t.Errorf("error %+v", e)
		}
	}
}
