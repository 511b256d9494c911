package importer

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// controlTest is a configuration that occurs in the tests of ZeekControl.
type controlTest struct {
	names []string // of the tests
	etc   map[string]string
	// baselines are the files with the output of "zeekctl nodes".
	baselines []string
}

// controlTests returns the configurations in the order in which they occur, each once.
func controlTests(t *testing.T, source string) []*controlTest {
	t.Helper()
	var all []*controlTest
	add := func(name, baseline string, etc map[string]string) {
		i := slices.IndexFunc(all, func(c *controlTest) bool { return maps.Equal(c.etc, etc) })
		if i < 0 {
			all = append(all, &controlTest{etc: maps.Clone(etc)})
			i = len(all) - 1
		}
		if !slices.Contains(all[i].names, name) {
			all[i].names = append(all[i].names, name)
		}
		if baseline != "" {
			all[i].baselines = append(all[i].baselines, baseline)
		}
	}
	initial := initialEtc(t, source)
	add("default configuration", "", initial)
	for _, pattern := range []string{"initialization/*.test", "command/*", "plugin/*.test", "rotation/*.test", "helper/*.test"} {
		names, err := filepath.Glob(filepath.Join(source, "testing", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("no tests %s: %v", pattern, err)
		}
		for _, name := range names {
			s := &controlScript{t: t, source: source, etc: maps.Clone(initial), variables: map[string]string{},
				name: filepath.Base(filepath.Dir(name)) + "." + strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))}
			s.snapshot = func(baseline string) { add(s.name, baseline, s.etc) }
			s.run(name)
		}
	}
	return all
}

// initialEtc returns the files of an installation.
func initialEtc(t *testing.T, source string) map[string]string {
	t.Helper()
	etc := map[string]string{}
	for file, from := range map[string]string{nodesName: "etc/node.cfg", networksName: "etc/networks.cfg", optionsName: "etc/zeekctl.cfg.in"} {
		text, err := os.ReadFile(filepath.Join(source, from))
		if err != nil {
			t.Fatal(err)
		}
		etc[file] = strings.NewReplacer("${LOGS}", "@PREFIX@/logs", "${SPOOL}", "@PREFIX@/spool", "${ETC}", "@PREFIX@/etc").Replace(string(text))
	}
	return etc
}

// controlScript follows what a test does to the files of the configuration.
type controlScript struct {
	t         *testing.T
	source    string
	name      string
	etc       map[string]string
	variables map[string]string // of the shell, that are paths of these files
	snapshot  func(baseline string)
}

var (
	hereDocument = regexp.MustCompile(`^cat (>>?) *(\S+) << *(\w+)$`)
	installs     = regexp.MustCompile(`^installfile (\S+)`)
	readLoop     = regexp.MustCompile(`^while read line; do installfile \$line; done << (\w+)$`)
	echoes       = regexp.MustCompile(`^echo ("[^"]*"|'[^']*') >> *(\S+)$`)
	edits        = regexp.MustCompile(`^sed (?:-i )?["']s([/#])(.*)(?:[/#])g?["'](?: -i)? (\S+)`)
	assigns      = regexp.MustCompile(`^(\w+)=(\S*/\S+)$`)
	runsControl  = regexp.MustCompile(`^(?:! *)?zeekctl (?:--\w+ )?(\S+)(?:.*> *(\S+))?`)
	braced       = regexp.MustCompile(`\$\{(\w+)\}`)
)

// run follows the lines of a test. Commands that do not concern the configuration are
// ignored.
func (s *controlScript) run(name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if match := hereDocument.FindStringSubmatch(line); match != nil {
			var content []string
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != match[3]; i++ {
				content = append(content, lines[i]+"\n")
			}
			s.write(match[2], strings.Join(content, ""), match[1] == ">>")
			continue
		}
		if match := readLoop.FindStringSubmatch(line); match != nil {
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != match[1]; i++ {
				s.install(strings.Fields(lines[i]))
			}
			continue
		}
		s.line(line)
	}
}

func (s *controlScript) line(line string) {
	if match := installs.FindStringSubmatch(line); match != nil {
		s.install(strings.Fields(match[1]))
	} else if match := echoes.FindStringSubmatch(line); match != nil {
		text := match[1][1 : len(match[1])-1]
		if match[1][0] == '"' {
			text = s.expand(text)
		}
		s.write(match[2], text+"\n", true)
	} else if match := edits.FindStringSubmatch(line); match != nil {
		s.edit(match[3], match[1], match[2])
	} else if match := assigns.FindStringSubmatch(line); match != nil {
		s.variables[match[1]] = match[2]
	} else if match := runsControl.FindStringSubmatch(line); match != nil {
		baseline := ""
		if match[1] == "nodes" && match[2] != "" {
			baseline = filepath.Join(s.source, "testing/Baseline", s.name, match[2])
		}
		s.snapshot(baseline)
	}
}

