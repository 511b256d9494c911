package importer

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// generators are Zeek's programs.
type generators struct{ units, layout string }

// installedAt is the directory for which the generators are compiled.
const installedAt = "/opt/zeek"

// buildGenerators compiles Zeek's programs.
func buildGenerators(t *testing.T, source string) generators {
	t.Helper()
	dir := t.TempDir()
	g := generators{filepath.Join(dir, "zeek-systemd-generator"), filepath.Join(dir, "zeek-cluster-layout-generator")}
	src := filepath.Join(source, "tools", "systemd-generator", "src")
	for program, files := range map[string][]string{
		g.units:  {"zeek-systemd-generator.cc", "zeek-cluster-config.cc", "systemd-unit.cc", "utils.cc"},
		g.layout: {"zeek-cluster-layout-generator.cc", "zeek-cluster-config.cc", "utils.cc"},
	} {
		cmd := exec.Command("c++", append([]string{"-std=c++20", "-DDEFAULT_ETC_DIR=\"" + installedAt + "/etc\"",
			"-DDEFAULT_BASE_DIR=\"" + installedAt + "\"", "-o", program}, files...)...)
		cmd.Dir = src
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the generator cannot be compiled: %v\n%s", err, out)
		}
	}
	return g
}

// zeekConfTest is a configuration of a test: a file, or the files of a cluster.
type zeekConfTest struct {
	name  string
	files map[string]string // by their names
	// outputs are the directories that the test writes for each file.
	outputs map[string]string
}

var (
	startFile = regexp.MustCompile(`^# *@TEST-START-FILE +(\S+)`)
	endFile   = regexp.MustCompile(`^# *@TEST-END-FILE`)
	startNext = regexp.MustCompile(`^# *@TEST-START-NEXT`)
	runsOn    = regexp.MustCompile(`zeek-systemd-generator --config (\S+) (\S+)`)
)

// zeekConfTests returns the configurations of the tests.
func zeekConfTests(t *testing.T, source string) []zeekConfTest {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(source, "testing/btest/tools/systemd-generator/test-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tests below %s: %v", source, err)
	}
	var all []zeekConfTest
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		all = append(all, splitTest(base, string(text))...)
	}
	text, err := os.ReadFile(filepath.Join(source, "tools/systemd-generator/etc/zeek/zeek.conf"))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, zeekConfTest{name: "default configuration", files: map[string]string{"zeek.conf": string(text)}})
	return append(all, documented(t, filepath.Join(source, "doc/advanced/deployment/systemd.rst"))...)
}

// splitTest returns the configurations of a test.
func splitTest(base, text string) []zeekConfTest {
	files := map[string]string{}
	outputs := map[string]string{}
	current := ""
	parts := []string{""}
	for line := range strings.Lines(text) {
		switch match := startFile.FindStringSubmatch(line); {
		case match != nil:
			current = match[1]
			files[current] = ""
		case endFile.MatchString(line):
			current = ""
		case startNext.MatchString(line):
			parts = append(parts, "")
		case current != "":
			files[current] += line
		default:
			parts[len(parts)-1] += line
		}
		if match := runsOn.FindStringSubmatch(line); match != nil && current == "" {
			outputs[match[1]] = match[2]
		}
	}
	if len(files) == 0 {
		return partTests(base, text, parts)
	}
	clusters := map[string]map[string]string{} // by directory
	var all []zeekConfTest
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if dir := filepath.Dir(name); dir != "." {
			if clusters[dir] == nil {
				clusters[dir] = map[string]string{}
			}
			clusters[dir][name] = files[name]
			continue
		}
		all = append(all, zeekConfTest{base, map[string]string{name: files[name]}, outputs})
	}
	for _, dir := range slices.Sorted(maps.Keys(clusters)) {
		all = append(all, zeekConfTest{base, clusters[dir], outputs})
	}
	return all
}

// partTests returns the configurations of a test that is a configuration itself.
func partTests(base, text string, parts []string) []zeekConfTest {
	if !strings.Contains(text, "--config %INPUT") {
		return nil // a test of the generators' flags
	}
	var all []zeekConfTest
	for i, part := range parts {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s-%d", base, i+1)
		}
		all = append(all, zeekConfTest{name: name, files: map[string]string{base + ".sh": part}})
	}
	return all
}

