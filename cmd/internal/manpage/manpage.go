// Package manpage writes manual pages with cobra/doc: one page for the program
// and one for each command that help shows.
package manpage

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// About holds the parts of the pages that commands do not have.
type About struct {
	Version string // name and version of the program

	// Sections returns further sections of a command's page.
	Sections func(*cobra.Command) []Section
}

// Section is a heading with text in the form of a command's help: paragraphs
// with empty lines between. Indented lines are kept as they are.
type Section struct{ Title, Text string }

// Command returns a hidden command that writes the pages of its program.
func Command(about About) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "man", Short: "Write manual pages", Hidden: true, Args: cobra.NoArgs,
		Example: "  " + strings.Fields(about.Version)[0] + " man --dir man",
		RunE:    func(cmd *cobra.Command, _ []string) error { return Write(dir, cmd.Root(), about) },
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "`DIR` to write the pages to; created if missing")
	return cmd
}

// Write writes a page NAME.1 for root and for every command below it that help
// shows, and creates dir if it is missing. It changes the help texts of the
// commands to Markdown, which is the form that cobra/doc expects.
func Write(dir string, root *cobra.Command, about About) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	flags := make(map[*pflag.Flag]bool) // which commands may share
	for _, cmd := range Commands(root) {
		prepare(cmd, about)
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { flags[f] = true })
	}
	for f := range flags {
		f.Usage = flagUsage(f.Usage)
	}
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: about.Version}, dir)
}

// Name returns the name of a command's page, such as "zeekwire-get-nodes".
func Name(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Commands returns cmd and all commands below it that help shows.
func Commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, Commands(sub)...)
		}
	}
	return all
}

func prepare(cmd *cobra.Command, about About) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	var b strings.Builder
	b.WriteString(markdown(long))
	if list := list(cmd); list != "" {
		b.WriteString("\n# COMMANDS\n" + list)
	}
	for _, s := range about.Sections(cmd) {
		b.WriteString("\n# " + strings.ToUpper(s.Title) + "\n" + markdown(s.Text))
	}
	cmd.Long = b.String()
}

// flagUsage returns the help of a flag as Markdown.
func flagUsage(text string) string {
	parts := strings.Split(text, "`")
	for i := range parts {
		parts[i] = escape(parts[i])
	}
	if len(parts) == 3 { // the middle part is the name of the value
		parts[1] = "*" + parts[1] + "*"
	}
	return strings.Join(parts, "")
}

// list returns the commands below cmd as a list of definitions.
func list(cmd *cobra.Command) string {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			fmt.Fprintf(&b, "**%s**\n\t%s\n\n", sub.Name(), escape(sub.Short))
		}
	}
	return b.String()
}

// escape makes Markdown show text as it is.
var escape = strings.NewReplacer(
	`\`, `\\`, `*`, `\*`, `_`, `\_`, "`", "\\`", `[`, `\[`, `]`, `\]`, `<`, `\<`, `>`, `\>`, `#`, `\#`).Replace

// markdown returns a help text as Markdown: its paragraphs with escaped text,
// and its indented lines as code blocks.
func markdown(text string) string {
	var b strings.Builder
	code, blank := false, ""
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		if strings.TrimSpace(line) == "" {
			blank += "\n"
			continue
		}
		if code && !strings.HasPrefix(line, " ") {
			b.WriteString("```\n")
		}
		b.WriteString(blank)
		blank = ""
		switch {
		case !strings.HasPrefix(line, " "):
			code = false
			line = escape(line)
		case !code:
			code = true
			b.WriteString("\n```\n")
		}
		b.WriteString(line)
	}
	if code {
		b.WriteString("```\n")
	}
	return b.String()
}
