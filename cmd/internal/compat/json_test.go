package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// outputs are the commands whose JSON programs of others read, in the order in which
// TestJSON runs them. Some fail, and describe the failure in JSON.
var outputs = []string{
	"get-instances",
	"check-config --json two.cfg",
	"check-config --json broken.cfg",
	"diff two.cfg",
	"deploy-config --check two.cfg",
	"deploy-config two.cfg",
	"deploy",
	"deploy --force",
	"check three.cfg",
	"diff three.cfg",
	"diff site.cfg",
	"stage-config two.cfg",
	"get-nodes",
	"get-config --as-json",
	"get-config --as-json --deployed",
	"get-id-value Site::local_nets",
	"restart worker-1",
	"rolling-restart worker-1 worker-2",
	"stop worker-1",
	"status",
	"start worker-1",
	"drain sensor-2",
	"undrain sensor-2",
	"logs worker-1 --json",
	"events",
	"history",
	"alerts",
	"df",
	"diag worker-1",
	"netstats",
	"peers",
	"scripts worker-1",
	"top",
	"cleanup --dry-run",
	"rollback",
	"teardown --yes",
}

// otherOutputs are the commands without such output.
var otherOutputs = map[string]string{
	"monitor":       "prints messages as they come, for troubleshooting",
	"watch":         "prints the views of events and status until it is interrupted",
	"process":       "needs a Zeek: the live suite runs it",
	"show-config":   "prints a cluster file",
	"show-settings": "prints a file of settings",
	"step-down":     "needs several controllers",
	"test-timeout":  "for testing",
}

// TestJSON compares the keys and types in the output of commands with those of
// earlier versions. Keys may be added.
func TestJSON(t *testing.T) {
	p := present(t)
	c := newCluster(t, p)
	c.controller(p)
	c.agent(p, "sensor-1")
	c.agent(p, "sensor-2")
	all := make(shape)
	all.add("version --json $", decode(t, p.prints(t, "version", "--json")))
	for _, command := range outputs {
		out, err := c.try(strings.Fields(command)...)
		if strings.TrimSpace(out) == "" {
			t.Fatalf("%s printed nothing: %v", command, err)
		}
		all.add(command+" $", decode(t, out))
	}
	file := filepath.Join(data, "json.txt")
	known := parseShape(lines(t, file))
	if *update {
		for path, kinds := range all {
			known.note(path, kinds...)
		}
		write(t, file, []byte(strings.Join(known.lines(), "\n")+"\n"))
	}
	if len(known) == 0 {
		t.Fatalf("%s is empty", file)
	}
	intended := removed(t)
	for path, kinds := range known {
		if err := all.fits(path, kinds); err != nil && !slices.Contains(intended, path) {
			t.Errorf("%s: %v: explain it in testdata/compat/removed", path, err)
		}
	}
}

// TestJSONOfAllCommands checks that no client command is missing in the list.
func TestJSONOfAllCommands(t *testing.T) {
	_, help, _ := strings.Cut(present(t).prints(t, "--help"), "Client commands:\n")
	help, _, _ = strings.Cut(help, "\n\n")
	for _, command := range commandsOf(help) {
		tested := slices.ContainsFunc(outputs, func(line string) bool { return strings.Fields(line)[0] == command })
		if _, excepted := otherOutputs[command]; tested == excepted {
			t.Errorf("%s: want it in one of the lists", command)
		}
	}
}

// shape has the types at each path of JSON texts.
type shape map[string][]string

// dynamic matches keys that are names of things, and not part of the format.
var dynamic = regexp.MustCompile(`^(sensor-\d|worker-\d|manager|logger)$|[/:]`)

func (s shape) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		s.note(path, "object")
		for key, value := range v {
			if dynamic.MatchString(key) {
				key = "*"
			}
			s.add(path+"."+key, value)
		}
	case []any:
		s.note(path, "array")
		for _, value := range v {
			s.add(path+"[]", value)
		}
	case string:
		s.note(path, "string")
	case json.Number:
		s.note(path, "number")
	case bool:
		s.note(path, "bool")
	default:
		s.note(path, "null")
	}
}

func (s shape) note(path string, kinds ...string) {
	all := slices.Concat(s[path], kinds)
	slices.Sort(all)
	s[path] = slices.Compact(all)
}

// parseShape returns the shape with these lines.
func parseShape(lines []string) shape {
	s := make(shape)
	for _, line := range lines {
		path, kinds, _ := strings.Cut(line, " = ")
		s.note(path, strings.Split(kinds, "|")...)
	}
	return s
}

// lines returns a line for each path.
func (s shape) lines() []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(s)) {
		all = append(all, path+" = "+strings.Join(s[path], "|"))
	}
	return all
}

// fits returns an error unless the shape has a path with these types. A value may be
// null, and then has no parts; a list may be empty.
func (s shape) fits(path string, types []string) error {
	has, ok := s[path]
	if !ok {
		if s.hidden(path) {
			return nil
		}
		return fmt.Errorf("it does not exist any more")
	}
	for _, kind := range has {
		if kind != "null" && !slices.Contains(types, kind) && !slices.Equal(types, []string{"null"}) {
			return fmt.Errorf("it is of the types %v, and was %v", has, types)
		}
	}
	return nil
}

// hidden reports whether a path is part of a value that is null or empty this time.
func (s shape) hidden(path string) bool {
	for {
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return false
		}
		element := path[i] == '['
		path = path[:i]
		if has, ok := s[path]; ok {
			return element || slices.Contains(has, "null")
		}
	}
}
