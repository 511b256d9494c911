package zeekconf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/zeekconf"
)

func parse(t *testing.T, name, text string) *zeekconf.Config {
	t.Helper()
	c, err := zeekconf.Parse(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nodes returns a line for each node.
func nodes(c *zeekconf.Config) []string {
	var all []string
	for _, n := range c.Nodes() {
		cpu := "-"
		if cpus := n.CPUs(); cpus != nil {
			cpu = strings.Trim(fmt.Sprint(cpus), "[]")
		}
		all = append(all, fmt.Sprintf("%s %s %q cpu=%s port=%d metrics=%d %v", n.Name, n.Role, n.Interface, cpu, n.Port, n.MetricsPort, n.Variables))
	}
	return all
}

func TestNodes(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             []string
	}{
		{"nothing", "zeek.conf", "# only a comment\n", nil},
		{"no sections", "zeek.conf", "manager=1\nloggers = 1\r\nworkers = 2\ninterface = eth${worker_index0}\nworkers_cpu_list = 7\n", []string{
			`manager MANAGER "" cpu=- port=27760 metrics=9991 []`,
			`logger-1 LOGGER "" cpu=- port=27761 metrics=9992 []`,
			`worker-1 WORKER "eth0" cpu=7 port=0 metrics=9993 []`,
			`worker-2 WORKER "eth1" cpu=7 port=0 metrics=9994 []`}},
		{"CPUs are dealt out to all workers of the machine", "zeek.conf",
			"[interface a]\nworkers = 1\ninterface = x\n[interface b-1_c]\nworkers = 2\ninterface = ${interface_section_name}\nworkers_cpu_list = 4-8:2,1\n" +
				"worker_env = A=${worker_cpu}\n  B=${host_worker_index}-${worker_index}\n", []string{
				`worker-a-1 WORKER "x" cpu=- port=0 metrics=9991 []`,
				`worker-b-1_c-1 WORKER "b-1_c" cpu=6 port=0 metrics=9992 [{A 6} {B 2-1}]`,
				`worker-b-1_c-2 WORKER "b-1_c" cpu=8 port=0 metrics=9993 [{A 8} {B 3-2}]`}},
		{"sets of CPUs", "zeek.conf", "manager = 1\nloggers = 1\nproxies = 1\nmanager_cpu_set = 0-2,9\nlogger_cpu_set = 3\nmetrics_port = 0", []string{
			`manager MANAGER "" cpu=0 1 2 9 port=27760 metrics=0 []`,
			`logger-1 LOGGER "" cpu=3 port=27761 metrics=0 []`,
			`proxy-1 PROXY "" cpu=- port=27762 metrics=0 []`}},
		{"the name of the file is a prefix, except of the manager", "cluster/mgr.zeek.conf", "manager = 1\nproxies = 1\nmetrics_port = 0\nport = 10", []string{
			`manager MANAGER "" cpu=- port=10 metrics=0 []`,
			`mgr-proxy-1 PROXY "" cpu=- port=11 metrics=0 []`}},
		{"an empty prefix", "mgr.zeek.conf", "proxies = 1\ncluster_node_prefix =\nenv = A=\\${x}\nproxy_env = B=1", []string{
			`proxy-1 PROXY "" cpu=- port=27760 metrics=9991 [{A ${x}} {B 1}]`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, nodes(parse(t, tt.file, tt.text))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c := parse(t, "zeek.conf", "manager = 1\nfoo = bar\n")
	if !c.Archives || c.ArchiverCommand != "" || c.Address != "127.0.0.1" || c.Args() != "local" || c.BackendArgs != zeekconf.DefaultBackendArgs {
		t.Errorf("%+v", c)
	}
	if len(c.Unknown) != 1 || c.Unknown[0].Key != "foo" || c.Unknown[0].Line != 2 || c.Unknown[0].Column != 7 {
		t.Errorf("unknown options %+v", c.Unknown)
	}
	c = parse(t, "a.zeek.conf", "[zeek]\narchiver = /usr/bin/ship\nargs = a\n  b\n[other]\n[more]\nx = 1\n")
	if !c.Archives || c.ArchiverCommand != "/usr/bin/ship" || c.Address != "" || c.Host != "a" || c.Args() != "a b" {
		t.Errorf("%+v", c)
	}
	if len(c.Unknown) != 2 || c.Unknown[0].Section != "other" || c.Unknown[1].Key != "x" {
		t.Errorf("unknown options %+v", c.Unknown)
	}
	if c = parse(t, "zeek.conf", "workers = 0\ninterface =\n"); c.Archives {
		t.Error("a machine without loggers archives logs")
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"Manager = 1":                        "invalid line 'Manager = 1' (zeek.conf:1:1)",
		"  continued":                        "unexpected continuation line '  continued' (zeek.conf:1:3)",
		"a = 1\na = 2":                       "duplicate option 'a' (zeek.conf:2:1)",
		"[zeek]\n[zeek]":                     "duplicate section 'zeek' (zeek.conf:2:2)",
		"a = 1\n[zeek]":                      "options in unnamed section mixed with options in sections (zeek.conf:1:1)",
		"manager = 2":                        "invalid manager value: '2' (zeek.conf:1:11)",
		"loggers =   -1":                     "invalid loggers value: '-1' (zeek.conf:1:13)",
		"proxies = +1":                       "invalid proxies value: '+1' (zeek.conf:1:11)",
		"workers = 1x\ninterface = x":        "invalid workers value: '1x' (zeek.conf:1:11)",
		"workers = 1":                        "found workers but no interface option (zeek.conf:1:1)",
		"interface = x":                      "found interface but no worker option (zeek.conf:1:1)",
		"user = a\n  b":                      "multiple values for 'user' given (zeek.conf:1:8)",
		"[zeek]\nnope = 1":                   "invalid key 'nope' in section 'zeek' (zeek.conf:2:1)",
		"[zeek]\nmanager_nice =":             "invalid key 'manager_nice' in section 'zeek' (zeek.conf:2:1)",
		"[interface x]":                      "empty section (zeek.conf:1:1)",
		"[interface x]\nargs = a":            "invalid option 'args' in section 'interface x' (zeek.conf:2:1)",
		"address = ::1":                      "invalid address '::1' (zeek.conf:1:11)",
		"address = [1.2.3.4]":                "invalid address '[1.2.3.4]' (zeek.conf:1:11)",
		"address = [fe80::1%eth0]":           "invalid address '[fe80::1%eth0]' (zeek.conf:1:11)",
		"env = A":                            "error in env: invalid env value 'A' (zeek.conf:1:7)",
		"proxy_cpu_set = 3-1":                "invalid proxy_cpu_set '3-1' (zeek.conf:1:17)",
		"proxy_cpu_set = 0-999999999":        "invalid proxy_cpu_set '0-999999999': more than 65536 CPUs (zeek.conf:1:17)",
		"workers = 1\ninterface = a${b}":     "interface substitution for 'a${b}' failed: invalid substitution var 'b' (zeek.conf:2:13)",
		"workers = 1\ninterface = a${b":      "interface substitution for 'a${b' failed: '${' without '}' (zeek.conf:2:13)",
		"manager = 1\nenv = A=${b}":          "worker_env substitution for '${b}' failed of 'A': invalid substitution var 'b' (zeek.conf:2:7)",
		"manager = 1\nport = 70000":          "port '70000' is not a number in 1..65535 (zeek.conf:2:8)",
		"manager = 1\nmetrics_port = -1":     "metrics port '-1' is not a number in 0..65535 (zeek.conf:2:16)",
		"loggers = 2\nport = 65535":          "no port is left for node logger-2 (zeek.conf)",
		"proxies = 1000":                     "1000 nodes on one machine, limit is 1000 (zeek.conf)",
		"caf\xe9 = 1":                        "line is not UTF-8 (zeek.conf:1)",
		"workers = 1\ninterface = ä${Zürich": "interface substitution for 'ä${Zürich' failed: '${' without '}' (zeek.conf:2:13)",
	} {
		_, err := zeekconf.Parse("zeek.conf", strings.NewReader(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
		if errs := (configparser.Errors)(nil); !errors.As(err, &errs) {
			t.Errorf("%q: error of type %T", text, err)
		}
	}
}

func TestSize(t *testing.T) {
	_, err := zeekconf.Parse("zeek.conf", strings.NewReader(strings.Repeat("#", zeekconf.MaxSize+1)))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

func TestCheckCluster(t *testing.T) {
	a := parse(t, "a.zeek.conf", "manager = 1\nloggers = 1\ncluster_node_prefix =")
	b := parse(t, "b.zeek.conf", "manager = 1\nloggers = 1\ncluster_node_prefix =")
	c := parse(t, "c.zeek.conf", "loggers = 1")
	if err := zeekconf.CheckCluster("dir", []*zeekconf.Config{a, c}); err != nil {
		t.Error(err)
	}
	want := "node 'logger-1' is also one of a.zeek.conf (b.zeek.conf)\ntoo many manager nodes (2) from dir (dir)"
	if err := zeekconf.CheckCluster("dir", []*zeekconf.Config{a, b, c}); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// FuzzParse checks that no file causes a panic, that errors have positions in the file,
// and that the nodes of a valid file are unique.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("../../cmd/internal/importer/testdata/zeekconf-*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "-- ") {
			_, part, _ = strings.Cut(part, "\n")
			f.Add(part)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := zeekconf.Parse("host.zeek.conf", strings.NewReader(text))
		if err != nil {
			errs := (configparser.Errors)(nil)
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("error of type %T: %v", err, err)
			}
			for _, e := range errs {
				if e.Text == "" || e.Line < 0 || e.Line > strings.Count(text, "\n")+1 || e.Column < 0 {
					t.Errorf("error %+v", e)
				}
			}
			return
		}
		if err := zeekconf.CheckCluster("dir", []*zeekconf.Config{c}); err != nil {
			t.Error(err)
		}
	})
}