// expand replaces variables of the shell. A test runs its commands with each backend as
// $1; one of them is enough.
func (s *controlScript) expand(text string) string {
	text = strings.ReplaceAll(text, "$1", "ZeroMQ")
	text = braced.ReplaceAllString(text, "$$$1")
	for name, value := range s.variables {
		text = strings.ReplaceAll(text, "$"+name, value)
	}
	return strings.ReplaceAll(text, "$ZEEKCTL_INSTALL_PREFIX", "@PREFIX@")
}

// file returns the name of the file of the configuration with a path in a test, or "".
func (s *controlScript) file(path string) string {
	path = braced.ReplaceAllString(strings.Trim(path, `"`), "$$$1")
	if value, ok := s.variables[strings.TrimPrefix(path, "$")]; ok {
		path = value
	}
	path = strings.ReplaceAll(path, `"`, "")
	if filepath.Base(filepath.Dir(path)) != "etc" {
		return ""
	}
	return filepath.Base(path)
}

func (s *controlScript) write(path, text string, add bool) {
	name := s.file(path)
	if name == "" {
		return
	}
	if add {
		text = s.etc[name] + text
	}
	s.etc[name] = text
}

func (s *controlScript) install(words []string) {
	if len(words) == 0 || !strings.HasPrefix(words[0], "etc/") {
		return
	}
	text, err := os.ReadFile(filepath.Join(s.source, "testing/Cfg", words[0]))
	if err != nil {
		s.t.Fatal(err)
	}
	name, _, _ := strings.Cut(filepath.Base(words[0]), "__")
	s.etc[name] = string(text)
}

func (s *controlScript) edit(path, separator, command string) {
	name := s.file(path)
	pattern, replacement, ok := strings.Cut(command, separator)
	if name == "" || !ok {
		return
	}
	s.etc[name] = regexp.MustCompile(pattern).ReplaceAllString(s.etc[name], replacement)
}

// oracle is what ZeekControl makes of a configuration.
type oracle struct {
	Error string
	Nodes []struct {
		Name, Type, Host, Interface, CPU string
		Env                              map[string]string
		Params                           []string
	}
	Layout, Packets, Redefs string
	Messages, Networks      []string
}

// ask runs ZeekControl's code on the configuration in a directory.
func ask(t *testing.T, source, dir string) oracle {
	t.Helper()
	cmd := exec.Command("python3", "testdata/oracle.py", source, dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ZeekControl: %v\n%s", err, &stderr)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n")) // ZeekControl prints warnings before
	var o oracle
	decode(t, lines[len(lines)-1], &o)
	return o
}

// zeekControl compares the configurations of ZeekControl.
func (c *corpus) zeekControl(t *testing.T, source string) {
	initial := initialEtc(t, source)
	for _, test := range controlTests(t, source) {
		t.Run(test.names[0], func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{}
			for name, text := range test.etc {
				files["etc/"+name] = strings.ReplaceAll(text, "@PREFIX@", dir)
			}
			writeFiles(t, dir, files)
			plan, err := Import([]string{filepath.Join(dir, "etc")}, "")
			want := ask(t, source, dir) // it changes the options
			for _, name := range test.baselines {
				want.compareBaseline(t, name)
			}
			o := outcome{corpus: "ZeekControl", test: strings.Join(test.names, ", "), files: describe(test.etc, initial), result: equal}
			switch {
			case err != nil && want.Error != "":
				o.result = refused
				c.add(t, o, differentErrors(err, []string{errorText(want)}))
			case err != nil:
				c.add(t, o, []string{"refused here: " + err.Error()})
			case want.Error != "":
				c.add(t, o, []string{"accepted here, but not upstream: " + want.Error})
			default:
				o.nodes = len(plan.Configuration().Nodes)
				want.compareRedefs(t, plan.Script)
				c.add(t, o, compareControl(imported(t, plan), want.nodes(t)))
			}
		})
	}
}

// compareControl is like compare. A standalone node is compared with the worker that it
// becomes. Workers of ZeekControl listen at ports, although nothing connects to them.
func compareControl(got, want []reference) []string {
	var all []string
	if len(want) == 1 && want[0].role == "standalone" {
		all = append(all, "standalone node")
		var names []string
		for _, g := range got {
			names = append(names, g.name)
		}
		if slices.Sort(names); !slices.Equal(names, []string{"logger", "manager", "proxy", "worker"}) {
			all = append(all, fmt.Sprintf("nodes %s for a standalone node", names))
		}
		got = slices.DeleteFunc(got, func(g reference) bool { return g.role != "worker" })
		want[0].name, want[0].role, want[0].port, want[0].metricsPort = "worker", "worker", "", got[0].metricsPort
	}
	for i := range want {
		if want[i].role == "worker" {
			want[i].port = ""
		}
	}
	for i, g := range got {
		got[i].args = slices.DeleteFunc(slices.Clone(g.args), func(word string) bool { return word == scriptName })
	}
	return append(all, compare(got, want, backendWord)...)
}

