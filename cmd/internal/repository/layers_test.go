package repository

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/zeekwire/zeekwire/"

// layers lists the layers of packages from the bottom up. Packages are patterns
// of path.Match. A package may import packages of its own layer and of lower
// layers. DESIGN.md describes the purpose of each layer.
var layers = []struct {
	name     string
	packages []string
}{
	{"vocabulary", []string{"broker"}},
	{"helpers that do not depend on the project", []string{
		"broker/internal/idlebuf", "broker/internal/anontls", "broker/internal/twoprocs", "broker/security", "broker/security/certtest", "broker/tcp",
		"zeekapi/agent/internal/atomicfile", "zeekapi/agent/internal/dirlock", "zeekapi/agent/internal/tailfile",
		"zeekapi/clusterfile/configparser", "zeekapi/clusterfile/shlex", "zeekapi/internal/eventloop", "zeekapi/internal/synced", "zeekapi/disktest",
	}},
	{"encodings", []string{
		"broker/bin", "broker/jsonv1", "broker/wire", "broker/record", "broker/logs", "broker/internal/queue", "broker/internal/intake", "broker/internal/backoff",
		"broker/admission", "broker/internal/hooks", "broker/internal/settings", "broker/internal/brokertest",
		"broker/recording", "broker/recording/pcap",
	}},
	{"transports and generic parts on top of them", []string{"broker/membus", "broker/peering", "broker/websocket", "broker/events", "broker/request", "broker/gateway", "broker/gateway/bridge"}},
	{"model", []string{"zeekapi", "zeekapi/clusterfile", "zeekapi/selection", "zeekapi/access", "zeekapi/site", "zeekapi/redact", "zeekapi/zeekconf", "zeekapi/zeekctl", "zeekapi/internal/diskspace", "zeekapi/internal/substitute", "zeekapi/internal/recorded", "zeekapi/peertest"}},
	{"dialects", []string{"zeekapi/management", "zeekapi/clusteragent", "zeekapi/operations", "zeekapi/supervisor"}},
	{"parts of roles", []string{
		"zeekapi/agent/archive", "zeekapi/agent/crashes", "zeekapi/agent/diskwatch", "zeekapi/agent/internal/*", "zeekapi/agent/launch", "zeekapi/agent/launch/*", "zeekapi/client/connect",
		"zeekapi/controller/internal/*",
	}},
	{"roles", []string{"zeekapi/controller", "zeekapi/agent", "zeekapi/client"}},
	{"interfaces over HTTP", []string{"zeekapi/httpapi"}},
	{"fakes", []string{"zeekapi/fake", "zeekapi/controller/storetest"}},
	{"commands", []string{"cmd/*", "cmd/internal/*", "cmd/internal/*/*"}},
}

func layerOf(pkg string) int {
	for i, l := range layers {
		if slices.ContainsFunc(l.packages, func(pattern string) bool {
			ok, _ := path.Match(pattern, pkg)
			return ok
		}) {
			return i
		}
	}
	return -1
}

// forbidden lists imports that the layers allow, but that are wrong.
var forbidden = []struct{ from, to, why string }{
	{"zeekapi/controller", "zeekapi/agent", "roles do not depend on each other"},
	{"zeekapi/controller", "zeekapi/client", "roles do not depend on each other"},
	{"zeekapi/agent", "zeekapi/client", "roles do not depend on each other"},
	{"zeekapi/client", "zeekapi/agent", "roles do not depend on each other"},
	{"zeekapi/client", "zeekapi/controller", "roles do not depend on each other"},
	{"zeekapi/controller", "zeekapi/management", "roles depend on messages, not on dialects"},
	{"zeekapi/controller", "zeekapi/clusteragent", "roles depend on messages, not on dialects"},
	{"zeekapi/controller", "zeekapi/operations", "roles depend on messages, not on dialects"},
	{"zeekapi/agent", "zeekapi/management", "roles depend on messages, not on dialects"},
	{"zeekapi/agent", "zeekapi/clusteragent", "roles depend on messages, not on dialects"},
	{"zeekapi/agent", "zeekapi/operations", "roles depend on messages, not on dialects"},
	{"zeekapi/controller", "broker/peering", "roles depend on the bus, not on transports"},
	{"zeekapi/controller", "broker/websocket", "roles depend on the bus, not on transports"},
	{"zeekapi/agent", "broker/peering", "roles depend on the bus, not on transports"},
	{"zeekapi/agent", "broker/websocket", "roles depend on the bus, not on transports"},
}

type goPackage struct {
	ImportPath    string
	Imports, Deps []string
	Standard      bool
}

// list returns the descriptions of packages by the go command.
func list(t *testing.T, patterns ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard"}, patterns...)...)
	cmd.Dir = root
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for decoder := json.NewDecoder(out); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLayers checks that packages import only packages of their own or lower
// layers.
func TestLayers(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		layer := layerOf(from)
		if layer < 0 {
			t.Errorf("%s is not in any layer: add it to the table in this file", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if below := layerOf(to); below > layer {
				t.Errorf("%s (%s) imports %s (%s), which is in a higher layer", from, layers[layer].name, to, layers[below].name)
			}
			if to == "zeekapi/fake" {
				t.Errorf("%s imports %s: only tests may import fakes", from, to)
			}
			for _, f := range forbidden {
				if from == f.from && to == f.to {
					t.Errorf("%s imports %s: %s", from, to, f.why)
				}
			}
		}
	}
}

// TestEtcdStaysInTheProgram checks that the client of etcd, with gRPC, is part of the program
// that needs it only: neither of libraries nor of zeek-client.
func TestEtcdStaysInTheProgram(t *testing.T) {
	for _, p := range list(t, "./broker/...", "./zeekapi/...", "./cmd/zeek-client", "./cmd/internal/clientcmd") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "go.etcd.io/etcd/") || strings.HasPrefix(dep, "google.golang.org/grpc") {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// TestLibraryIsSmall checks the dependencies of a program that only exchanges
// Zeek events: no packages for clusters, and few other modules.
func TestLibraryIsSmall(t *testing.T) {
	allowed := []string{
		"github.com/google/uuid", "github.com/gorilla/websocket", "github.com/rs/zerolog", "github.com/mattn/go-colorable",
		"github.com/mattn/go-isatty", "github.com/youmark/pkcs8", "golang.org/x/",
	}
	for _, p := range list(t, "./broker/record", "./broker/request", "./broker/peering", "./broker/websocket", "./broker/membus", "./broker/security") {
		for _, dep := range p.Deps {
			if ours, ok := strings.CutPrefix(dep, module); ok {
				if !strings.HasPrefix(ours, "broker") {
					t.Errorf("%s imports %s", p.ImportPath, dep)
				}
				continue
			}
			external := strings.Contains(strings.Split(dep, "/")[0], ".")
			if external && !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(dep, prefix) }) {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}
