package repository

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// root is the top directory of the repository.
const root = "../../.."

// files returns the names, relative to root, of the files with one of the
// extensions. It skips directories that are not part of the repository.
func files(t *testing.T, extensions ...string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case !d.IsDir() && slices.Contains(extensions, filepath.Ext(name)):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("no files %v below %s", extensions, root)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```")
	codeSpan  = regexp.MustCompile("`[^`\n]+`")
	htmlText  = regexp.MustCompile(`(?s)<!--.*?-->`)
	link      = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
	heading   = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// prose returns the text of a Markdown file without code and comments.
func prose(text string) string {
	text = codeBlock.ReplaceAllString(text, "")
	return htmlText.ReplaceAllString(codeSpan.ReplaceAllString(text, "code"), "")
}

// code returns the code of a Markdown file.
func code(text string) string {
	blocks := codeBlock.FindAllString(text, -1)
	spans := codeSpan.FindAllString(codeBlock.ReplaceAllString(text, ""), -1)
	return strings.Join(append(blocks, spans...), "\n")
}

// anchors returns the fragments by which links reach the headings of a Markdown
// file.
func anchors(text string) []string {
	other := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var all []string
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		name := other.ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(strings.TrimSpace(name), " ", "-"))
	}
	return all
}

// TestLinks checks that relative links in Markdown files lead to existing files
// and headings.
func TestLinks(t *testing.T) {
	checked := 0
	for _, name := range files(t, ".md") {
		for _, match := range link.FindAllStringSubmatch(prose(read(t, name)), -1) {
			target, err := url.Parse(match[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if target.IsAbs() {
				continue
			}
			checked++
			to := name
			if target.Path != "" {
				to = filepath.Join(filepath.Dir(name), target.Path)
			}
			if !exists(to) {
				t.Errorf("%s: link to %s, which does not exist", name, match[1])
			} else if target.Fragment != "" && !slices.Contains(anchors(read(t, to)), target.Fragment) {
				t.Errorf("%s: link to %s, but %s has no such heading", name, match[1], to)
			}
		}
	}
	if checked == 0 {
		t.Error("found no links")
	}
}

// TestPaths checks that paths of packages and test data that Markdown files
// mention as code exist.
func TestPaths(t *testing.T) {
	path := regexp.MustCompile("`((?:broker|zeekapi|cmd|testdata)/[^` ]+)`")
	checked := 0
	for _, name := range files(t, ".md") {
		for _, match := range path.FindAllStringSubmatch(read(t, name), -1) {
			for _, pattern := range alternatives(match[1]) {
				checked++
				found, err := filepath.Glob(filepath.Join(root, pattern))
				if err != nil || len(found) == 0 {
					t.Errorf("%s: names %s, which does not exist", name, pattern)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("found no paths")
	}
}

// alternatives expands one pair of braces as a shell does: a/{b,c} is a/b and a/c.
func alternatives(pattern string) []string {
	before, rest, ok := strings.Cut(pattern, "{")
	inner, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{pattern}
	}
	var all []string
	for word := range strings.SplitSeq(inner, ",") {
		all = append(all, before+word+after)
	}
	return all
}

// TestMakeTargets checks that documents, workflows and the CI script call only
// targets that the Makefile has.
func TestMakeTargets(t *testing.T) {
	targets := makeTargets(t)
	call := regexp.MustCompile("(?m)(?:`|^ *|: )make ([a-z][a-z-]*)")
	checked := 0
	for _, name := range append(files(t, ".md", ".yml"), ".ci/run") {
		text := read(t, name)
		if filepath.Ext(name) == ".md" {
			text = code(text)
		}
		for _, match := range call.FindAllStringSubmatch(text, -1) {
			checked++
			if !slices.Contains(targets, match[1]) {
				t.Errorf("%s: calls make %s, which the Makefile does not have", name, match[1])
			}
		}
	}
	if checked == 0 {
		t.Error("found no calls of make")
	}
}

// makeTargets returns the targets of the Makefile. All of them must be phony,
// because none of them names a file.
func makeTargets(t *testing.T) []string {
	t.Helper()
	text := read(t, "Makefile")
	var targets, phony []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):(?:[^=]|$)`).FindAllStringSubmatch(text, -1) {
		targets = append(targets, match[1])
	}
	for _, match := range regexp.MustCompile(`(?m)^\.PHONY:(.*)$`).FindAllStringSubmatch(text, -1) {
		phony = append(phony, strings.Fields(match[1])...)
	}
	for _, target := range targets {
		if !slices.Contains(phony, target) {
			t.Errorf("Makefile: target %s is not phony", target)
		}
	}
	for _, target := range phony {
		if !slices.Contains(targets, target) {
			t.Errorf("Makefile: .PHONY names %s, which is no target", target)
		}
	}
	return targets
}

// workflow is the part of a workflow file that the tests check.
type workflow struct {
	Jobs map[string]struct {
		Strategy struct {
			Matrix map[string][]string
		}
		Steps []struct{ Uses, Run string }
	}
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	all := make(map[string]workflow)
	for _, name := range files(t, ".yml") {
		if filepath.Dir(name) != ".github/workflows" {
			continue
		}
		var w workflow
		if err := yaml.Unmarshal([]byte(read(t, name)), &w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all[name] = w
	}
	if len(all) == 0 {
		t.Fatal("found no workflows")
	}
	return all
}

// TestWorkflowsCallMake checks that each command in a workflow is a call of
// make, so that contributors can run it, and that each action has a major
// version.
func TestWorkflowsCallMake(t *testing.T) {
	command := regexp.MustCompile(`^make [a-z-]+( [A-Z]+=\w+)*$`)
	action := regexp.MustCompile(`^[\w.-]+/[\w./-]+@v\d+$`)
	for name, w := range workflows(t) {
		if len(w.Jobs) == 0 {
			t.Errorf("%s: no jobs", name)
		}
		for id, job := range w.Jobs {
			if len(job.Steps) == 0 {
				t.Errorf("%s: job %s has no steps", name, id)
			}
			for _, step := range job.Steps {
				if step.Run != "" && !command.MatchString(step.Run) {
					t.Errorf("%s: job %s runs %q, want a call of make", name, id, step.Run)
				}
				if step.Uses != "" && !action.MatchString(step.Uses) {
					t.Errorf("%s: job %s uses %q, want an action with a major version", name, id, step.Uses)
				}
			}
		}
	}
}

// TestWorkflowGoVersions checks that the tests run with the version of Go that
// go.mod requires, and with the newest one.
func TestWorkflowGoVersions(t *testing.T) {
	required := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if required == nil {
		t.Fatal("go.mod has no go directive")
	}
	got := workflows(t)[".github/workflows/ci.yml"].Jobs["test"].Strategy.Matrix["go"]
	if want := []string{required[1], "stable"}; !slices.Equal(got, want) {
		t.Errorf("ci.yml tests with Go %q, want %q", got, want)
	}
}

// TestYAML checks that all YAML files are well formed.
func TestYAML(t *testing.T) {
	for _, name := range files(t, ".yml", ".yaml") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(read(t, name)), &content); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(content) == 0 {
			t.Errorf("%s: is empty", name)
		}
	}
}
