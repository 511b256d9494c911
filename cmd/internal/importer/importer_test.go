package importer

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

var update = flag.Bool("update", false, "write the expected files of the configurations")

// unpack writes the files of an archive that do not begin with want/ into a new directory,
// in place of which they have the text $DIR.
func unpack(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{}
	for _, f := range a.Files {
		if !strings.HasPrefix(f.Name, "want/") {
			files[f.Name] = strings.ReplaceAll(string(f.Data), "$DIR", dir)
		}
	}
	writeFiles(t, dir, files)
	return dir
}

// TestImport imports the configurations in testdata. The comment of each archive has the
// paths to import, and the files below want/ are the result.
func TestImport(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := unpack(t, a)
			got := result(t, dir, strings.Fields(lastLine(a.Comment)))
			if *update {
				writeWanted(t, name, a, got)
				return
			}
			want := map[string]string{}
			for _, f := range a.Files {
				if file, ok := strings.CutPrefix(f.Name, "want/"); ok {
					want[file] = string(f.Data)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// lastLine returns the last line of a comment.
func lastLine(comment []byte) string {
	lines := strings.Split(strings.TrimSpace(string(comment)), "\n")
	return lines[len(lines)-1]
}

// result returns the files, and the summary, of an import, or its errors.
func result(t *testing.T, dir string, paths []string) map[string]string {
	t.Helper()
	for i, path := range paths {
		paths[i] = filepath.Join(dir, path)
	}
	plan, err := Import(paths, "")
	if err != nil {
		return map[string]string{"errors": strings.ReplaceAll(err.Error(), dir, "$DIR") + "\n"}
	}
	out := filepath.Join(dir, "out")
	if err := plan.Write(out, false); err != nil {
		t.Fatal(err)
	}
	checkDeployable(t, filepath.Join(out, clusterName))
	var summary strings.Builder
	if err := plan.Summarize(&summary, out); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"summary": strings.ReplaceAll(summary.String(), dir, "$DIR")}
	err = filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		below, _ := filepath.Rel(out, path)
		files[below] = strings.ReplaceAll(string(text), dir, "$DIR")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkDeployable checks that a controller accepts a cluster file.
func checkDeployable(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	config, warnings, err := ParseClusterFile(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("the cluster file has warnings: %v", warnings)
	}
	for i := range config.Instances {
		config.Instances[i].Host = fakeAddress(i)
	}
	if problems := controller.DefaultSettings().Check(config); len(problems) > 0 {
		t.Errorf("the controller refuses it: %v", problems)
	}
	if refused := clusterfile.Refusals(config); len(refused) > 0 {
		t.Errorf("agents refuse it: %v", refused)
	}
}

func writeWanted(t *testing.T, name string, a *txtar.Archive, got map[string]string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want/") })
	var files []string
	for file := range got {
		files = append(files, file)
	}
	slices.Sort(files)
	for _, file := range files {
		a.Files = append(a.Files, txtar.File{Name: "want/" + file, Data: []byte(got[file])})
	}
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestShortAndFlatAreEqual checks that the short form of a cluster file stands for the
// nodes of the form with a section for each.
func TestShortAndFlatAreEqual(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	shorter := 0
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := unpack(t, a)
		paths := strings.Fields(lastLine(a.Comment))
		for i, path := range paths {
			paths[i] = filepath.Join(dir, path)
		}
		plan, err := Import(paths, "")
		if err != nil {
			continue
		}
		var nodes [2][]zeekapi.Node
		var size [2]int
		for i, short := range []bool{true, false} {
			text, err := plan.clusterFile(short)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			config, _, err := ParseClusterFile(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for j := range config.Nodes {
				config.Nodes[j].Scripts = slices.DeleteFunc(config.Nodes[j].Scripts, isFanout) // added by the short form
			}
			nodes[i], size[i] = config.Nodes, len(text)
		}
		if diff := cmp.Diff(nodes[1], nodes[0]); diff != "" {
			t.Errorf("%s: (-flat +short)\n%s", name, diff)
		}
		if size[0] < size[1] {
			shorter++
		}
	}
	if shorter == 0 {
		t.Error("no file is shorter in the short form")
	}
}

// TestWriteKeepsFiles checks that only --force replaces files, and that a directory with
// files of the operator keeps them.
func TestWriteKeepsFiles(t *testing.T) {
	a, err := txtar.ParseFile("testdata/zeekctl-cluster.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, a)
	out := filepath.Join(dir, "out")
	imported := func() *Plan {
		plan, err := Import([]string{filepath.Join(dir, "etc")}, "")
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	writeFiles(t, out, map[string]string{"notes.txt": "mine"})
	if err := imported().Write(out, false); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, out, map[string]string{"cluster.cfg": "edited", "site/old.zeek": ""})
	if err := imported().Write(out, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("files are replaced without --force: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "cluster.cfg")); err != nil || string(text) != "edited" {
		t.Errorf("the cluster file is %q, %v", text, err)
	}
	if err := imported().Write(out, true); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "notes.txt")); err != nil || string(text) != "mine" {
		t.Errorf("another file is %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(out, "site/old.zeek")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a script of the former import: %v", err)
	}
}

// TestPaths imports what is not a configuration, or several.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"empty/other.txt": "", "both/zeek.conf": "manager = 1\n", "both/cluster/a.zeek.conf": "manager = 1\n",
		"control/node.cfg": "[zeek]\ntype=standalone\nhost=localhost\n", "options/zeekctl.cfg": "", "two/a.conf": "manager = 1\n",
		"two/b.conf": "manager = 1\n", "renamed/nodes.txt": "[zeek]\ntype = standalone\nhost = localhost\n",
	})
	for paths, want := range map[string]string{
		"missing":                              "no such file",
		"empty":                                "has no node.cfg, no zeek.conf and no HOST.zeek.conf",
		"both":                                 "name the file",
		"both/zeek.conf control/node.cfg":      "one cluster at a time",
		"options":                              "has no node.cfg",
		"options/zeekctl.cfg":                  "node.cfg is missing",
		"two/a.conf two/b.conf":                "HOST.zeek.conf",
		"control/node.cfg renamed/nodes.txt":   "one cluster at a time",
		"both/cluster":                         "",
		"both/zeek.conf":                       "",
		"renamed/nodes.txt":                    "",
		"control/node.cfg options/zeekctl.cfg": "",
	} {
		var list []string
		for path := range strings.FieldsSeq(paths) {
			list = append(list, filepath.Join(dir, path))
		}
		_, err := Import(list, "")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", paths, err, want)
		}
	}
}

