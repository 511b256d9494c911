package importer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// The names of the files that Write writes.
const (
	clusterName    = "cluster.cfg"
	controllerName = "controller.conf"
	agentsDir      = "agents"
	leftName       = "not-carried-over.txt"
)

// file is a file to write.
type file struct {
	name string // relative to the directory
	text []byte
}

// Write writes the files of the plan into a directory, which it creates. Unless force
// is set, it fails if one of them exists. It copies the directories with scripts that
// exist, and lists the others.
func (p *Plan) Write(dir string, force bool) error {
	p.UseScripts()
	if err := p.refuseOwnScripts(dir); err != nil {
		return err
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if !force {
		if err := p.refuseExisting(dir, files); err != nil {
			return err
		}
	}
	if p.Common.Site {
		if err := p.writeSite(filepath.Join(dir, SiteDir)); err != nil {
			return err
		}
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// refuseOwnScripts returns an error if a directory is in one of those whose scripts are
// copied to it.
func (p *Plan) refuseOwnScripts(dir string) error {
	to, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, scripts := range p.ScriptDirs {
		from, err := filepath.Abs(scripts)
		if err != nil {
			return err
		}
		if below, err := filepath.Rel(from, to); err == nil && below != ".." && !strings.HasPrefix(below, "../") {
			return fmt.Errorf("%s is in %s, whose scripts are copied; use another --output", dir, scripts)
		}
	}
	return nil
}

// UseScripts makes the cluster have a site if there are scripts for it.
func (p *Plan) UseScripts() {
	p.ScriptDirs = slices.DeleteFunc(p.ScriptDirs, func(dir string) bool {
		entries, err := os.ReadDir(dir)
		if err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("The scripts in %s are not copied: %v. Nodes find them where Zeek is installed, or copy them to %s.", dir, errors.Unwrap(err), SiteDir))
		}
		return len(entries) == 0
	})
	p.Common.Site = p.Script != "" || len(p.ScriptDirs) > 0
	for _, dir := range p.ScriptDirs {
		p.notePrefixes(dir)
	}
}

// notePrefixes notes scripts of a directory that Zeek loads only with a prefix of
// ZeekControl, such as zeekctl.base.init-default.zeek.
func (p *Plan) notePrefixes(dir string) {
	prefixes := map[string]bool{"zeekctl": true, "zeekctl-live": true, "standalone": true}
	p.eachNode(func(n *Node) { prefixes[n.Name] = true })
	entries, _ := os.ReadDir(dir) // an error has been reported
	for _, e := range entries {
		prefix, rest, _ := strings.Cut(e.Name(), ".")
		if prefixes[prefix] && strings.Count(rest, ".") > 0 && strings.HasSuffix(rest, ".zeek") {
			p.Notes = append(p.Notes, fmt.Sprintf("Nodes load %s only with the prefix %s, which ZeekControl sets. Load it with scripts in the cluster file.",
				filepath.Join(dir, e.Name()), prefix))
		}
	}
}

// files returns the files of the plan, except those of the site.
func (p *Plan) files() ([]file, error) {
	cluster, err := p.ClusterFile()
	if err != nil {
		return nil, err
	}
	files := []file{
		{clusterName, cluster},
		{controllerName, settingsFile("the controller, on "+p.At, p.controllerSettings())},
	}
	for _, m := range p.Machines {
		files = append(files, file{filepath.Join(agentsDir, m.Name+".conf"), settingsFile("the agent on "+m.Name, m.Settings)})
	}
	if len(p.Left) > 0 {
		files = append(files, file{leftName, []byte(p.leftText())})
	}
	return files, nil
}

func (p *Plan) controllerSettings() []Setting {
	return append([]Setting{{"name", "controller", ""}}, p.Controller...)
}

// settingsFile returns a settings file.
func settingsFile(of string, list []Setting) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "# Settings of %s, made by \"zeekwire import\".\n# All others have their defaults: see \"zeekwire agent --print-config\" and\n# \"zeekwire controller --print-config\".\n", of)
	for _, s := range list {
		out.WriteByte('\n')
		if s.Comment != "" {
			fmt.Fprintf(&out, "# %s\n", printable(s.Comment))
		}
		fmt.Fprintf(&out, "%s\n", settings.Line(s.Name, s.Value))
	}
	return []byte(out.String())
}

// leftText returns the list of what is not carried over.
func (p *Plan) leftText() string {
	var out strings.Builder
	for _, l := range p.Left {
		fmt.Fprintln(&out, l)
	}
	return out.String()
}

