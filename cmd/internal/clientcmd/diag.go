package clientcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) diag() *cobra.Command {
	var bundle string
	cmd := t.command("diag NODE", "Show the diagnosis of a node with a problem",
		func(ctx context.Context, r *run, args []string) error {
			c, err := r.connectExtended(ctx, "diagnoses")
			if err != nil {
				return err
			}
			defer c.Close()
			d, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.Diagnosis, error) {
				return c.Diagnose(ctx, args[0], 0)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], requestError(err, "diagnosis"))
			}
			if bundle != "" {
				if err := r.writeBundle(ctx, c, bundle, args[0], d); err != nil {
					return err
				}
			}
			return r.present(newDiagnosisView(args[0], d), func() []terminal.Line { return r.diagnosisLines(args[0], d, bundle) })
		})
	cmd.Long = cmd.Short + `: its
last crashes with the reason, signal, backtrace and standard error, its state,
outputs and configuration, facts about the machine and the process, resource
limits, and loaded scripts.

With --bundle, all that is also written to a file that can be sent with a
report, together with further files of the node, the status of the cluster,
recent events and deployments. Passwords, tokens, private keys, and environment
variables with such names are masked in all output of this command. A secret
without a known form cannot be recognized: check the file before you send it.

The JSON has the keys node, instance, remark, config (the configuration of the
node, null if it is not assigned), detail (keys as for the nodes of status, or
null), crashes (a list with time, ran, in seconds, pid, reason, signal and
exit_code, numbers or null, zeek, a version, core, backtrace and stderr),
stdout, stderr, facts (by name),
scripts (a list), limits and files (a list with name and size).` + jsonHelp
	cmd.Flags().StringVar(&bundle, "bundle", "", "`FILE`.tar.gz to write, which must not exist")
	return cmd
}

type crashView struct {
	Time      *time.Time `json:"time"`
	Ran       *float64   `json:"ran"`
	PID       *int64     `json:"pid"`
	Reason    string     `json:"reason"`
	Signal    *int64     `json:"signal"`
	ExitCode  *int64     `json:"exit_code"`
	Zeek      *string    `json:"zeek"`
	Core      *string    `json:"core"`
	Backtrace *string    `json:"backtrace"`
	Stderr    string     `json:"stderr"`
}

type nodeFileView struct {
	Name string `json:"name"`
	Size uint64 `json:"size"`
}

type diagnosisView struct {
	Node     string            `json:"node"`
	Instance string            `json:"instance"`
	Remark   *string           `json:"remark"`
	Config   *nodeConfigView   `json:"config"`
	Detail   *nodeView         `json:"detail"`
	Crashes  []crashView       `json:"crashes"`
	Stdout   string            `json:"stdout"`
	Stderr   string            `json:"stderr"`
	Facts    map[string]string `json:"facts"`
	Scripts  []string          `json:"scripts"`
	Limits   string            `json:"limits"`
	Files    []nodeFileView    `json:"files"`
}

// nodeConfigView is the configuration of a node.
type nodeConfigView struct {
	Role      zeekapi.ClusterRole `json:"role"`
	Scripts   []string            `json:"scripts"`
	Interface *string             `json:"interface"`
	CPU       *int64              `json:"cpu_affinity"` // if it is a single one
	CPUs      *string             `json:"cpus"`
	Port      *uint16             `json:"port"`
	Env       map[string]string   `json:"env"`
}

func newDiagnosisView(node string, d zeekapi.Diagnosis) diagnosisView {
	v := diagnosisView{
		Node: node, Instance: d.Instance, Remark: orNull(d.Remark), Stdout: d.Outputs.Stdout, Stderr: d.Outputs.Stderr,
		Facts: make(map[string]string), Scripts: names(d.Scripts), Limits: d.Limits,
		Crashes: list(d.Crashes, func(c zeekapi.CrashReport) crashView {
			v := crashView{
				orNullTime(c.Time), orNull(c.Runtime.Seconds()), orNull(c.PID), c.Reason, orNull(c.Signal), nil,
				orNull(c.Zeek), orNull(c.Core), orNull(c.Backtrace), c.Stderr,
			}
			if c.Code >= 0 {
				v.ExitCode = &c.Code
			}
			return v
		}),
		Files: list(d.Files, func(f zeekapi.NodeFile) nodeFileView { return nodeFileView{f.Name, f.Size} }),
	}
	if n := d.Node; n != nil {
		v.Config = &nodeConfigView{n.Role, names(n.Scripts), orNull(n.Interface), n.CPUAffinity, orNull(n.Affinity()), orNull(n.Port.Number), n.Env}
	}
	if d.Detail != nil {
		detail := newNodeView(*d.Detail)
		v.Detail = &detail
	}
	for _, f := range d.Facts {
		v.Facts[f.Name] = f.Value
	}
	return v
}

