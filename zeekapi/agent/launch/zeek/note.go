package zeek

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

const (
	noteFile = "process.json"

	// noteVersion is the version of the file format. It is incremented by changes that
	// other versions of the launcher would misinterpret.
	noteVersion = 1

	// tokenVar is the environment variable with the token of a node's note and the
	// node's directory. All processes that the node starts inherit it.
	tokenVar = "ZEEKWIRE_NODE"
)

// note is the content of noteFile, which describes a node to a later launcher. The file is
// in the node's directory from before the node starts until after it has ended.
type note struct {
	Version int         `json:"version"`
	Node    launch.Node `json:"node"`
	Token   string      `json:"token"`
	Args    []string    `json:"args"`
	Reach   reach       `json:"reach"`
	Process *identity   `json:"process,omitempty"` // nil: not known to have started
	Began   time.Time   `json:"began,omitzero"`    // before the process started; zero: unknown
	Zeek    string      `json:"zeek,omitempty"`    // version; "": unknown
	Common  []string    `json:"common,omitempty"`  // those of Args that are from Config.Args
}

// reach contains the settings of the connection between a node and its agent. A node with
// other settings than the agent cannot connect.
type reach struct {
	Addr string `json:"addr"`
	Port string `json:"port"`
	TLS  string `json:"tls"`
}

// identity identifies a process. It differs from that of a later process with the same ID.
type identity struct {
	PID       int    `json:"pid"`
	StartTime string `json:"start_time"` // in clock ticks since boot
	Boot      string `json:"boot"`
}

func (l *Launcher) newNote(n launch.Node) note {
	return note{Version: noteVersion, Node: n, Token: newToken(), Reach: l.reach(), Began: time.Now(), Zeek: l.zeek().text, Common: l.common.all()}
}

func (l *Launcher) reach() reach {
	env := l.config.Agent.Environment()
	return reach{env["ZEEK_AGENT_ADDR"], env["ZEEK_AGENT_PORT"], l.config.TLS.Mode.String()}
}

func (n note) write(dir string) error {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, noteFile), append(b, '\n'), 0o600)
}

// forget removes the note from the directory of a node.
func forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, noteFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// formerLayout returns the layout from a note of an older launcher, which is a list of
// members, or "" if there is none.
func formerLayout(b []byte) zeekapi.Layout {
	var n struct {
		Node struct{ Cluster []zeekapi.Member }
	}
	if json.Unmarshal(b, &n) != nil {
		return ""
	}
	l, _ := zeekapi.NewLayout(n.Node.Cluster)
	return l
}

// readNote reads and validates the note in the directory of a node.
func readNote(dir string) (note, error) {
	file := filepath.Join(dir, noteFile)
	b, err := os.ReadFile(file)
	if err != nil {
		return note{}, err
	}
	var n note
	if err := json.Unmarshal(b, &n); err != nil {
		return note{}, fmt.Errorf("%s: %w", file, err)
	}
	if n.Node.Layout == "" {
		n.Node.Layout = formerLayout(b)
	}
	switch {
	case n.Version != noteVersion:
		return note{}, fmt.Errorf("%s has version %d, and this program reads %d: install the version that wrote it, or a later one", file, n.Version, noteVersion)
	case n.Node.Name != filepath.Base(dir):
		return note{}, fmt.Errorf("%s describes node %q", file, n.Node.Name)
	case n.Token == "":
		return note{}, fmt.Errorf("%s has no token", file)
	case n.Process != nil && n.Process.PID <= 1:
		return note{}, fmt.Errorf("%s has the invalid process ID %d", file, n.Process.PID)
	}
	return n, nil
}
