package controller

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers lists the files of the package from the bottom up. A file may use only
// declarations of the files before it.
var layers = []string{
	// Shared types.
	"inout.go", "text.go", "values.go", "allowance.go", "complaints.go", "outbox.go", "tally.go",
	"settings.go", "post.go", "ports.go", "validate.go", "portchanges.go", "diff.go",

	// Stored state.
	"eventlog.go", "storage.go", "configurations.go", "history.go", "names.go", "stoppednodes.go", "nodestates.go",

	// Agents and clients.
	"agents.go", "clients.go", "request.go", "polls.go", "deadlines.go", "requests.go", "passed.go", "sites.go",
	"members.go", "contests.go", "leading.go", "arrivals.go", "reports.go", "nodequestions.go", "surveys.go", "strangers.go",

	// Changes of the cluster.
	"plan.go", "deliveries.go", "waits.go", "rollbacks.go", "deployments.go", "trials.go", "drains.go", "stops.go", "restartchecks.go",
	"job.go", "jobs.go", "jobresume.go",

	// Requests of clients.
	"staging.go", "queries.go", "changes.go", "status.go", "figures.go", "alerting.go", "dispatch.go",

	// The assembly.
	"snapshot.go", "machine.go", "check.go",

	// I/O.
	"access.go", "ledger.go", "entries.go", "fileschema.go", "storefile.go", "store.go", "leadership.go", "livestate.go", "keeper.go", "lives.go", "dials.go", "encode.go", "config.go", "storedsites.go", "space.go", "forwarding.go", "perform.go", "leaving.go", "listen.go", "run.go",
}

// noImporter resolves no imports. The test needs only the declarations of the
// package itself.
type noImporter struct{}

func (noImporter) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// Files use only declarations of lower layers.
func TestFilesUseLowerLayersOnly(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if !slices.Contains(layers, name) {
			t.Errorf("%s is missing in layers", name)
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: noImporter{}, Error: func(error) {}}
	pkg, _ := config.Check("controller", fset, files, info) // fails because of the imports
	if len(layers) != len(files) {
		t.Errorf("%d files, %d layers", len(files), len(layers))
	}
	uses, reported := 0, make(map[[2]string]bool)
	for ident, object := range info.Uses {
		if object.Pkg() != pkg {
			continue
		}
		from, to := fset.Position(ident.Pos()).Filename, fset.Position(object.Pos()).Filename
		uses++
		if slices.Index(layers, from) < slices.Index(layers, to) && !reported[[2]string{from, to}] {
			reported[[2]string{from, to}] = true
			t.Errorf("%s uses %s of %s, which is above it", fset.Position(ident.Pos()), ident.Name, to)
		}
	}
	if uses < 1000 {
		t.Errorf("found only %d uses of declarations", uses)
	}
}
