package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestContainerExamplesUseExistingSettings checks the environment variables in the
// examples for containers.
func TestContainerExamplesUseExistingSettings(t *testing.T) {
	variable := regexp.MustCompile(`ZEEKWIRE_[A-Z_]+`)
	files, err := filepath.Glob("container/*")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variable.FindAllString(string(content), -1) {
			used++
			for _, service := range serviceNames {
				for _, err := range tableOf(service).Strays([]string{name + "=x"}, serviceNames...) {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
	if used == 0 {
		t.Error("no variables found")
	}
}

// TestComposeExampleHasThreeMachines checks what the merge keys of the example give.
func TestComposeExampleHasThreeMachines(t *testing.T) {
	content, err := os.ReadFile("container/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var example struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			CapDrop     []string `yaml:"cap_drop"`
			Volumes     []string
		}
	}
	if err := yaml.Unmarshal(content, &example); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sensor-01", "sensor-02"} {
		s := example.Services[name]
		if s.Image != "zeekwire-agent" || s.Environment["ZEEKWIRE_AGENT_NAME"] != name || s.Environment["ZEEKWIRE_AGENT_CONTROLLER"] != "controller:2150" ||
			len(s.CapDrop) != 1 || len(s.Volumes) != 1 || s.Volumes[0] != name+":/var/lib/zeekwire" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if example.Services["controller"].Image != "zeekwire-controller" {
		t.Errorf("controller: %+v", example.Services["controller"])
	}
}
