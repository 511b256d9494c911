package main

import (
	"cmp"
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/importer"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// importFlags are the flags of the command import.
type importFlags struct {
	output  string
	force   bool
	json    bool
	zeekDir string
}

func newImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import PATH...",
		Short: "Convert a configuration of ZeekControl or zeek.conf",
		Long: `Convert a configuration of ZeekControl, or of Zeek's generator for systemd, to
that of the same cluster.

A PATH is node.cfg, zeekctl.cfg or networks.cfg of ZeekControl, a zeek.conf, a
HOST.zeek.conf for each machine, or the directory of one of these. Files that
the program they belong to refuses are refused here, with line and column.

With --output, the command writes cluster.cfg, controller.conf, agents/NAME.conf
for each machine, and the directory site with scripts, if there are any. It then
prints the commands that remain. Without, it prints the cluster file, and the
rest on standard error.

Everything that is not carried over is listed with file, line, column and
reason, and is also written to not-carried-over.txt. It is not a failure.`,
		Example: `  zeekwire import /usr/local/zeek/etc
  zeekwire import --output new /usr/local/zeek/etc
  zeekwire import --json sensor-1.zeek.conf sensor-2.zeek.conf`,
		Args: usage.Arguments("import PATH..."),
		RunE: func(cmd *cobra.Command, paths []string) error {
			stdout := cmd.OutOrStdout()
			if terminal.Look(stdout, os.Getenv, terminal.ColorNever).Terminal {
				stdout = terminal.SafeWriter(stdout)
			}
			return runImport(paths, f, stdout, terminal.SafeWriter(cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&f.output, "output", "", "`DIR` to write the files to (default: print the cluster file)")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace the files of an earlier import, and its directory site")
	cmd.Flags().BoolVar(&f.json, "json", false, "JSON output: nodes, machines with settings, and what is not carried over")
	cmd.Flags().StringVar(&f.zeekDir, "zeek-dir", "", "`DIR` where Zeek is installed (default: the one that contains the files)")
	_ = cmd.MarkFlagDirname("output") // they fail only for unknown flags
	_ = cmd.MarkFlagDirname("zeek-dir")
	return cmd
}

func runImport(paths []string, f importFlags, stdout, stderr io.Writer) error {
	plan, err := importer.Import(paths, f.zeekDir)
	if err != nil {
		return err
	}
	if f.output == "" {
		plan.UseScripts()
	} else if err := plan.Write(f.output, f.force); err != nil {
		return err
	}
	if f.json {
		return printImport(stdout, plan, cmp.Or(f.output, "."))
	}
	summary := stdout
	if f.output == "" {
		text, err := plan.ClusterFile()
		if err != nil {
			return err
		}
		if _, err := stdout.Write(text); err != nil {
			return err
		}
		summary = stderr
	}
	return plan.Summarize(summary, f.output)
}

// importedNode is a node in the JSON output. A node without a port gets one from the
// controller.
type importedNode struct {
	Name        string            `json:"name"`
	Instance    string            `json:"instance"`
	Role        string            `json:"role"`
	Interface   string            `json:"interface,omitempty"`
	CPU         *int64            `json:"cpu_affinity,omitempty"` // if it is a single one
	CPUs        string            `json:"cpus,omitempty"`
	Scripts     []string          `json:"scripts,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	Port        uint16            `json:"port,omitempty"`
	MetricsPort uint16            `json:"metrics_port,omitempty"`
}

func printImport(w io.Writer, plan *importer.Plan, dir string) error {
	out := struct {
		Kind       string              `json:"kind"`
		Files      []string            `json:"files"`
		Machines   []*importer.Machine `json:"machines"`
		Controller []importer.Setting  `json:"controller"`
		Nodes      []importedNode      `json:"nodes"`
		Left       []importer.Left     `json:"not_carried_over"`
		Notes      []string            `json:"notes"`
		Steps      []importer.Step     `json:"steps"`
	}{plan.Kind, plan.Files, plan.Machines, plan.Controller, nil, append([]importer.Left{}, plan.Left...), append([]string{}, plan.Notes...), plan.Steps(dir)}
	for _, n := range plan.Configuration().Nodes {
		out.Nodes = append(out.Nodes, viewOf(n))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func viewOf(n zeekapi.Node) importedNode {
	return importedNode{n.Name, n.Instance, string(n.Role), n.Interface, n.CPUAffinity, n.Affinity(), n.Scripts, n.Env, n.Port.Number, n.MetricsPort.Number}
}
