package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// stateFiles stores an agent's assignment, the history of its nodes, and the term of the
// leader that it obeys. The history has a separate file, because it changes more often,
// and the term, because an agent has one before its first assignment. If the paths are
// empty, nothing is stored.
type stateFiles struct{ agent, assignment, nodes, term string }

// A version is incremented when an older agent would misread the new content.
const (
	stateVersion = 3
	nodesVersion = 1
	termVersion  = 1
)

type (
	savedState struct {
		Version    int              `json:"version"`
		Assignment *savedAssignment `json:"assignment"`
		Kept       []launch.Node    `json:"kept,omitempty"`

		Config *zeekapi.Configuration `json:"config,omitempty"` // version 1, instead of the assignment
	}
	savedAssignment struct {
		Assignment
		Cluster []zeekapi.Member `json:",omitempty"` // version 2, instead of the layout
	}
	savedNodes struct {
		Version int                    `json:"version"`
		Nodes   map[string]NodeHistory `json:"nodes"`
	}
	savedTerm struct {
		Version int       `json:"version"`
		Term    uint64    `json:"term"`
		Leader  uuid.UUID `json:"leader"`
	}
)

// newStateFiles returns the files of the named agent, or empty paths if dir is
// empty.
func newStateFiles(dir, name string) stateFiles {
	if dir == "" {
		return stateFiles{}
	}
	file := func(kind string) string { return filepath.Join(dir, kind, name+".json") }
	return stateFiles{name, file("agents"), file("agent-nodes"), file("agent-terms")}
}

// HasState reports whether the named agent has stored an assignment in a directory, its
// Config.StateDir.
func HasState(dir, name string) bool {
	_, err := os.Stat(newStateFiles(dir, name).assignment)
	return err == nil
}

// load returns the state that an earlier agent saved, or the zero State.
func (f stateFiles) load() (State, error) {
	var s savedState
	known, err := read(f.assignment, &s)
	if err == nil && known {
		err = wantVersion(f.assignment, s.Version, 1, stateVersion)
	}
	if err != nil {
		return State{}, err
	}
	a, err := s.assignment(f.agent)
	if err != nil {
		return State{}, fmt.Errorf("agent: saved state %s: %w", f.assignment, err)
	}
	return State{Known: known, Assignment: a, Kept: s.Kept}, nil
}

// assignment returns the saved assignment, or nil if there is none. It parses
// the layout, so that an error is reported now and not when nodes start.
func (s savedState) assignment(instance string) (*Assignment, error) {
	if s.Version == 1 && s.Config != nil {
		a, err := assign(*s.Config, instance)
		if err != nil {
			return nil, fmt.Errorf("configuration %s: %w", s.Config.ID, err)
		}
		return a, nil
	}
	if s.Assignment == nil {
		return nil, nil
	}
	a := s.Assignment.Assignment
	var err error
	if s.Version == 2 {
		a.Layout, err = zeekapi.NewLayout(s.Assignment.Cluster)
	} else {
		_, err = a.Layout.Members()
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", a.ID, err)
	}
	return &a, nil
}

func (f stateFiles) save(a *Assignment, kept []launch.Node) error {
	s := savedState{Version: stateVersion, Kept: kept}
	if a != nil {
		s.Assignment = &savedAssignment{Assignment: *a}
	}
	return write(f.assignment, s)
}

// history returns the history of nodes that an earlier agent stored.
func (f stateFiles) history() (map[string]NodeHistory, error) {
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

func (f stateFiles) saveHistory(nodes map[string]NodeHistory) error {
	return write(f.nodes, savedNodes{nodesVersion, nodes})
}

// loadTerm returns the term that an earlier agent stored, or the zero Term.
func (f stateFiles) loadTerm() (Term, error) {
	var s savedTerm
	known, err := read(f.term, &s)
	if err == nil && known {
		err = wantVersion(f.term, s.Version, termVersion, termVersion)
	}
	if err != nil {
		return Term{}, err
	}
	return Term{s.Term, s.Leader}, nil
}

func (f stateFiles) saveTerm(t Term) error {
	return write(f.term, savedTerm{termVersion, t.Number, t.Leader})
}

// read reads a file, and reports whether it exists.
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
		return false, fmt.Errorf("agent: saved state %s: %w: the file is damaged; restore it from a copy, or move it away to begin without nodes", path, err)
	}
	return true, nil
}

func wantVersion(path string, has, oldest, newest int) error {
	if has >= oldest && has <= newest {
		return nil
	}
	reads := strconv.Itoa(newest)
	if oldest < newest {
		reads = fmt.Sprintf("%d to %d", oldest, newest)
	}
	return fmt.Errorf("agent: saved state %s has version %d, and this program reads %s: install the version that wrote it, or a later one", path, has, reads)
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
		return fmt.Errorf("agent: saved state %s: %w", path, cause(err))
	}
	return nil
}

// cause returns an error without the name of the temporary file, which is another one
// each time.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
