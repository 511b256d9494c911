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

// stateFile remembers an agent's configuration across its restarts.
type stateFile struct{ path string }

// stateVersion is raised when the content changes in a way that an older agent
// must not misread.
const stateVersion = 1

type savedState struct {
	Version int                    `json:"version"`
	Config  *zeekapi.Configuration `json:"config"`
}

// newStateFile returns the file of the agent of that name, or one that never
// holds anything if there is no directory.
func newStateFile(dir, name string) stateFile {
	if dir == "" {
		return stateFile{}
	}
	return stateFile{filepath.Join(dir, "agents", name+".json")}
}

// load returns what an earlier agent saved, which may be nothing.
func (f stateFile) load() (Past, error) {
	if f.path == "" {
		return Past{}, nil
	}
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Past{}, nil
	}
	if err != nil {
		return Past{}, fmt.Errorf("agent: saved state: %w", err)
	}
	var s savedState
	if err := json.Unmarshal(b, &s); err != nil {
		return Past{}, fmt.Errorf("agent: saved state %s: %w", f.path, err)
	}
	if s.Version != stateVersion {
		return Past{}, fmt.Errorf("agent: saved state %s has version %d, want %d", f.path, s.Version, stateVersion)
	}
	return Past{Known: true, Config: s.Config}, nil
}

func (f stateFile) save(c *zeekapi.Configuration) error {
	if f.path == "" {
		return nil
	}
	b, err := json.MarshalIndent(savedState{stateVersion, c}, "", "  ")
	if err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	if err := atomicfile.Write(f.path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("agent: saved state: %w", err)
	}
	return nil
}
