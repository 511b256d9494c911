package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Scripts start zeek-client often, and each start initializes all packages. So it has none of
// the libraries that only services need.
func TestNoLibrariesOfServices(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Errorf("only %d packages are listed", len(packages))
	}
	for _, p := range packages {
		for _, library := range []string{"github.com/prometheus/", "google.golang.org/", "go.etcd.io/etcd/", "github.com/nats-io/", "github.com/danielgtaylor/"} {
			if strings.HasPrefix(p, library) {
				t.Errorf("zeek-client contains %s", p)
			}
		}
	}
}