// documented returns the configurations in the documentation: files of one cluster name
// themselves in a comment.
func documented(t *testing.T, name string) []zeekConfTest {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []zeekConfTest
	cluster := map[string]string{}
	named := regexp.MustCompile(`cluster/(\S+\.zeek\.conf)`)
	for i, block := range strings.Split(string(text), ".. code:: ini\n")[1:] {
		var lines []string
		for line := range strings.Lines(block) {
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "   ") {
				break
			}
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		content := dedent(lines)
		if strings.Contains(content, "\n...") {
			continue // not complete
		}
		if match := named.FindStringSubmatch(content); match != nil {
			file := "cluster/" + match[1]
			if _, again := cluster[file]; again {
				all = append(all, zeekConfTest{name: "documentation", files: cluster})
				cluster = map[string]string{}
			}
			cluster[file] = content
			continue
		}
		all = append(all, zeekConfTest{name: "documentation", files: map[string]string{fmt.Sprintf("example-%d.conf", i+1): content}})
	}
	return append(all, zeekConfTest{name: "documentation", files: cluster})
}

// dedent removes the blanks that all lines begin with.
func dedent(lines []string) string {
	indent := -1
	for _, l := range lines {
		if n := len(l) - len(strings.TrimLeft(l, " ")); l != "" && (indent < 0 || n < indent) {
			indent = n
		}
	}
	for i, l := range lines {
		lines[i] = l[min(len(l), max(0, indent)):]
	}
	return strings.TrimSpace(strings.Join(lines, "\n")) + "\n"
}

// zeekConf compares the configurations of Zeek's generator.
func (c *corpus) zeekConf(t *testing.T, source string) {
	g := buildGenerators(t, source)
	baselines := filepath.Join(source, "testing/btest/Baseline")
	for _, test := range zeekConfTests(t, source) {
		names := slices.Sorted(maps.Keys(test.files))
		var short []string
		for _, name := range names {
			short = append(short, filepath.Base(name))
		}
		o := outcome{corpus: "zeek.conf", test: test.name, files: strings.Join(short, " "), result: equal}
		dir := t.TempDir()
		writeFiles(t, dir, test.files)
		r := g.run(t, dir, names)
		if test.outputs != nil || strings.Contains(test.name, "errors") {
			r.compareBaselines(t, test, filepath.Join(baselines, "tools.systemd-generator."+test.name))
		}
		var paths []string
		for _, name := range names {
			paths = append(paths, filepath.Join(dir, name))
		}
		plan, err := Import(paths, installedAt)
		switch {
		case err != nil && len(r.errors) > 0:
			o.result = refused
			c.add(t, o, differentErrors(err, r.errors))
		case err != nil:
			c.add(t, o, []string{"refused here: " + err.Error()})
		case len(r.errors) > 0:
			c.add(t, o, []string{"accepted here, but not upstream: " + strings.Join(r.errors, "; ")})
		default:
			o.nodes = len(plan.Configuration().Nodes)
			c.add(t, o, compare(imported(t, plan), r.nodes(t), backendWord))
		}
	}
}

// backendWord makes the names of the scripts of backends alike.
func backendWord(s string) string {
	for _, b := range []string{"zeromq", "broker"} {
		if strings.HasSuffix(s, "frameworks/cluster/backend/"+b) {
			return "backend " + b
		}
	}
	if s == multiHost {
		return "backend zeromq" // it loads that script
	}
	return s
}

// differentErrors returns the errors of upstream that ours do not contain.
func differentErrors(err error, want []string) []string {
	var all []string
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			all = append(all, fmt.Sprintf("error %q, want %q", err, w))
		}
	}
	return all
}

// generated is what the generators make of a configuration.
type generated struct {
	dirs   map[string]string // of units, by the names of files
	layout string
	errors []string
	stderr string
}

