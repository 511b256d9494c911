package main

import (
	"errors"
	"path/filepath"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

var spoolDirVariables = []settings.Variable{{Name: "ZEEK_MANAGEMENT_TESTING", Convert: here}, {Name: "ZEEK_MANAGEMENT_SPOOL_DIR"}}

// nodeSettings are where nodes leave what they write.
type nodeSettings struct {
	spoolDir       string
	stdout, stderr string
	outputLines    int
}

func (s *nodeSettings) add(t *settings.Table) {
	s.stdout, s.stderr, s.outputLines = "stdout", "stderr", 100
	t.Add(
		settings.Setting{
			Name: "spool-dir", Value: settings.Text(&s.spoolDir), Zeek: "Management::spool_dir",
			Env:  spoolDirVariables,
			Help: "nodes leave logs that they have rotated in `DIR`/log-queue; empty: the state directory",
		},
		settings.Setting{
			Name: "node-stdout-file", Value: fileName(&s.stdout), Zeek: "Management::Node::stdout_file",
			Help: "the `NAME` of the file in its directory that a node's standard output goes to",
		},
		settings.Setting{
			Name: "node-stderr-file", Value: fileName(&s.stderr), Zeek: "Management::Node::stderr_file",
			Help: "the `NAME` of the file in its directory that a node's standard error goes to",
		},
		settings.Setting{
			Name: "output-max-lines", Value: settings.Count(&s.outputLines, 1, 10000), Zeek: "Management::Supervisor::output_max_lines",
			Help: "report the last `LINES` that a node wrote when it has ended",
		},
	)
}

func (s *nodeSettings) check(t *settings.Table) error {
	if s.stdout == s.stderr {
		return t.Wrong("node-stderr-file", "standard output goes there already")
	}
	return nil
}

// fileName is a file in a directory that is known.
func fileName(p *string) settings.Value {
	return settings.Parsed(p, func(s string) (string, error) {
		if s == "" || s == "." || s == ".." || filepath.Base(s) != s {
			return "", errors.New("want the name of a file, without a directory")
		}
		return s, nil
	}, func(s string) string { return s })
}
