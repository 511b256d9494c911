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

// layers are the layers of the house from the bottom up. Packages are patterns
// of path.Match. A package may import packages of its own layer and of those
// below. DESIGN.md describes what each layer is for.
var layers = []struct {
	name     string
	packages []string
}{
	{"vocabulary", []string{"broker"}},
	{"helpers without knowledge of the project", []string{
		"broker/internal/anontls", "broker/internal/twoprocs", "broker/security", "broker/security/certtest",
		"zeekapi/agent/internal/atomicfile", "zeekapi/agent/internal/dirlock", "zeekapi/agent/internal/tailfile",
		"zeekapi/clusterfile/configparser", "zeekapi/clusterfile/shlex", "zeekapi/internal/eventloop",
	}},
	{"encodings", []string{
		"broker/bin", "broker/jsonv1", "broker/wire", "broker/record", "broker/logs", "broker/internal/queue", "broker/internal/backoff",
		"broker/internal/hooks", "broker/internal/settings", "broker/internal/brokertest",
		"broker/recording", "broker/recording/pcap",
	}},
	{"transports and what is generic over them", []string{"broker/membus", "broker/peering", "broker/websocket", "broker/request"}},
	{"model", []string{"zeekapi", "zeekapi/clusterfile", "zeekapi/access", "zeekapi/internal/recorded", "zeekapi/peertest"}},
	{"dialects", []string{"zeekapi/management", "zeekapi/clusteragent", "zeekapi/operations", "zeekapi/supervisor"}},
	{"parts of roles", []string{
		"zeekapi/agent/archive", "zeekapi/agent/internal/*", "zeekapi/agent/launch", "zeekapi/agent/launch/*", "zeekapi/client/connect",
		"zeekapi/controller/internal/*",
	}},
	{"roles", []string{"zeekapi/controller", "zeekapi/agent", "zeekapi/client"}},
	{"fakes", []string{"zeekapi/fake"}},
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

// forbidden are imports that the order of the layers would allow.
var forbidden = []struct{ from, to, why string }{
	{"zeekapi/controller", "zeekapi/agent", "roles do not know each other"},
	{"zeekapi/controller", "zeekapi/client", "roles do not know each other"},
	{"zeekapi/agent", "zeekapi/client", "roles do not know each other"},
	{"zeekapi/client", "zeekapi/agent", "roles do not know each other"},
	{"zeekapi/client", "zeekapi/controller", "roles do not know each other"},
	{"zeekapi/controller", "zeekapi/management", "roles know messages, not dialects"},
	{"zeekapi/controller", "zeekapi/clusteragent", "roles know messages, not dialects"},
	{"zeekapi/controller", "zeekapi/operations", "roles know messages, not dialects"},
	{"zeekapi/agent", "zeekapi/management", "roles know messages, not dialects"},
	{"zeekapi/agent", "zeekapi/clusteragent", "roles know messages, not dialects"},
	{"zeekapi/agent", "zeekapi/operations", "roles know messages, not dialects"},
	{"zeekapi/controller", "broker/peering", "roles know the bus, not transports"},
	{"zeekapi/controller", "broker/websocket", "roles know the bus, not transports"},
	{"zeekapi/agent", "broker/peering", "roles know the bus, not transports"},
	{"zeekapi/agent", "broker/websocket", "roles know the bus, not transports"},
}

type goPackage struct {
	ImportPath    string
	Imports, Deps []string
	Standard      bool
}

// list returns what the Go command says of packages.
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

// TestLayers checks that imports run downward only.
func TestLayers(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		layer := layerOf(from)
		if layer < 0 {
			t.Errorf("%s is in no layer: add it to the table in this file", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if below := layerOf(to); below > layer {
				t.Errorf("%s (%s) imports %s (%s), which is a layer above", from, layers[layer].name, to, layers[below].name)
			}
			if to == "zeekapi/fake" {
				t.Errorf("%s imports %s: only tests need fakes", from, to)
			}
			for _, f := range forbidden {
				if from == f.from && to == f.to {
					t.Errorf("%s imports %s: %s", from, to, f.why)
				}
			}
		}
	}
}

// TestLibraryIsSmall checks what a program imports that only exchanges Zeek
// events: nothing of clusters, and few other modules.
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