// run runs the generators on the files of a cluster below dir.
func (g generators) run(t *testing.T, dir string, names []string) generated {
	t.Helper()
	r := generated{dirs: map[string]string{}}
	for _, name := range names {
		out := t.TempDir()
		r.dirs[name] = out
		text, err := output(g.units, "--config", filepath.Join(dir, name), out)
		r.stderr += text
		if err != nil {
			r.errors = append(r.errors, errorLines(text)...)
		}
	}
	path := filepath.Join(dir, names[0])
	if len(names) > 1 {
		path = filepath.Dir(path)
	}
	text, err := output(g.layout, "-C", path)
	if err != nil {
		if len(r.errors) == 0 {
			r.errors = errorLines(text)
		}
		return r
	}
	r.layout = text
	return r
}

func output(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// errorLines returns the errors in the output of a generator.
func errorLines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if _, after, ok := strings.Cut(line, "zeek-systemd-generator: "); ok {
			line = after
		}
		if strings.HasPrefix(line, "config ") || strings.HasPrefix(line, "Remove in ") || strings.HasPrefix(line, "invalid config ") {
			continue
		}
		all = append(all, line)
	}
	return all
}

// unit is the part of a unit that concerns the node.
type unit struct {
	exec string
	env  []string
	cpu  string
}

func readUnit(name string) (u unit, ok bool) {
	text, err := os.ReadFile(name)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ExecStart":
			u.exec = value
		case "Environment":
			u.env = append(u.env, value)
		case "CPUAffinity":
			n := zeekapi.Node{Options: []zeekapi.Option{{Name: zeekapi.OptionCPUAffinity, Value: value}}}
			u.cpu = n.Affinity()
		}
	}
	return u, err == nil
}

var (
	layoutNode = regexp.MustCompile(`\["([^"]+)"\] = \[\$node_type=Cluster::(\w+), \$ip=([^ ]+?)(?:, \$p=(\d+)/tcp)?(?:, \$manager="[^"]*")?(?:, \$metrics_port=(\d+)/tcp)?\],\n`)
	layoutHost = regexp.MustCompile(`\["([^"]+)"\] = \[\$ip=(.+)\],`)
)

// nodes returns the nodes that the generators make.
func (r generated) nodes(t *testing.T) []reference {
	t.Helper()
	ports := r.fromLayout()
	var all []reference
	for file, dir := range r.dirs {
		wants, err := filepath.Glob(filepath.Join(dir, "zeek.target.wants", "zeek-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			n, ok := unitNode(t, dir, filepath.Base(want))
			if !ok {
				continue
			}
			p, ok := ports[n.name]
			if !ok {
				t.Errorf("%s: the layout has no node %s", file, n.name)
			}
			n.host, n.port, n.metricsPort = p.host, p.port, p.metricsPort
			all = append(all, n)
		}
	}
	sortReferences(all)
	return all
}

// fromLayout returns addresses and ports of the nodes in a layout.
func (r generated) fromLayout() map[string]reference {
	hosts := map[string]string{}
	head, body, _ := strings.Cut(r.layout, "redef Cluster::nodes")
	for _, m := range layoutHost.FindAllStringSubmatch(head, -1) {
		hosts[`hosts["`+m[1]+`"]$ip`] = m[2]
		if strings.Contains(m[2], "blocking_lookup") {
			hosts[`hosts["`+m[1]+`"]$ip`] = m[1]
		}
	}
	all := map[string]reference{}
	for _, m := range layoutNode.FindAllStringSubmatch(body, -1) {
		host := m[3]
		if h, ok := hosts[host]; ok {
			host = h
		}
		n := reference{host: strings.Trim(host, "[]"), port: m[4], metricsPort: m[5]}
		if n.metricsPort == "0" {
			n.metricsPort = ""
		}
		all[m[1]] = n
	}
	return all
}

// unitNode returns the node of a unit, unless the unit is of another kind.
func unitNode(t *testing.T, dir, name string) (reference, bool) {
	t.Helper()
	kind, index, template := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, "zeek-"), ".service"), "@")
	file := name
	if template {
		file = "zeek-" + kind + "@.service"
	}
	role, _, _ := strings.Cut(kind, "-")
	if role == "setup" || role == "archiver" {
		return reference{}, false
	}
	u, ok := readUnit(filepath.Join(dir, file))
	if !ok {
		t.Fatalf("no unit %s", file)
	}
	if dropIn, ok := readUnit(filepath.Join(dir, name+".d", "10-zeek-systemd-generator.conf")); ok {
		u.env = append(u.env, dropIn.env...)
		u.cpu = dropIn.cpu
	}
	n := reference{role: role, cpu: u.cpu, env: map[string]string{}}
	for _, assignment := range u.env {
		name, value, _ := strings.Cut(assignment, "=")
		switch value = strings.ReplaceAll(value, "%i", index); name {
		case "CLUSTER_NODE":
			n.name = value
		case "INTERFACE":
			n.source = value
		default:
			n.env[name] = value
		}
	}
	words, err := shlex.Split(u.exec)
	if err != nil {
		t.Fatal(err)
	}
	n.paths(strings.TrimSuffix(words[0], "/bin/zeek"))
	n.args = unitArgs(words[1:])
	return n, true
}

