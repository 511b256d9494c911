// Package nodescript has the Zeek scripts that make a process of Zeek a node
// of an agent, with every launcher.
package nodescript

import (
	"cmp"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

// PassphraseVar is the environment variable in which the scripts look for the
// passphrase of the TLS key, which other users of the machine could read on a
// command line.
const PassphraseVar = "ZEEKWIRE_TLS_PASSPHRASE"

// WebSocketVar is the environment variable with the port at which a node
// listens for the agent, such as "40000/tcp". It gets events on RequestTopic
// and answers on ResponseTopic. Without it the node connects to the agent.
const WebSocketVar = "ZEEKWIRE_NODE_WEBSOCKET"

// RequestTopic is where a node is asked over a WebSocket.
func RequestTopic(node string) string { return "zeekwire/node/" + node + "/request" }

// ResponseTopic is where a node answers over a WebSocket.
func ResponseTopic(node string) string { return "zeekwire/node/" + node + "/response" }

// HelloRequest is the event, without arguments, that asks a node for its hello.
const HelloRequest = "ZeekwireNode::hello_request"

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

// LogQueue is the directory below Agent.SpoolDir into which nodes move the logs
// that they rotate (Zeek: Log::default_rotation_dir).
const LogQueue = "log-queue"

// Agent describes an agent to its nodes.
type Agent struct {
	// Listen is the address at which the agent listens for its nodes. An
	// unspecified address stands for all addresses of the machine.
	Listen netip.AddrPort

	// SpoolDir is the directory that contains LogQueue. Launchers take their
	// state directory if it is empty (Zeek: Management::spool_dir).
	SpoolDir string

	// Topic is the topic of the agent and its nodes. Empty means Zeek's default
	// (Zeek: Management::Node::node_topic).
	Topic string

	// ConnectRetry is the time between two attempts of a node to connect to the
	// agent. Zero means Zeek's default (Zeek: Management::connect_retry).
	ConnectRetry time.Duration
}

// In returns a with an absolute SpoolDir, which is stateDir unless it is set.
func (a Agent) In(stateDir string) (Agent, error) {
	var err error
	if a.SpoolDir, err = filepath.Abs(cmp.Or(a.SpoolDir, stateDir)); err != nil {
		return a, fmt.Errorf("spool directory: %w", err)
	}
	return a, nil
}

// Environment returns the variables that these scripts, and Zeek's own, need in
// the environment.
func (a Agent) Environment() map[string]string {
	addr := a.Listen.Addr()
	switch {
	case addr == netip.IPv6Unspecified():
		addr = netip.IPv6Loopback()
	case !addr.IsValid() || addr.IsUnspecified():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	env := map[string]string{
		"ZEEK_AGENT_ADDR":           addr.String(),
		"ZEEK_AGENT_PORT":           fmt.Sprintf("%d/tcp", a.Listen.Port()),
		"ZEEK_MANAGEMENT_SPOOL_DIR": a.SpoolDir,
	}
	if a.Topic != "" {
		env["ZEEKWIRE_NODE_TOPIC"] = a.Topic
	}
	if a.ConnectRetry != 0 {
		env["ZEEKWIRE_CONNECT_RETRY"] = strconv.FormatFloat(a.ConnectRetry.Seconds(), 'f', -1, 64)
	}
	return env
}
