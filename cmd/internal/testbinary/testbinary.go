// Package testbinary builds the program zeekwire for tests that run it.
package testbinary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the program in dir and returns its path. If the environment variable
// ZEEKWIRE is set, Build returns its value, the path of a program that was built
// before. Each call builds again.
func Build(dir string) (path string, err error) {
	if path := os.Getenv("ZEEKWIRE"); path != "" {
		return path, nil
	}
	path = filepath.Join(dir, "zeekwire")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/zeekwire/zeekwire/cmd/zeekwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as in "make build", whose build cache is then used
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building zeekwire: %w\n%s", err, out)
	}
	return path, nil
}
