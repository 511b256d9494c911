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

// stateFile remembers an agent's assignment across its restarts and, in a file
// of its own as it changes more often, what became of its nodes.
type stateFile struct{ agent, path, nodes string }

// A version is raised when the content changes in a way that an older agent
// must not misread.
const (
	stateVersion = 2
	nodesVersion = 1
)

type (
	savedState struct {
		Version    int         `json:"version"`
		Assignment *Assignment `json:"assignment"`

		Config *zeekapi.Configuration `json:"config,omitempty"` // in version 1, instead
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
	return stateFile{name, filepath.Join(dir, "agents", name+".json"), filepath.Join(dir, "agent-nodes", name+".json")}
}

// load returns what an earlier agent saved, which may be nothing.
func (f stateFile) load() (Past, error) {
	var s savedState
	known, err := read(f.path, &s)
	if err == nil && known {
		err = wantVersion(f.path, s.Version, 1, stateVersion)
	}
	if err == nil && s.Version == 1 && s.Config != nil {
		if s.Assignment, err = assign(*s.Config, f.agent); err != nil {
			err = fmt.Errorf("agent: saved state %s: configuration %s: %w", f.path, s.Config.ID, err)
		}
	}
	if err != nil {
		return Past{}, err
	}
	return Past{Known: known, Assignment: s.Assignment}, nil
}

func (f stateFile) save(a *Assignment) error {
	return write(f.path, savedState{Version: stateVersion, Assignment: a})
}

// recall returns what an earlier agent remembered of nodes.
func (f stateFile) recall() (map[string]NodePast, error) {
	var s savedNodes
	known, err := read(f.nodes, &s)
	if err == nil && known {
		err = wantVersion(f.nodes, s.Version, nodesVersion, nodesVersion)
	}
	if err != nil {
		return nil, err
	}
	return s.Nodes, nil
}

func (f stateFile) remember(nodes map[string]NodePast) error {
	return write(f.nodes, savedNodes{nodesVersion, nodes})
}

// read reads a file and says whether there is one.
func read(path string, into any) (bool, error) {
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
	return true, nil
}

func wantVersion(path string, has, oldest, newest int) error {
	if has < oldest || has > newest {
		return fmt.Errorf("agent: saved state %s has version %d, want %d", path, has, newest)
	}
	return nil
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
