package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestScriptsRunEveryCommand checks that scripts run every client command, both
// on a terminal and without one.
func TestScriptsRunEveryCommand(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scripts: ", err)
	}
	onTerminals, others := make(map[string]bool), make(map[string]bool)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(archive.Comment)) {
			words := strings.Fields(line)
			program := slices.Index(words, "zeekwire")
			if program < 0 || program+1 == len(words) || words[0] == "#" {
				continue
			}
			if slices.Contains(words[:program], "terminal") {
				onTerminals[words[program+1]] = true
			} else {
				others[words[program+1]] = true
			}
		}
	}
	for _, cmd := range newCommand().Commands() {
		if cmd.GroupID != groupClient {
			continue
		}
		if !onTerminals[cmd.Name()] {
			t.Errorf("no script runs %s on a terminal", cmd.Name())
		}
		if !others[cmd.Name()] {
			t.Errorf("no script runs %s without a terminal", cmd.Name())
		}
	}
}
