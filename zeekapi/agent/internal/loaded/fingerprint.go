package loaded

import (
	"encoding/json"
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
)

// File is the fingerprint of a loaded script.
type File struct {
	Path string `json:"path"`
	Size int64  `json:"size"`

	// ModTime is the time of the last modification in nanoseconds since 1970.
	ModTime int64 `json:"mtime"`

	// Hash is the SHA-256 of the content. It is "" for a file that cannot be read, or
	// that exceeds the limits. Such a file counts as changed if its ModTime changes.
	Hash string `json:"sha256,omitempty"`

	// Edited reports that the file changed between the start of the node and the
	// fingerprint.
	Edited bool `json:"edited,omitempty"`
}

const (
	version        = 1
	maxFingerprint = 64 << 20
)

type fingerprint struct {
	Version int    `json:"version"`
	Start   string `json:"start"`
	Files   []File `json:"files"`
}

// Save stores the fingerprint of the files that a node has loaded. The string start
// identifies the start of the node.
func Save(name, start string, files []File) error {
	b, err := json.Marshal(fingerprint{version, start, files})
	if err != nil {
		return err
	}
	return atomicfile.Write(name, append(b, '\n'), 0o600)
}

// Load returns the fingerprint that Save has stored for this start of the node. It returns
// an error if there is none.
func Load(name, start string) ([]File, error) {
	b, err := readOwn(name, maxFingerprint)
	if err != nil {
		return nil, err
	}
	var p fingerprint
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case p.Version != version:
		return nil, fmt.Errorf("%s has version %d, want %d", name, p.Version, version)
	case p.Start != start:
		return nil, fmt.Errorf("%s belongs to another start of the node", name)
	case len(p.Files) > MaxFiles:
		return nil, fmt.Errorf("%s has %d files, want at most %d", name, len(p.Files), MaxFiles)
	}
	for _, f := range p.Files {
		if len(f.Path) > 2*maxPath || !printable(f.Path) {
			return nil, fmt.Errorf("%s has an invalid path", name)
		}
	}
	return p.Files, nil
}
