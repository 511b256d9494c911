package repository

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReleaseCheck runs the check of a release's documents in a copy of them. It must
// accept the version that is prepared once its section has a date.
func TestReleaseCheck(t *testing.T) {
	prepared := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d\d-\d\d)$`).FindStringSubmatch(read(t, "CHANGELOG.md"))
	if prepared == nil {
		t.Fatal("CHANGELOG.md has no section of a version")
	}
	version := "v" + prepared[1]
	dir := t.TempDir()
	copied := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copied(".ci/release-check", read(t, ".ci/release-check"))
	copied("docs/releases/"+version+".md", read(t, "docs/releases/"+version+".md"))
	dated := strings.Replace(read(t, "CHANGELOG.md"), prepared[0], "## ["+prepared[1]+"] - 2027-01-31", 1)
	undated := strings.Replace(read(t, "CHANGELOG.md"), prepared[0], "## ["+prepared[1]+"] - unreleased", 1)
	for _, tt := range []struct{ version, changelog, want string }{
		{version, dated, "are complete"},
		{version, undated, "has no date"},
		{version + "-rc.1", undated, "are complete"},
		{"v99.0.0", dated, "has no section [99.0.0]"},
		{"v99", dated, "is not of the form"},
	} {
		copied("CHANGELOG.md", tt.changelog)
		cmd := exec.Command(filepath.Join(dir, ".ci/release-check"))
		cmd.Env = append(os.Environ(), "VERSION="+tt.version)
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), tt.want) || (err == nil) != (tt.want == "are complete") {
			t.Errorf("%s: %v: %s", tt.version, err, out)
		}
	}
}