// TestEveryOptionIsAccountedFor checks that each option of zeekctl.cfg is carried over, or
// has a reason.
func TestEveryOptionIsAccountedFor(t *testing.T) {
	carried := strings.Fields(`clusterbackend zeekport metricsport metricsaddress logrotationinterval logdir compresslogsinflight
		privateaddressspaceislocal sendmail mailsubjectprefix mailto mailfrom mailalarmsto mailalarmsinterval logexpireinterval zeekargs
		memlimit env_vars prefixes sitepolicyscripts sitepolicypath pfringclusterid pfringclustertype pfringfirstappinstance pcapsnaplen
		mailarchivelogfail mailhostupdown mailreceivingpackets mindiskspace bindir policydir nodecfg localnetscfg compresslogs compresscmd compressextension pcapbufsize zeekbase zeek brokerdbdir fileextractdir defaultstoredir`)
	known := zeekctl.OptionNames()
	for _, name := range known {
		reason, left := notCarried[name]
		if left == slices.Contains(carried, name) {
			t.Errorf("option %s: carried over %t, reason %q", name, !left, reason)
		}
	}
	for name := range notCarried {
		if !slices.Contains(known, name) {
			t.Errorf("there is no option %s", name)
		}
	}
}

// TestReasonsAreDocumented checks that the documents explain the reasons for which nodes
// differ from those of upstream.
func TestReasonsAreDocumented(t *testing.T) {
	var text string
	for _, name := range []string{"from-zeekctl.md", "from-zeek-conf.md"} {
		content, err := os.ReadFile(filepath.Join("../../../docs/howto", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(content)
	}
	for _, r := range reasons {
		if !strings.Contains(text, "- **"+r.name+"**:") {
			t.Errorf("no document explains %q", r.name)
		}
	}
	table, err := os.ReadFile("../../../testdata/corpus.md")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(table), "no reason") || !strings.Contains(string(table), "| equal |") {
		t.Error("the table of the corpus has differences without a reason")
	}
}

// TestStepsRun runs the commands for directories, with a directory in place of /etc, and
// without those that need root.
func TestStepsRun(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "logs of zeek")
	script := strings.NewReplacer("/etc/systemd", dir+"/systemd", "chown -R zeekwire:zeekwire", "ls", "systemctl", "true").
		Replace("set -e\n" + strings.Join(writableCommands([]string{data, dir + "/spool"}), "\n"))
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "systemd/system/zeekwire-agent.service.d/import.conf"))
	want := "[Service]\nReadWritePaths=\"" + data + "\"\nReadWritePaths=\"" + dir + "/spool\"\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) != 0 {
		t.Errorf("the directory: %v", err)
	}
}

