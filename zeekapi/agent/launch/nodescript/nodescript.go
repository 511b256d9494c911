// Package nodescript contains the Zeek scripts that connect a Zeek process with its agent.
// Nodes load them with every launcher that runs Zeek.
package nodescript

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

// PassphraseVar is the environment variable for the passphrase of the TLS key. Other
// users of the machine could read a command line.
const PassphraseVar = "ZEEKWIRE_TLS_PASSPHRASE"

// WebSocketVar is the environment variable with the port at which a node
// listens for the agent, such as "40000/tcp". The node receives requests on
// RequestTopic and responds on ResponseTopic. Without the variable, the node connects
// to the agent.
const WebSocketVar = "ZEEKWIRE_NODE_WEBSOCKET"

// Relayed is the value of WebSocketVar for a node that does not listen. It receives the same
// requests, through the WebSocket of another node.
const Relayed = "relayed"

// LoadedList is the name of the file, in a node's directory, that lists the scripts that
// the node has loaded. The node writes it after its start, unless its directory is not
// writable. Each name ends with a zero byte, and another zero byte ends the list.
const LoadedList = ".zeekwire-loaded"

// RequestTopic is the topic of requests to a node over a WebSocket.
func RequestTopic(node string) string { return "zeekwire/node/" + node + "/request" }

// ResponseTopic is the topic of a node's responses over a WebSocket.
func ResponseTopic(node string) string { return "zeekwire/node/" + node + "/response" }

// HelloRequest is the event, without arguments, that requests a node's hello.
const HelloRequest = "ZeekwireNode::hello_request"

// FiguresAction is the action of a zeekapi.NodeDispatchRequest that makes a node report its
// Figures, as JSON. Zeek's own node script does not support it.
const FiguresAction = "zeekwire_figures"

// Figures are the measurements of a node (ZeekwireNode::Figures).
type Figures struct {
	Received uint64   `json:"received"` // packets
	Dropped  uint64   `json:"dropped"`
	Link     uint64   `json:"link"`
	Bytes    uint64   `json:"bytes"`
	Backend  string   `json:"backend"`
	Nodes    []string `json:"nodes"`  // the other nodes that the node sees, or those that it does not see
	Sees     bool     `json:"sees"`   // whether it sees Nodes
	Others   uint64   `json:"others"` // number of other nodes
}

// Files are the names of the scripts. A node loads Defaults before its own scripts,
// which may override it, and Node after them.
type Files struct{ Defaults, Node string }

var (
	//go:embed defaults.zeek
	defaults []byte
	//go:embed node.zeek
	node []byte
)

// Has reports whether a path has the name of one of the scripts. A node of another agent,
// or of an earlier one, has them from another directory.
func (f Files) Has(path string) bool {
	base := filepath.Base(path)
	return base == filepath.Base(f.Defaults) || base == filepath.Base(f.Node)
}

// Write writes the scripts into a subdirectory of dir, which it creates if it does not
// exist. Its name depends on their content, so that agents of several versions can share
// dir, and nodes keep the scripts with which they began.
func Write(dir string) (Files, error) {
	digest := sha256.New()
	for _, script := range [][]byte{defaults, node} {
		fmt.Fprintf(digest, "%d\n%s", len(script), script)
	}
	dir = filepath.Join(dir, hex.EncodeToString(digest.Sum(nil)[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Files{}, err
	}
	f := Files{filepath.Join(dir, "zeekwire-defaults.zeek"), filepath.Join(dir, "zeekwire-node.zeek")}
	if err := atomicfile.Write(f.Defaults, defaults, 0o644); err != nil {
		return Files{}, err
	}
	return f, atomicfile.Write(f.Node, node, 0o644)
}

// LogQueue is the directory below Agent.SpoolDir for the rotated logs of nodes
// (Zeek: Log::default_rotation_dir).
const LogQueue = "log-queue"

// Agent describes an agent to its nodes.
type Agent struct {
	// Listen is the address at which the agent listens for its nodes. An
	// unspecified address stands for all addresses of the machine.
	Listen netip.AddrPort

	// SpoolDir is the directory that contains LogQueue. Empty means the state
	// directory of the launcher (Zeek: Management::spool_dir).
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
		"ZEEKWIRE_LOADED_SCRIPTS":   LoadedList,
	}
	if a.Topic != "" {
		env["ZEEKWIRE_NODE_TOPIC"] = a.Topic
	}
	if a.ConnectRetry != 0 {
		env["ZEEKWIRE_CONNECT_RETRY"] = strconv.FormatFloat(a.ConnectRetry.Seconds(), 'f', -1, 64)
	}
	return env
}
