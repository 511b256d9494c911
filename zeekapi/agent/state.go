package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

// stateFile remembers an agent's configuration across its restarts and, in a
// file of its own as it changes more often, what became of its nodes.
type stateFile struct{ path, nodes string }

// stateVersion is raised when the content of either changes in a way that an
// older agent must not misread.
const stateVersion = 1

type (
	savedState struct {
		Version int                    `json:"version"`
		Config  *zeekapi.Configuration `json:"config"`
	}
	savedNodes struct {
		Version int                 `json:"version"`
		Nodes   map[string]NodePast `json:"nodes"`
	}
)

// newStateFile returns the file of the agent of that name, or one that never
// holds anything if there is no directory.
func newStateFile(dir, name string) stateFile {
	if dir == "" {
		return stateFile{}
	}
	return stateFile{filepath.Join(dir, "agents", name+".json"), filepath.Join(dir, "agent-nodes", name+".json")}
}

// load returns what an earlier agent saved, which may be nothing.
func (f stateFile) load() (Past, error) {
	var s savedState
	known, err := read(f.path, &s, &s.Version)
	return Past{Known: known, Config: s.Config}, err
}

func (f stateFile) save(c *zeekapi.Configuration) error {
	return write(f.path, savedState{stateVersion, c})
}

// recall returns what an earlier agent remembered of nodes.
func (f stateFile) recall() (map[string]NodePast, error) {
	var s savedNodes
	_, err := read(f.nodes, &s, &s.Version)
	return s.Nodes, err
}

func (f stateFile) remember(nodes map[string]NodePast) error {
	return write(f.nodes, savedNodes{stateVersion, nodes})
}

// read reads a file into what has that for its version, and says whether there
// is one.
func read(path string, into any, version *int) (bool, error) {
	if path == "" {
		return false, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("agent: saved state: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, fmt.Errorf("agent: saved state %s: %w", path, err)
	}
	if *version != stateVersion {
		return false, fmt.Errorf("agent: saved state %s has version %d, want %d", path, *version, stateVersion)
	}
	return true, nil
}

func write(path string, content any) error {
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	if err := atomicfile.Write(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	return nil
}
