package compat

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "add what is new to the lists in testdata/compat")

// TestNames checks that commands, flags, settings and metrics of earlier versions
// still exist. What was removed or renamed on purpose is in the file "removed", with
// the reason or the new name.
func TestNames(t *testing.T) {
	p := present(t)
	var names []string
	for _, service := range []string{"controller", "agent"} {
		for _, match := range printedSetting.FindAllStringSubmatch(p.prints(t, service, "--print-config"), -1) {
			names = append(names, "setting "+service+" "+match[1])
		}
	}
	for _, command := range commandsOf(p.prints(t, "--help")) {
		names = append(names, p.command(t, command)...)
	}
	for _, match := range metricName.FindAllStringSubmatch(readFile(t, root+"/docs/reference/metrics.md"), -1) {
		names = append(names, "metric "+match[1])
	}
	for _, name := range missing(t, "names.txt", names) {
		t.Errorf("%s does not exist any more: keep an alias, or explain in testdata/compat/removed", name)
	}
}

var (
	printedSetting = regexp.MustCompile(`(?m)^([a-z][a-z0-9.-]*) = `)
	listedCommand  = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) +[A-Z]`)
	flagName       = regexp.MustCompile(`(?m)^ +(?:-[a-z], )?--([a-z][a-z-]*)`)
	metricName     = regexp.MustCompile("(?m)^\\| `(zeekwire_[a-z_]+)")
)

// prints returns what a command prints.
func (p program) prints(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(string(p), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// commandsOf returns the commands that a help lists.
func commandsOf(help string) []string {
	var all []string
	for _, match := range listedCommand.FindAllStringSubmatch(help, -1) {
		all = append(all, match[1])
	}
	return all
}

// command returns the names of a command, of its subcommands, and of its own flags.
func (p program) command(t *testing.T, words ...string) []string {
	t.Helper()
	path := strings.Join(words, " ")
	help := p.prints(t, append(words, "--help")...)
	help, _, _ = strings.Cut(help, "Flags of all client commands:")
	names := []string{"command " + path}
	for _, match := range flagName.FindAllStringSubmatch(help, -1) {
		names = append(names, "flag "+path+" --"+match[1])
	}
	if _, list, ok := strings.Cut(help, "Commands:\n"); ok {
		for _, sub := range commandsOf(list) {
			names = append(names, p.command(t, append(slices.Clone(words), sub)...)...)
		}
	}
	return names
}

// missing returns the lines of a list in testdata/compat that are neither among names
// nor explained. With -update it first adds names to the list.
func missing(t *testing.T, list string, names []string) []string {
	t.Helper()
	file := filepath.Join(data, list)
	known := lines(t, file)
	if *update {
		known = slices.Concat(known, names)
		slices.Sort(known)
		known = slices.Compact(known)
		write(t, file, []byte(strings.Join(known, "\n")+"\n"))
	}
	if len(known) == 0 {
		t.Fatalf("%s is empty", file)
	}
	intended := removed(t)
	for _, name := range intended {
		if slices.Contains(names, name) {
			t.Errorf("removed: %s exists", name)
		}
	}
	return slices.DeleteFunc(known, func(name string) bool { return slices.Contains(names, name) || slices.Contains(intended, name) })
}

// removed returns the names and paths in the file "removed".
func removed(t *testing.T) []string {
	t.Helper()
	all := lines(t, filepath.Join(data, "removed"))
	for i, line := range all {
		name, reason, _ := strings.Cut(line, ": ")
		if reason == "" {
			t.Errorf("removed: %s lacks the reason", line)
		}
		all[i] = name
	}
	return all
}

// lines returns the lines of a file without comments, none if it does not exist.
func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
