package clientcmd_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

var update = flag.Bool("update", false, "write the golden files")

// resolveTestHost resolves the host names of the test files.
func resolveTestHost(_ context.Context, host string) ([]netip.Addr, error) {
	switch host {
	case "one.example":
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	case "several.example":
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host}
}

func TestCheckConfig(t *testing.T) {
	t.Chdir("testdata/check-config")
	files, err := filepath.Glob("*.cfg")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			var got strings.Builder
			for _, args := range [][]string{{"check-config", file}, {"check-config", "--strict-exit", "--json", file}} {
				o := runCommand(t, &clientcmd.Tool{Resolve: resolveTestHost}, "", args...)
				fmt.Fprintf(&got, "$ %s\n%s%sexit %d\n", strings.Join(args, " "), o.stdout, o.stderr, o.exit)
			}
			compareGolden(t, strings.TrimSuffix(file, ".cfg")+".want", got.String())
		})
	}
}