// compareRedefs checks that what a script sets is what ZeekControl's script sets.
func (o oracle) compareRedefs(t *testing.T, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "redef ") && !strings.Contains(o.Redefs, spaced(line)) {
			t.Errorf("%s is not in\n%s", spaced(line), o.Redefs)
		}
	}
}

// spaced returns a line as ZeekControl writes it.
func spaced(line string) string {
	const separator = ` + "/" + Cluster::node`
	if before, ok := strings.CutSuffix(line, `"`+separator+";"); ok {
		return before + `/" + Cluster::node;`
	}
	return line
}

// describe returns what distinguishes a configuration from the one of an installation:
// the names of nodes and settings, without upstream's values.
func describe(etc, initial map[string]string) string {
	var parts []string
	if etc[nodesName] != initial[nodesName] {
		var names []string
		for _, s := range regexp.MustCompile(`(?m)^\[(.+)\]`).FindAllStringSubmatch(etc[nodesName], -1) {
			names = append(names, s[1])
		}
		parts = append(parts, "nodes "+strings.Join(names, " "))
	}
	for line := range strings.Lines(etc[optionsName]) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !strings.Contains(initial[optionsName], "\n"+line+"\n") {
			name, _, ok := strings.Cut(line, "=")
			if !ok {
				parts = append(parts, "a line that is no setting")
				continue
			}
			parts = append(parts, "`"+strings.TrimSpace(name)+"`")
		}
	}
	if etc[networksName] != initial[networksName] {
		parts = append(parts, networksName)
	}
	return strings.Join(parts, ", ")
}

// errorText returns the text of ZeekControl's error.
func errorText(o oracle) string {
	_, text, _ := strings.Cut(o.Error, ": ")
	return text
}

// nodes returns ZeekControl's nodes.
func (o oracle) nodes(t *testing.T) []reference {
	t.Helper()
	ports := generated{layout: strings.ReplaceAll(o.Layout, "\t[", "[")}.fromLayout()
	var all []reference
	for _, n := range o.Nodes {
		r := reference{name: n.Name, role: n.Type, host: n.Host, source: n.Interface, cpu: n.CPU, env: map[string]string{}}
		if r.host == "localhost" {
			r.host = "127.0.0.1"
		}
		for name, value := range n.Env {
			r.env[name] = value
			if words, err := shlex.Split(value); err == nil && len(words) == 1 && !strings.Contains(unquoted(value), "$") {
				r.env[name] = words[0] // a shell does so
			}
		}
		r.port, r.metricsPort = ports[n.Name].port, ports[n.Name].metricsPort
		r.args = append(controlArgs(t, n.Params, n.Name), packetOptions(o.Packets, n.Name)...)
		if len(o.Networks) > 0 {
			r.args = append(r.args, "Site::local_nets={"+strings.Join(o.Networks, ",")+"}")
		}
		all = append(all, r)
	}
	return all
}

// controlArgs returns the arguments of zeek without those that serve ZeekControl itself.
func controlArgs(t *testing.T, params []string, node string) []string {
	t.Helper()
	words, err := shlex.Split(strings.Join(params, " "))
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "-i" || words[i] == "-U":
			i++
		case words[i] == "-p" && slices.Contains([]string{"zeekctl", "zeekctl-live", "standalone", node}, words[i+1]):
			i++
		case slices.Contains([]string{"zeekctl", "zeekctl/standalone", "zeekctl/auto"}, words[i]):
		default:
			args = append(args, words[i])
		}
	}
	return args
}

var (
	packetNode   = regexp.MustCompile(`(?s)@if\( peer_description == "([^"]+)" \)(.*?)@endif`)
	packetOption = regexp.MustCompile(`redef (AF_Packet::\w+) = (.*);`)
)

// packetOptions returns the options of AF_Packet of a node.
func packetOptions(script, node string) []string {
	var args []string
	for _, m := range packetNode.FindAllStringSubmatch(script, -1) {
		if m[1] != node {
			continue
		}
		for _, o := range packetOption.FindAllStringSubmatch(m[2], -1) {
			args = append(args, o[1]+"="+o[2])
		}
	}
	return args
}

var describedNode = regexp.MustCompile(`(?m)^ *(\S+) - addr=.*? env_vars=(.*) ether= host=(\S*) interface=(.*?) lb_interfaces=.* pin_cpus=(\S*) .* type=(\w+)`)

// compareBaseline checks that ZeekControl's code does what the baseline says.
func (o oracle) compareBaseline(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range describedNode.FindAllStringSubmatch(string(text), -1) {
		want = append(want, strings.Join(m[1:], "|"))
	}
	for _, n := range o.Nodes {
		var env []string
		for _, name := range slices.Sorted(maps.Keys(n.Env)) {
			env = append(env, name+"="+n.Env[name])
		}
		got = append(got, strings.Join([]string{n.Name, strings.Join(env, ","), n.Host, n.Interface, n.CPU, n.Type}, "|"))
	}
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%s: ZeekControl has\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