// diagnosisLines returns a diagnosis as lines.
func (r *run) diagnosisLines(node string, d zeekapi.Diagnosis, bundle string) []terminal.Line {
	now := time.Now()
	lines := []terminal.Line{{{Text: node, Style: terminal.Strong}, cell(" on " + d.Instance)}}
	if d.Remark != "" {
		lines[0] = append(lines[0], terminal.Span{Text: ", " + d.Remark, Style: terminal.Warn})
	}
	if d.Detail != nil {
		lines = append(lines, nodeStatusTable([]placedNode{{*d.Detail, d.Instance}}, now).Lines(r.screen)...)
		if d.Detail.LastError != "" {
			lines = append(lines, labeledError("Last error", d.Detail.LastError)...)
		}
		for _, file := range d.Detail.Edited {
			lines = append(lines, terminal.Text("Changed since start: %s", file))
		}
	}
	section := func(title string, more []terminal.Line) {
		if len(more) > 0 {
			lines = append(append(lines, terminal.Line{}, terminal.Line{{Text: title, Style: terminal.Strong}}), more...)
		}
	}
	section("Crashes", crashLines(d.Crashes, now))
	section("Facts", factLines(d))
	section("Limits", indented(d.Limits))
	section("Standard output", lastIndented(d.Outputs.Stdout))
	section("Standard error", lastIndented(d.Outputs.Stderr))
	if len(d.Scripts) > 0 {
		lines = append(lines, terminal.Line{}, terminal.Text("%s loaded; --bundle or --json lists them", plural(len(d.Scripts), "script")))
	}
	if bundle != "" {
		lines = append(lines, terminal.Line{}, terminal.Text("Wrote %s. Look through it before you send it.", bundle))
	}
	return lines
}

// crashLines returns the crashes of a node, the newest first. Only the newest one is shown
// with its backtrace and standard error.
func crashLines(crashes []zeekapi.CrashReport, now time.Time) []terminal.Line {
	if len(crashes) == 0 {
		return []terminal.Line{terminal.Text("  none known")}
	}
	var lines []terminal.Line
	for i, c := range crashes {
		text := "  " + ago(c.Time, now)
		if c.Runtime > 0 {
			text += " after " + age(c.Runtime)
		}
		lines = append(lines, terminal.Line{cell(text + ": "), {Text: inOneLine(c.Reason), Style: terminal.Bad}})
		if i > 0 {
			continue
		}
		if c.Core != "" {
			lines = append(lines, terminal.Text("  core: %s", c.Core))
		}
		lines = append(append(lines, lastIndented(c.Backtrace)...), lastIndented(c.Stderr)...)
	}
	return lines
}

func factLines(d zeekapi.Diagnosis) []terminal.Line {
	facts := slices.Clone(d.Facts)
	if n := d.Node; n != nil {
		facts = append(facts, zeekapi.Fact{Name: "scripts", Value: strings.Join(n.Scripts, " ")}, zeekapi.Fact{Name: "interface", Value: n.Interface})
		facts = append(facts, zeekapi.Fact{Name: "cpu", Value: n.Affinity()})
	}
	var lines []terminal.Line
	for _, f := range facts {
		if f.Value != "" {
			lines = append(lines, terminal.Text("  %-20s %s", f.Name, f.Value))
		}
	}
	return lines
}

// indented returns the lines of a text, indented.
func indented(text string) []terminal.Line {
	var lines []terminal.Line
	for line := range strings.Lines(text) {
		lines = append(lines, terminal.Text("  %s", strings.TrimRight(line, "\r\n")))
	}
	return lines
}

// lastIndented returns the last lines of a text, indented.
func lastIndented(text string) []terminal.Line {
	lines := indented(text)
	return lines[max(0, len(lines)-outputLines):]
}
