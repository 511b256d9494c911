package site_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func TestDiff(t *testing.T) {
	lines := strings.Repeat("line\n", 300<<10) // over 1 MiB
	var many strings.Builder
	for i := range 90_000 {
		fmt.Fprintf(&many, "line %d\n", i)
	}
	old := write(t, t.TempDir(), map[string]string{
		"same.zeek": "a\n", "changed.zeek": "one\ntwo\nthree\n", "removed.zeek": "", "dir/removed": "", "binary": "a\x00b",
		"link": "-> same.zeek", "kind": "-> same.zeek", "tool": "#!\n", "large": lines, "large-same": lines, ".git/x": "", "target": "-> same.zeek",
		"many1": "", "many2": "", "many3": "", "many4": "", "many5": "", "end": "no end",
	})
	new := write(t, t.TempDir(), map[string]string{
		"same.zeek": "a\n", "changed.zeek": "one\n2\nthree\n", "added.zeek": "", "binary": "a\x00c",
		"link": "-> changed.zeek", "kind": "a\n", "tool": "#!\n", "large": lines[:len(lines)-1] + "!", "large-same": lines, "target": "-> same.zeek",
		"many1": many.String(), "many2": many.String(), "many3": many.String(), "many4": many.String(), "many5": many.String(), "end": "no end\n",
	})
	if err := os.Chmod(filepath.Join(new, "tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	changes, err := site.Diff(old, new, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range changes {
		text := c.Text
		if len(text) > 500 {
			text = text[:40] + "...\n"
		}
		fmt.Fprintf(&b, "%s %s: %s\n%s", c.Kind, c.Path, c.Note, text)
	}
	want := `added added.zeek: 
changed binary: binary file
changed changed.zeek: 
--- a/changed.zeek
+++ b/changed.zeek
@@ -1,3 +1,3 @@
 one
-two
+2
 three
removed dir/removed: 
changed end: 
--- a/end
+++ b/end
@@ -1,1 +1,1 @@
-no end
\ No newline at end of file
+no end
changed kind: file instead of a symbolic link
changed large: too large to compare its lines
changed link: symbolic link to changed.zeek instead of same.zeek
changed many1: 
--- a/many1
+++ b/many1
@@ -0,0 +1,90000...
changed many2: 
--- a/many2
+++ b/many2
@@ -0,0 +1,90000...
changed many3: 
--- a/many3
+++ b/many3
@@ -0,0 +1,90000...
changed many4: not shown, because there are too many changes
changed many5: not shown, because there are too many changes
removed removed.zeek: 
changed tool: now executable
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if none, err := site.Diff(old, old, site.Limits{}); err != nil || len(none) > 0 {
		t.Errorf("%v, %v", none, err)
	}
	added, err := site.Diff("", filepath.Join(old, "dir"), site.Limits{})
	if diff := cmp.Diff([]site.Change{{Path: "removed", Kind: site.Added}}, added); err != nil || diff != "" {
		t.Errorf("%v, %v", diff, err)
	}
	if _, err := site.Diff(old, "/does/not/exist", site.Limits{}); err == nil {
		t.Error("no error")
	}
	if _, err := site.Diff(old, new, site.Limits{Files: 3}); err == nil {
		t.Error("no error")
	}
}
