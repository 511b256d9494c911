package zeek

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

const (
	// outputLines is the default of Config.OutputLines.
	outputLines = 100

	// outputBytes limits the size of a reported output.
	outputBytes = 64 << 10
)

// output creates an empty file for an output of a node that starts. The node writes to the
// file directly, so that it does not depend on the agent. It appends, so that the file can
// be cut in the meantime.
func output(dir, name string) (*os.File, error) {
	name = filepath.Join(dir, name)
	if err := os.Remove(name + cutSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o666) // less the umask, as in Zeek
}

// lastOutputs returns the last lines of a node's outputs.
func (l *Launcher) lastOutputs(node string) zeekapi.NodeOutputs {
	last := func(name string) string {
		b, _ := l.outputEnd(node, name, outputBytes) // an unreadable output is reported as empty
		return lastLines(b, l.config.OutputLines)
	}
	return zeekapi.NodeOutputs{Stdout: last(l.config.StdoutFile), Stderr: last(l.config.StderrFile)}
}

// Outputs returns the ends of a node's outputs since its last start, at most limit bytes
// of each. The node may have ended.
func (l *Launcher) Outputs(name string, limit int) (zeekapi.NodeOutputs, error) {
	// The directory alone may be that of the agent, which has the same parent.
	if _, err := os.Stat(filepath.Join(l.nodeDir(name), l.config.StdoutFile)); errors.Is(err, fs.ErrNotExist) {
		return zeekapi.NodeOutputs{}, launch.ErrNoOutputs
	}
	stdout, err := l.outputEnd(name, l.config.StdoutFile, limit)
	if err != nil {
		return zeekapi.NodeOutputs{}, fmt.Errorf("output of node %s: %w", name, err)
	}
	stderr, err := l.outputEnd(name, l.config.StderrFile, limit)
	if err != nil {
		return zeekapi.NodeOutputs{}, fmt.Errorf("output of node %s: %w", name, err)
	}
	return zeekapi.NodeOutputs{Stdout: string(stdout), Stderr: string(stderr)}, nil
}

// outputEnd returns the end of an output of a node, including the end that was kept when
// the file was cut.
func (l *Launcher) outputEnd(node, file string, limit int) ([]byte, error) {
	name := filepath.Join(l.nodeDir(node), file)
	end, err := tailfile.Read(name, limit)
	if err != nil || len(end) >= limit {
		return end, err
	}
	before, err := tailfile.Read(name+cutSuffix, limit-len(end))
	return append(before, end...), err
}

// lastLines returns the last lines of a text, at most the given number.
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