// TestVersions checks the defaults of ZeekControl in several versions.
func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"version=5.0.10\n": "broker 47760", "x\nversion=\"8.0.1\"\n": "broker 27760", "version=\"8.1.0-dev\"\n": "zeromq 27760", "": "zeromq 27760",
	} {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"bin/zeek-config": text})
		v := installedVersion(dir)
		if got := fmt.Sprintf("%s %d", v.backend(), v.port()); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestEveryKeyOfZeekConfIsAccountedFor checks that a value of each key of zeek.conf is in a
// file, or listed.
func TestEveryKeyOfZeekConfIsAccountedFor(t *testing.T) {
	const machine = "[zeek]\nmanager = 1\nloggers = 1\nproxies = 1\n%s\n[interface x]\ninterface = eth0\nworkers = 2\n%s\n"
	values := map[string]string{
		"args": "word-1", "env": "A=word-1", "user": "word-1", "group": "word-1", "archiver": "/bin/word-1", "base_dir": "/word-1", "path": "/word-1",
		"ext_path": "/word-1", "ext_zeek_path": "/word-1", "cluster_backend_args": "word-1", "cluster_layout": "/word-1", "cluster_node_prefix": "word-1",
		"port": "12345", "cluster_port": "12345", "address": "192.0.2.77", "cluster_address": "192.0.2.77", "metrics_port": "12345",
		"restart_interval_sec": "7777", "worker_args": "word-1", "worker_env": "A=word-1", "worker_nice": "17", "worker_memory_max": "777G",
		"workers_cpu_list": "777", "worker_numa_policy": "local", "workers_numa_policy": "local",
	}
	for _, kind := range []string{"manager", "logger", "proxy", "archiver"} {
		for suffix, value := range map[string]string{"args": "word-1", "env": "A=word-1", "nice": "17", "memory_max": "777G", "cpu_set": "777"} {
			values[kind+"_"+suffix] = value
		}
	}
	for key, value := range values {
		for _, worker := range []bool{false, true} {
			if worker != strings.HasPrefix(key, "worker") {
				continue
			}
			lines := []any{key + " = " + value, ""}
			if worker {
				lines[0], lines[1] = lines[1], lines[0]
			}
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"zeek.conf": fmt.Sprintf(machine, lines...)})
			plan, err := Import([]string{filepath.Join(dir, "zeek.conf")}, "/opt/zeek")
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			files, err := plan.files()
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			found := slices.ContainsFunc(files, func(f file) bool { return strings.Contains(string(f.text), value) })
			if !found && !slices.ContainsFunc(plan.Left, func(l Left) bool { return l.Key == key }) {
				t.Errorf("%s = %s is neither carried over nor listed", key, value)
			}
		}
	}
}

// TestOutputAmongScripts checks that scripts are not copied into themselves.
func TestOutputAmongScripts(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"etc/node.cfg": "[zeek]\ntype=standalone\nhost=localhost\n", "etc/zeekctl.cfg": "SitePolicyPath = " + dir + "/site\n", "site/a.zeek": "",
	})
	plan, err := Import([]string{filepath.Join(dir, "etc")}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Write(filepath.Join(dir, "site", "new"), false); err == nil || !strings.Contains(err.Error(), "use another --output") {
		t.Errorf("error %v", err)
	}
	if err := plan.Write(filepath.Join(dir, "site-new"), false); err != nil {
		t.Error(err)
	}
}
