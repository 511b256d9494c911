package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestLibraryGuide runs the programs of the library guide, and compares their
// output with the block that follows.
func TestLibraryGuide(t *testing.T) {
	const guide = "docs/library.md"
	blocks := blocksOf(t, guide)
	programs := 0
	for i, b := range blocks {
		if _, ok := b.attributes["program"]; !ok {
			continue
		}
		programs++
		if i+1 == len(blocks) || blocks[i+1].language != "text" {
			t.Errorf("%s:%d: no output follows the program", guide, b.line)
			continue
		}
		// The directory is inside the module, but not part of "./...".
		dir, err := os.MkdirTemp("testdata", "guide-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "main.go")
		if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "go", "run", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s:%d: %v\n%s", guide, b.line, err, out)
			continue
		}
		if want := blocks[i+1].text; string(out) != want {
			t.Errorf("%s:%d: the output is\n%swant\n%s", guide, b.line, out, want)
		}
	}
	if programs == 0 {
		t.Errorf("%s contains no programs", guide)
	}
}
