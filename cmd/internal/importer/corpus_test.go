package importer

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// corpusTable is the file to which TestCorpus writes its table.
var corpusTable = flag.String("corpus.write", "", "`FILE` for the table of TestCorpus")

// TestCorpus imports every configuration in the tests of ZeekControl and of Zeek's
// generator for systemd, in source trees that the environment names, and compares the
// nodes with those that ZeekControl and the generator make of it.
func TestCorpus(t *testing.T) {
	zeek, zeekctl := os.Getenv("ZEEK_SOURCE"), os.Getenv("ZEEKCTL_SOURCE")
	if zeek == "" || zeekctl == "" {
		t.Skip("CORPUS NOT COMPARED: ZEEK_SOURCE and ZEEKCTL_SOURCE are not set")
	}
	var c corpus
	t.Run("ZeekControl", func(t *testing.T) { c.zeekControl(t, zeekctl) })
	t.Run("zeek.conf", func(t *testing.T) { c.zeekConf(t, zeek) })
	if *corpusTable != "" {
		if err := os.WriteFile(*corpusTable, []byte(c.table(t)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// reference is a node as ZeekControl or the generator runs it.
type reference struct {
	name, role, host, source, cpu string
	env                           map[string]string
	args                          []string
	port, metricsPort             string // "" for none
}

// outcome is a row of the table.
type outcome struct {
	corpus, test, files string
	nodes               int
	result              string // equal, refused or different
	reasons             []string
}

const (
	equal     = "equal"
	refused   = "refused as upstream"
	different = "different"
)

type corpus struct{ rows []outcome }

// add adds a row, and fails if a difference has no reason.
func (c *corpus) add(t *testing.T, o outcome, differences []string) {
	t.Helper()
	for _, d := range differences {
		o.result = different
		reason := reasonOf(d)
		if reason == "" {
			t.Errorf("%s %s: %s", o.test, o.files, d)
			reason = "no reason: " + d
		}
		if !slices.Contains(o.reasons, reason) {
			o.reasons = append(o.reasons, reason)
		}
	}
	c.rows = append(c.rows, o)
}

// reasons maps regular expressions of differences to their names in the documents, which
// explain them.
var reasons = []struct{ pattern, name string }{
	{`standalone node`, "standalone"},
	{`: order of arguments`, "order of arguments"},
	{`: arguments: missing \[-B .*\]`, "options of zeek"},
	{`: arguments: additional \[AF_Packet::fanout_id=\d+\]$`, "fan-out IDs"},
	{`: environment: missing .*\$`, "variables of a shell"},
	{`: metrics port .* assigned in another order$`, "order of ports"},
	{`: port .* assigned in another order$`, "order of ports"},
}

func reasonOf(difference string) string {
	for _, r := range reasons {
		if regexp.MustCompile(r.pattern).MatchString(difference) {
			return r.name
		}
	}
	return ""
}

// table returns the table of all rows.
func (c *corpus) table(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	counts := map[string]int{}
	for _, r := range c.rows {
		counts[r.result]++
	}
	fmt.Fprintf(&out, "# Results of the import of upstream's configurations\n\n"+
		"Made by `make corpus`: the nodes that run after `zeekwire import` of every configuration in the tests and the documentation of\n"+
		"ZeekControl and of Zeek's generator for systemd, compared with those that these programs make of it. Compared are names, roles,\n"+
		"machines, packet sources, CPUs, environment, arguments, and ports, except those of workers. [Coming from ZeekControl](../docs/howto/from-zeekctl.md) and\n"+
		"[Coming from zeek.conf](../docs/howto/from-zeek-conf.md) explain each reason.\n\n"+
		"%d configurations: %d equal, %d refused as upstream, %d different with a reason.\n\n| Corpus | Test | Configuration | Nodes | Result |\n|---|---|---|---|---|\n",
		len(c.rows), counts[equal], counts[refused], counts[different])
	for _, r := range c.rows {
		result := r.result
		if len(r.reasons) > 0 {
			result += ": " + strings.Join(r.reasons, "; ")
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %d | %s |\n", r.corpus, r.test, r.files, r.nodes, result)
	}
	return out.String()
}

// imported returns the nodes that run after an import, in the form of references.
func imported(t *testing.T, p *Plan) []reference {
	t.Helper()
	text, err := p.ClusterFile()
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := ParseClusterFile(text)
	if err != nil {
		t.Fatal(err)
	}
	assign(t, p, &config)
	var all []reference
	for _, n := range config.Nodes {
		m := p.machine(n.Instance)
		r := reference{name: n.Name, role: strings.ToLower(string(n.Role)), host: m.Address, source: n.Interface, env: n.Env, args: nodeArguments(t, m, n)}
		r.cpu = n.Affinity()
		if n.Port.Number != 0 {
			r.port = fmt.Sprint(n.Port.Number)
		}
		if n.MetricsPort.Number != 0 {
			r.metricsPort = fmt.Sprint(n.MetricsPort.Number)
		}
		all = append(all, r)
	}
	return all
}

// assign assigns the ports as the controller of the plan does.
func assign(t *testing.T, p *Plan, config *zeekapi.Configuration) {
	t.Helper()
	s := controller.DefaultSettings()
	for _, setting := range p.Controller {
		var err error
		switch setting.Name {
		case "auto-assign-broker-start-port":
			_, err = fmt.Sscanf(setting.Value, "%d/tcp", &s.BrokerStartPort)
		case "auto-assign-metrics-start-port":
			_, err = fmt.Sscanf(setting.Value, "%d/tcp", &s.MetricsStartPort)
		case "auto-assign-metrics-ports":
			s.AssignMetricsPorts = setting.Value == "true"
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range config.Instances {
		// The addresses of machines are not looked up here, so ports are assigned as if
		// machines had different ones.
		config.Instances[i].Host = fakeAddress(i)
	}
	if err := s.AssignPorts(config); err != nil {
		t.Fatal(err)
	}
}

// nodeArguments returns the arguments of zeek for a node, as its agent passes them.
func nodeArguments(t *testing.T, m *Machine, n zeekapi.Node) []string {
	t.Helper()
	args := slices.Clone(n.Scripts)
	for _, s := range m.Settings {
		switch {
		case s.Name == "node-args":
			words, err := shlex.Split(s.Value)
			if err != nil {
				t.Fatal(err)
			}
			args = append(words, args...)
		case s.Name == "tls" && s.Value == "off":
			args = append(args, "Broker::disable_ssl=T")
		}
	}
	return args
}

// compare returns the differences between nodes. The function text normalizes what the
// reference has in another form.
func compare(got, want []reference, text func(string) string) []string {
	var all []string
	found := map[string]reference{}
	for _, g := range got {
		found[g.name] = g
	}
	for _, w := range want {
		g, ok := found[w.name]
		if !ok {
			all = append(all, fmt.Sprintf("node %s: %s is missing", w.name, w.role))
			continue
		}
		delete(found, w.name)
		all = append(all, g.differences(w, text)...)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, "node "+name+" is additional")
	}
	return all
}

func (n reference) differences(w reference, text func(string) string) []string {
	var all []string
	fail := func(format string, args ...any) {
		all = append(all, "node "+w.name+": "+fmt.Sprintf(format, args...))
	}
	for _, f := range []struct{ what, got, want string }{
		{"role", n.role, w.role}, {"machine", n.host, w.host}, {"packet source", n.source, w.source},
	} {
		if text(f.got) != text(f.want) {
			fail("%s %q, want %q", f.what, f.got, f.want)
		}
	}
	if n.cpu != w.cpu {
		fail("CPU %q, want %q", n.cpu, w.cpu)
	}
	for name, value := range w.env {
		if got, ok := n.env[name]; !ok {
			fail("environment: missing %s=%s", name, value)
		} else if text(got) != text(value) {
			fail("environment: %s=%s, want %s", name, got, value)
		}
	}
	for name := range n.env {
		if _, ok := w.env[name]; !ok {
			fail("environment: additional %s", name)
		}
	}
	all = append(all, n.differentArgs(w, text)...)
	switch {
	case n.port == w.port:
	case w.role == "worker" && n.port == "":
		fail("port %s of a worker", w.port)
	case n.port != "" && w.port != "":
		fail("port %s, want %s, assigned in another order", n.port, w.port)
	default:
		fail("port %q, want %q", n.port, w.port)
	}
	switch {
	case n.metricsPort == w.metricsPort:
	case n.metricsPort != "" && w.metricsPort != "":
		fail("metrics port %s, want %s, assigned in another order", n.metricsPort, w.metricsPort)
	default:
		fail("metrics port %q, want %q", n.metricsPort, w.metricsPort)
	}
	return all
}

func (n reference) differentArgs(w reference, text func(string) string) []string {
	normalize := func(args []string) []string {
		var out []string
		for _, a := range args {
			out = append(out, text(a))
		}
		return out
	}
	got, want := normalize(n.args), normalize(w.args)
	var missing, additional []string
	rest := slices.Clone(got)
	for _, a := range want {
		if i := slices.Index(rest, a); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			missing = append(missing, a)
		}
	}
	additional = rest
	var all []string
	switch {
	case len(missing) > 0 || len(additional) > 0:
		if len(missing) > 0 {
			all = append(all, fmt.Sprintf("node %s: arguments: missing %s", w.name, missing))
		}
		if len(additional) > 0 {
			all = append(all, fmt.Sprintf("node %s: arguments: additional %s", w.name, additional))
		}
	case !slices.Equal(scriptsOf(got), scriptsOf(want)):
		all = append(all, fmt.Sprintf("node %s: order of arguments: %s, want %s", w.name, got, want))
	}
	return all
}

// scriptsOf returns the arguments whose order has an effect: scripts, without those of
// backends, which load nothing that others redefine.
func scriptsOf(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		return strings.HasPrefix(a, "backend ") || strings.HasPrefix(a, "-") || strings.Contains(a, "=")
	})
}

// sortReferences sorts nodes by name.
func sortReferences(all []reference) {
	slices.SortFunc(all, func(a, b reference) int { return cmp.Compare(a.name, b.name) })
}

// decode decodes JSON.
func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// writeFiles writes files below a directory.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
