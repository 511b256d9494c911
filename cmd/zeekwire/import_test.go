package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// TestImportedSettings checks that the services accept the settings that imports write.
func TestImportedSettings(t *testing.T) {
	names, err := filepath.Glob("../internal/importer/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			var table *settings.Table
			switch {
			case f.Name == "want/controller.conf":
				table = newControllerSettings().t
			case strings.HasPrefix(f.Name, "want/agents/"):
				table = newAgentSettings().t
			default:
				continue
			}
			loaded++
			file := writtenFile(t, string(f.Data))
			if err := table.Load(file, func(string) string { return "" }, nil); err != nil {
				t.Errorf("%s, %s: %v", name, f.Name, err)
			}
		}
	}
	if loaded == 0 {
		t.Error("no settings")
	}
}
