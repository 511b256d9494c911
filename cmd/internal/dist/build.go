package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

const module = "github.com/zeekwire/zeekwire"

// Tools that a release is made with. They are installed in the temporary
// directory.
const (
	sbomTool    = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
	packageTool = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.0"
)

// validVersion matches semantic versions as Go has them, without build metadata.
var validVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// bin returns the directory of the programs for a platform.
func (r *release) bin(p platform) string { return filepath.Join(r.work, p.os+"_"+p.arch) }

// generated returns the directory of files that are the same on all platforms.
func (r *release) generated() string { return filepath.Join(r.work, "generated") }

// name returns the beginning of the names of files for a platform.
func (r *release) name(p platform) string {
	return fmt.Sprintf("zeekwire_%s_%s_%s", strings.TrimPrefix(r.version, "v"), p.os, p.arch)
}

// build compiles the programs for a platform, as "make build" does, unless it has
// done so.
func (r *release) build(ctx context.Context, p platform) error {
	if _, err := os.Stat(r.bin(p)); err == nil {
		return nil
	}
	args := []string{"build", "-trimpath", "-buildvcs=true",
		"-ldflags", "-s -w -X " + module + "/cmd/internal/version.release=" + r.version, "-o", r.bin(p) + "/"}
	_, err := r.command(ctx, p, "go", append(args, sources()...)...)
	return err
}

// install installs a tool for this machine.
func (r *release) install(ctx context.Context, tool string) error {
	_, err := execute(ctx, "", []string{"GOBIN=" + r.tool("")}, "go", "install", tool)
	return err
}

// tool returns the path of an installed tool.
func (r *release) tool(name string) string { return filepath.Join(r.work, "tools", name) }

// command runs a command in the checkout, with the Go command set for a platform
// and the time of the commit for tools that write times.
func (r *release) command(ctx context.Context, p platform, name string, args ...string) (string, error) {
	return execute(ctx, r.root, []string{
		"CGO_ENABLED=0", "GOFLAGS=", "GOOS=" + p.os, "GOARCH=" + p.arch, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()),
	}, name, args...)
}

// generate writes manual pages and completions, which the programs for this
// machine print, and the file of licences.
func (r *release) generate(ctx context.Context) error {
	host := platform{runtime.GOOS, runtime.GOARCH}
	if err := r.build(ctx, host); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.generated(), "man"), 0o755); err != nil {
		return err
	}
	for _, program := range programs {
		if _, err := r.command(ctx, host, filepath.Join(r.bin(host), program), "man", "--dir", filepath.Join(r.generated(), "man")); err != nil {
			return err
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := r.command(ctx, host, filepath.Join(r.bin(host), "zeekwire"), "completion", shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.generated(), "zeekwire."+shell), []byte(script+"\n"), 0o644); err != nil {
			return err
		}
	}
	licences, err := r.licences(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.generated(), "THIRD-PARTY-LICENSES"), licences, 0o644)
}

// materials writes the bill of materials of each program, in CycloneDX's JSON.
func (r *release) materials(ctx context.Context, p platform) error {
	for _, program := range programs {
		file := filepath.Join(r.output, fmt.Sprintf("%s_%s.cdx.json", r.name(p), program))
		_, err := r.command(ctx, p, r.tool("cyclonedx-gomod"), "bin", "-json", "-licenses", "-std", "-noserial", "-notimestamp",
			"-version", r.version, "-output", file, filepath.Join(r.bin(p), program))
		if err != nil {
			return err
		}
	}
	return nil
}
