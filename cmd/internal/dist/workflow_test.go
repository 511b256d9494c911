package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is the file that makes a release when a tag is pushed.
type workflow struct {
	Env  map[string]string
	Jobs map[string]struct {
		Needs []string
		Steps []step
	}
}

type step struct {
	Run, Uses string
	With      map[string]string
}

const workflowFile = ".github/workflows/release.yml"

func readWorkflow(t *testing.T) workflow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(topLevel(t), workflowFile))
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// commands returns the commands of a job.
func (w workflow) commands(job string) (lines []string) {
	for _, s := range w.Jobs[job].Steps {
		if s.Run != "" {
			lines = append(lines, s.Run)
		}
	}
	return lines
}

// release returns the step that makes the draft of a release.
func (w workflow) release(t *testing.T) step {
	t.Helper()
	steps := w.Jobs["files"].Steps
	i := slices.IndexFunc(steps, func(s step) bool { return strings.HasPrefix(s.Uses, "softprops/action-gh-release@") })
	if i < 0 {
		t.Fatal("no step makes a release")
	}
	return steps[i]
}

// expand replaces the expressions of the workflow for a tag. An expression that it does not
// know is an error.
func expand(t *testing.T, text, tag string) string {
	t.Helper()
	notes, candidate := tag, "false"
	if strings.Contains(tag, "-") {
		notes, candidate = "candidate", "true"
	}
	text = strings.NewReplacer(
		"${{ github.ref_name }}", tag,
		"${{ contains(github.ref_name, '-') }}", candidate,
		"${{ contains(github.ref_name, '-') && 'candidate' || github.ref_name }}", notes,
	).Replace(text)
	if strings.Contains(text, "${{") {
		t.Errorf("%s: unknown expression %q", workflowFile, text)
	}
	return text
}

// TestReleaseWorkflow checks what the workflow depends on: its targets exist, the files come
// after all checks, and tags of releases and of candidates find their notes.
func TestReleaseWorkflow(t *testing.T) {
	w := readWorkflow(t)
	makefile, err := os.ReadFile(filepath.Join(topLevel(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for job := range w.Jobs {
		for _, line := range w.commands(job) {
			words := strings.Fields(line)
			if words[0] != "make" || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(words[1])+`:`).Match(makefile) {
				t.Errorf("%s: %q is no target of the Makefile", job, line)
			}
		}
		if job != "files" && !slices.Contains(w.Jobs["files"].Needs, job) {
			t.Errorf("the files do not wait for %s", job)
		}
	}
	if w.Env["VERSION"] != "${{ github.ref_name }}" {
		t.Errorf("VERSION is %q", w.Env["VERSION"])
	}
	for _, tag := range []string{preparedVersion(t), preparedVersion(t) + "-rc.1"} {
		notes := expand(t, w.release(t).With["body_path"], tag)
		if text, err := os.ReadFile(filepath.Join(topLevel(t), notes)); err != nil || len(text) == 0 {
			t.Errorf("%s: notes %q, %v", tag, text, err)
		}
		if want, got := strings.Contains(tag, "-"), expand(t, w.release(t).With["prerelease"], tag); (got == "true") != want {
			t.Errorf("%s: prerelease is %s", tag, got)
		}
	}
}

// heading matches the section of the version that CHANGELOG.md prepares.
var heading = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d\d-\d\d)$`)

// preparedVersion returns the version that CHANGELOG.md prepares.
func preparedVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(topLevel(t), "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := heading.FindSubmatch(text)
	if m == nil {
		t.Fatal("CHANGELOG.md has no section of a version")
	}
	return "v" + string(m[1])
}

// TestTag runs the steps of the workflow that make the files, for the prepared version in a
// clone with its tag, and checks the files that the release would have.
func TestTag(t *testing.T) {
	needWhole(t)
	w, tag := readWorkflow(t), preparedVersion(t)
	clone := filepath.Join(t.TempDir(), "clone")
	command(t, "", "git", "clone", "--quiet", "--shared", topLevel(t), clone)
	changelog := filepath.Join(clone, "CHANGELOG.md")
	text, err := os.ReadFile(changelog)
	if err != nil {
		t.Fatal(err)
	}
	text = heading.ReplaceAll(text, []byte("## [$1] - 2027-01-31"))
	if err := os.WriteFile(changelog, text, 0o644); err != nil {
		t.Fatal(err)
	}
	as := []string{"-c", "user.name=test", "-c", "user.email=test@example.com"}
	command(t, clone, "git", append(as, "commit", "--quiet", "--all", "--allow-empty", "--message", "Release")...)
	command(t, clone, "git", append(as, "tag", "--annotate", "--message", tag, tag)...)
	for name, value := range w.Env {
		t.Setenv(name, expand(t, value, tag))
	}
	for _, line := range append([]string{"make release-check"}, w.commands("files")...) {
		command(t, clone, "sh", "-ec", line)
	}
	files, err := filepath.Glob(filepath.Join(clone, w.release(t).With["files"]))
	if err != nil {
		t.Fatal(err)
	}
	checkRelease(t, filepath.Dir(files[0]), tag, strings.TrimSpace(command(t, clone, "git", "rev-parse", tag+"^{commit}")))
}

// checkRelease checks the files of a release for all platforms.
func checkRelease(t *testing.T, dir, tag, commit string) {
	t.Helper()
	sums := command(t, dir, "sha256sum", "--check", checksumFile)
	for _, p := range platforms {
		base := "zeekwire_" + tag[1:] + "_" + p.os + "_" + p.arch
		names := []string{base + ".tar.gz", base + "_zeekwire.cdx.json", base + "_zeek-client.cdx.json"}
		if p.os == "linux" {
			machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.arch]
			names = append(names, "zeekwire_"+tag[1:]+"-1_"+p.arch+".deb", "zeekwire-"+tag[1:]+"-1."+machine+".rpm")
		}
		for _, name := range names {
			if !strings.Contains(sums, name+": OK\n") {
				t.Errorf("%s is missing, or has another checksum", name)
			}
		}
		checkMaterials(t, filepath.Join(dir, names[1]), tag)
		unpacked := t.TempDir()
		command(t, unpacked, "tar", "xzf", filepath.Join(dir, names[0]), "--strip-components=1")
		info, err := buildinfo.ReadFile(filepath.Join(unpacked, "zeekwire"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range info.Settings {
			if want, ok := map[string]string{"vcs.revision": commit, "vcs.modified": "false", "GOOS": p.os, "GOARCH": p.arch}[s.Key]; ok && s.Value != want {
				t.Errorf("%v: %s is %s, want %s", p, s.Key, s.Value, want)
			}
		}
		if p == platforms[0] {
			if got := command(t, unpacked, "./zeekwire", "version", "--json"); !strings.Contains(got, tag) {
				t.Errorf("version %s", got)
			}
		}
	}
}

// checkMaterials checks a bill of materials.
func checkMaterials(t *testing.T, file, tag string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name string }
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != tag || len(bill.Components) == 0 {
		t.Errorf("%s: format %s, version %s, %d components", file, bill.BOMFormat, bill.Metadata.Component.Version, len(bill.Components))
	}
}