// paths removes the paths that the generator sets always: those of the installation.
func (n *reference) paths(base string) {
	if n.env["PATH"] == base+"/bin:/usr/local/bin:/usr/bin:/bin" {
		delete(n.env, "PATH")
	}
	generated := base + "/var/spool/zeek/generated-scripts:"
	share := base + "/share/zeek"
	n.env["ZEEKPATH"] = strings.Replace(n.env["ZEEKPATH"], generated, "", 1)
	if n.env["ZEEKPATH"] == strings.Join([]string{share, share + "/policy", share + "/site", share + "/builtin-plugins"}, ":") {
		delete(n.env, "ZEEKPATH")
	}
}

// unitArgs returns the arguments of zeek without those that the generator adds.
func unitArgs(words []string) []string {
	var args []string
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "-i":
			i++
		case "policy/misc/systemd-generator":
		case "-B":
			args = append(args, "-B "+words[i+1])
			i++
		default:
			args = append(args, words[i])
		}
	}
	return args
}

// Absolute paths in baselines are replaced.
var absolutePath = regexp.MustCompile(`/([^\s:/]+/)+([^\s:/]+)`)

func canonical(text string) string {
	text = regexp.MustCompile(`/+`).ReplaceAllString(text, "/")
	return absolutePath.ReplaceAllString(text, "<...>/$2")
}

// compareBaselines checks that the compiled generator does what upstream's baselines say.
func (r generated) compareBaselines(t *testing.T, test zeekConfTest, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	checked := 0
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		_, want, _ := strings.Cut(string(text), "\n") // the first line is btest's
		got, ok := r.output(test, strings.TrimPrefix(e.Name(), ".."))
		if !ok {
			continue
		}
		checked++
		// The base directory of some tests differs from that of the compiled program.
		if normalizeBaseline(got) != normalizeBaseline(want) {
			t.Errorf("%s: the generator's %s differs from the baseline:\n%s\nwant:\n%s", test.name, e.Name(), canonical(got), want)
		}
	}
	if checked == 0 && len(r.dirs) > 0 {
		t.Logf("%s: no baseline", test.name)
	}
}

func normalizeBaseline(text string) string {
	return strings.TrimSpace(canonical(regexp.MustCompile(`(?m)^SourcePath=.*$`).ReplaceAllString(text, "")))
}

// output returns the output of the generators that a baseline has.
func (r generated) output(test zeekConfTest, name string) (string, bool) {
	if name == "cluster-layout.zeek" && len(test.files) > 1 {
		return r.layout, true
	}
	for file, dir := range r.dirs {
		prefix := test.outputs[file] + "."
		unit, ok := strings.CutPrefix(name, prefix)
		if !ok || prefix == "." {
			continue
		}
		unit = strings.Replace(unit, ".service.d.", ".service.d/", 1)
		text, err := os.ReadFile(filepath.Join(dir, unit))
		return string(text), err == nil || !errors.Is(err, os.ErrNotExist)
	}
	return "", false
}

// fakeAddress returns an address for the machine with a number.
func fakeAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
}
