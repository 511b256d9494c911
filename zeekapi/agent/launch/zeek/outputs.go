package zeek

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
)

// How much of what a node wrote is reported unless Config.OutputLines says
// otherwise, and a limit in bytes. The files hold what it wrote since it was
// last started.
const (
	outputLines = 100
	outputBytes = 64 << 10
)

func output(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
}

// lastWords returns the last lines that a node wrote, none if there are none.
func (l *Launcher) lastWords(node string) zeekapi.NodeOutputs {
	last := func(name string) string {
		b, _ := tailfile.Read(filepath.Join(l.nodeDir(node), name), outputBytes) // what cannot be read is not reported
		return lastLines(b, l.config.OutputLines)
	}
	return zeekapi.NodeOutputs{Stdout: last(l.config.StdoutFile), Stderr: last(l.config.StderrFile)}
}

// Outputs returns the ends of what a node wrote since it was last started, at
// most so many bytes of each.
func (l *Launcher) Outputs(name string, limit int) (zeekapi.NodeOutputs, error) {
	dir := l.nodeDir(name)
	stdout, err := tailfile.Read(filepath.Join(dir, l.config.StdoutFile), limit)
	if err != nil {
		return zeekapi.NodeOutputs{}, fmt.Errorf("output of node %s: %w", name, err)
	}
	stderr, err := tailfile.Read(filepath.Join(dir, l.config.StderrFile), limit)
	if err != nil {
		return zeekapi.NodeOutputs{}, fmt.Errorf("output of node %s: %w", name, err)
	}
	return zeekapi.NodeOutputs{Stdout: string(stdout), Stderr: string(stderr)}, nil
}

// lastLines returns the last lines of a text.
func lastLines(b []byte, lines int) string {
	start := len(bytes.TrimSuffix(b, []byte("\n")))
	for range lines {
		if start < 0 {
			break
		}
		start = bytes.LastIndexByte(b[:start], '\n')
	}
	return string(b[start+1:])
}