// String returns the line about l in a list.
func (l Left) String() string {
	text := l.File
	if l.Line > 0 {
		text += fmt.Sprintf(":%d:%d", l.Line, l.Column)
	}
	text += ": " + l.Key
	if l.Value != "" {
		text += " = " + l.Value
	}
	return printable(text + ": " + l.Reason)
}

// refuseExisting returns an error if there are files that Write would replace.
func (p *Plan) refuseExisting(dir string, files []file) error {
	names := []string{SiteDir}
	for _, f := range files {
		names = append(names, f.name)
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s exists; use --force to replace it, or another --output", filepath.Join(dir, name))
		}
	}
	return nil
}

// writeSite writes the site. What an earlier import has written is removed.
func (p *Plan) writeSite(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, from := range p.ScriptDirs {
		if err := copyDir(from, dir); err != nil {
			return err
		}
	}
	if p.Script == "" {
		return nil
	}
	name := filepath.Join(dir, scriptName)
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("the scripts have a file %s, which the import needs for itself; rename it", scriptName)
	}
	return os.WriteFile(name, []byte(p.Script), 0o644)
}

// copyDir copies the entries of a directory that the other does not have yet, as
// ZeekControl does.
func copyDir(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(to, e.Name())
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := copyTree(filepath.Join(from, e.Name()), target); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a file, a link or a directory. Other files, such as sockets, are left
// out.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, 0o644)
		}
		return nil
	})
}

// Step is a step of those that remain.
type Step struct {
	Title    string   `json:"title"`
	Commands []string `json:"commands"`
}

// Steps returns the steps that remain after Write, in their order.
func (p *Plan) Steps(dir string) []Step {
	path := func(name string) string { return shlex.Join([]string{filepath.Join(dir, name)}) }
	stop := Step{"Stop the old cluster, on each machine", p.before}
	if p.Kind == kindControl {
		stop.Title = "Stop the old cluster, on " + p.At
	}
	steps := []Step{
		{"Check the cluster file", []string{"zeekwire check-config " + path(clusterName)}},
		stop,
		{"Start the controller, on " + p.At, []string{
			"install -m 644 " + path(controllerName) + " /etc/zeekwire/controller.conf",
			"systemctl enable --now zeekwire-controller"}},
	}
	for _, m := range p.Machines {
		commands := []string{"install -m 644 " + path(filepath.Join(agentsDir, m.Name+".conf")) + " /etc/zeekwire/agent.conf"}
		commands = append(commands, writableCommands(m.Writable)...)
		steps = append(steps, Step{"Start the agent, on " + m.Name, append(commands, "systemctl enable --now zeekwire-agent")})
	}
	deploy := Step{"Deploy the cluster, when all agents are connected", []string{"zeekwire get-instances"}}
	if slices.ContainsFunc(p.Machines, func(m *Machine) bool { return m.Listens }) {
		// The controller connects to the agents when it has the cluster file.
		deploy = Step{Title: "Deploy the cluster, when all agents are started"}
	}
	deploy.Commands = append(deploy.Commands, "zeekwire deploy-config --check "+path(clusterName), "zeekwire deploy-config "+path(clusterName))
	return append(steps, deploy)
}

// writableCommands returns the commands that let an agent and its nodes, which do not run
// as root, write to directories.
func writableCommands(dirs []string) []string {
	if len(dirs) == 0 {
		return nil
	}
	const dropIn = "/etc/systemd/system/zeekwire-agent.service.d"
	words := shlex.Join(dirs)
	return []string{
		"mkdir -p " + words + " " + dropIn,
		"chown -R zeekwire:zeekwire " + words,
		"printf '[Service]\\n' > " + dropIn + "/import.conf",
		"printf 'ReadWritePaths=\"%s\"\\n' " + words + " >> " + dropIn + "/import.conf",
		"systemctl daemon-reload",
	}
}

// Summarize prints what is not carried over, notes, and the steps that remain. Without a
// directory, the files have not been written.
func (p *Plan) Summarize(w io.Writer, dir string) error {
	var out strings.Builder
	if dir != "" {
		fmt.Fprintf(&out, "%s: %s, %s, written to %s\n", p.Kind, count(len(p.Configuration().Nodes), "node"), count(len(p.Machines), "machine"), dir)
	}
	if len(p.Left) > 0 {
		out.WriteString("\nNot carried over:\n" + p.leftText())
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&out, "\nNote: %s\n", note)
	}
	if dir != "" {
		for i, s := range p.Steps(dir) {
			fmt.Fprintf(&out, "\n%d. %s:\n", i+1, s.Title)
			for _, command := range s.Commands {
				fmt.Fprintf(&out, "   %s\n", command)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// count returns a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
