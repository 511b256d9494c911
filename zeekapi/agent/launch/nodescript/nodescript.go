// Package nodescript has the Zeek scripts that make a process of Zeek a node
// of an agent, whoever starts it.
package nodescript

import (
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

// PassphraseVar is the environment variable in which the scripts look for the
// passphrase of the TLS key, which other users of the machine could read on a
// command line.
const PassphraseVar = "ZEEKWIRE_TLS_PASSPHRASE"

// Files are the names of the scripts. A node loads Defaults before its own
// scripts, which may overrule it, and Node after them.
type Files struct{ Defaults, Node string }

var (
	//go:embed defaults.zeek
	defaults []byte
	//go:embed node.zeek
	node []byte
)

// Write writes the scripts into a directory, which it makes if need be.
func Write(dir string) (Files, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Files{}, err
	}
	f := Files{filepath.Join(dir, "zeekwire-defaults.zeek"), filepath.Join(dir, "zeekwire-node.zeek")}
	if err := atomicfile.Write(f.Defaults, defaults, 0o644); err != nil {
		return Files{}, err
	}
	return f, atomicfile.Write(f.Node, node, 0o644)
}

// LogQueue is the directory below the agent's state directory into which nodes
// move the logs that they rotate. A node runs in <state>/nodes/<name>.
const LogQueue = "log-queue"

// Environment returns what the scripts, and Zeek's own for nodes, must find in
// the environment to reach an agent that listens at that address and has that
// state directory. An unspecified address stands for all of the machine's.
func Environment(agent netip.AddrPort, stateDir string) map[string]string {
	addr := agent.Addr()
	switch {
	case addr == netip.IPv6Unspecified():
		addr = netip.IPv6Loopback()
	case !addr.IsValid() || addr.IsUnspecified():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return map[string]string{
		"ZEEK_AGENT_ADDR": addr.String(),
		"ZEEK_AGENT_PORT": fmt.Sprintf("%d/tcp", agent.Port()),

		// For Zeek's own scripts, which have LogQueue below it.
		"ZEEK_MANAGEMENT_SPOOL_DIR": stateDir,
	}
}
