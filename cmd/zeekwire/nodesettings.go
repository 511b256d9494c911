package main

import (
	"errors"
	"path/filepath"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// spoolDirVariables are the environment variables with which Zeek selects its spool
// directory.
var spoolDirVariables = []settings.Variable{{Name: "ZEEK_MANAGEMENT_TESTING", Convert: here}, {Name: "ZEEK_MANAGEMENT_SPOOL_DIR"}}

// nodeSettings are the settings for the output of nodes.
type nodeSettings struct {
	spoolDir       string
	stdout, stderr string
	outputLines    int
	args           []string
}

func (s *nodeSettings) add(t *settings.Table) {
	s.stdout, s.stderr, s.outputLines = "stdout", "stderr", 100
	t.Add(
		settings.Setting{
			Name: "node-args", Value: settings.Parsed(&s.args, parseNodeArgs, shlex.Join),
			Help: "`ARGS` of zeek for all nodes, for --launcher zeek, as those of Zeek's Supervisor: scripts, which nodes load before their own, options, and VARIABLE=VALUE",
		},
		settings.Setting{
			Name: "spool-dir", Value: settings.Text(&s.spoolDir), Zeek: "Management::spool_dir",
			Env:  spoolDirVariables,
			Help: "`DIR` whose subdirectory log-queue receives rotated logs; empty: the state directory",
		},
		settings.Setting{
			Name: "node-stdout-file", Value: fileName(&s.stdout), Zeek: "Management::Node::stdout_file",
			Help: "`NAME` of the file for a node's standard output, in the node's directory",
		},
		settings.Setting{
			Name: "node-stderr-file", Value: fileName(&s.stderr), Zeek: "Management::Node::stderr_file",
			Help: "`NAME` of the file for a node's standard error, in the node's directory",
		},
		settings.Setting{
			Name: "output-max-lines", Value: settings.Count(&s.outputLines, 1, 10000), Zeek: "Management::Supervisor::output_max_lines",
			Help: "number of `LINES` of output to report when a node has ended",
		},
	)
}

func (s *nodeSettings) check(t *settings.Table) error {
	if s.stdout == s.stderr {
		return t.Wrong("node-stderr-file", "want a name other than that of node-stdout-file")
	}
	return nil
}

// parseNodeArgs parses the arguments of all nodes: words as in a shell.
func parseNodeArgs(text string) ([]string, error) {
	words, err := shlex.Split(text)
	if err != nil {
		return nil, err
	}
	return words, zeek.CheckArgs(words)
}

// fileName returns the value of a setting that is a file name without a
// directory.
func fileName(p *string) settings.Value {
	return settings.Parsed(p, func(s string) (string, error) {
		if s == "" || s == "." || s == ".." || filepath.Base(s) != s {
			return "", errors.New("want a file name without a directory")
		}
		return s, nil
	}, func(s string) string { return s })
}
