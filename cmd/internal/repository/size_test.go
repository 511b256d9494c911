package repository

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// maxFile limits a file of the repository in bytes. A larger one is probably a
// program or a capture that was committed by mistake.
const maxFile = 1 << 20

// TestFilesAreSmall checks the files of the present commit.
func TestFilesAreSmall(t *testing.T) {
	list, err := exec.Command("git", "-C", root, "ls-tree", "-r", "-l", "HEAD").Output()
	if err != nil {
		t.Skip("this is no checkout of Git")
	}
	for line := range strings.Lines(string(list)) {
		about, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		fields := strings.Fields(about)
		if size, err := strconv.Atoi(fields[len(fields)-1]); err == nil && size > maxFile {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
}
