// Package manpage makes manual pages of commands: one for the program and one
// for each of its commands, in the macros that every man(1) knows.
package manpage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// About is what the pages say and the commands do not.
type About struct {
	Version string

	// Sections returns what follows in the page of a command.
	Sections func(*cobra.Command) []Section
}

// Section is a heading and text: paragraphs with empty lines between. Lines
// that begin with blanks are shown as they are.
type Section struct{ Title, Text string }

// Command returns a command, which help does not show, that writes the pages of
// the program of which it is part.
func Command(about About) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "man", Short: "Write manual pages", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return Write(dir, cmd.Root(), about) },
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "write them into `DIR`")
	return cmd
}

// Write writes a page NAME.1 for every command that help shows, into a folder
// that it makes if it is not there.
func Write(dir string, root *cobra.Command, about About) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, cmd := range Commands(root) {
		if err := os.WriteFile(filepath.Join(dir, Name(cmd)+".1"), []byte(Page(cmd, about)), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Commands returns a command and, below it, all that help shows.
func Commands(cmd *cobra.Command) []*cobra.Command {
	cmd.InitDefaultHelpFlag()
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(all, Commands(sub)...)
		}
	}
	return all
}

// Name returns the name of a command's page, such as "zeekwire-get-nodes".
func Name(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Page returns the manual page of a command.
func Page(cmd *cobra.Command, about About) string {
	p := new(page)
	p.macro("TH", strings.ToUpper(Name(cmd)), "1", "", about.Version, "")
	p.macro("SH", "NAME")
	p.line(Name(cmd) + " - " + lowerFirst(cmd.Short))
	p.macro("SH", "SYNOPSIS")
	p.synopsis(cmd)
	p.macro("SH", "DESCRIPTION")
	description := cmd.Long
	if description == "" {
		description = cmd.Short + "."
	}
	p.text(description)
	p.commands(cmd)
	own, shared := Flags(cmd.NonInheritedFlags())
	p.flags("OPTIONS", own)
	p.flags("OPTIONS THAT COMMANDS SHARE", shared)
	p.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.macro("SH", "EXAMPLES")
		p.verbatim(cmd.Example)
	}
	for _, s := range about.Sections(cmd) {
		p.macro("SH", strings.ToUpper(s.Title))
		p.text(s.Text)
	}
	p.seeAlso(cmd)
	return p.String()
}

// Share marks all flags as those that many commands have, which help and pages
// show after a command's own.
func Share(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		// It only fails for flags that are not there.
		_ = flags.SetAnnotation(f.Name, sharedAnnotation, []string{"true"})
	})
}

const sharedAnnotation = "zeekwire_shared"

// Flags separates a command's own flags from those that it shares.
func Flags(flags *pflag.FlagSet) (own, shared *pflag.FlagSet) {
	own, shared = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[sharedAnnotation] != nil {
			shared.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	return own, shared
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// page is text in the macros of man.
type page struct{ strings.Builder }

// escape makes roff show s as it is.
var escape = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace

// line adds a line of text.
func (p *page) line(s string) {
	if strings.HasPrefix(s, ".") {
		p.WriteString(`\&`)
	}
	p.WriteString(escape(s) + "\n")
}

// macro adds a macro with quoted arguments.
func (p *page) macro(name string, args ...string) {
	p.WriteString("." + name)
	for _, a := range args {
		p.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `""`) + `"`)
	}
	p.WriteByte('\n')
}

// text adds paragraphs.
func (p *page) text(s string) {
	for i, paragraph := range strings.Split(strings.Trim(s, "\n"), "\n\n") {
		if i > 0 {
			p.macro("PP")
		}
		var as []string // lines to show as they are
		for line := range strings.Lines(paragraph) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				as = append(as, line)
				continue
			}
			p.verbatim(strings.Join(as, "\n"))
			as = nil
			p.line(line)
		}
		p.verbatim(strings.Join(as, "\n"))
	}
}

// verbatim adds lines that are not to be filled.
func (p *page) verbatim(s string) {
	if s == "" {
		return
	}
	if !strings.HasSuffix(p.String(), ".PP\n") {
		p.macro("PP")
	}
	p.macro("nf")
	for line := range strings.Lines(s) {
		p.line(strings.TrimRight(line, "\n"))
	}
	p.macro("fi")
}

func (p *page) synopsis(cmd *cobra.Command) {
	if cmd.HasAvailableSubCommands() {
		p.WriteString(".B " + escape(cmd.CommandPath()) + "\n")
		p.line("COMMAND [OPTION...] [ARGUMENT...]")
		return
	}
	// The last word of the path is the first of Use.
	p.WriteString(".B " + escape(cmd.CommandPath()) + "\n")
	_, args, _ := strings.Cut(cmd.Use, " ")
	p.line(strings.TrimSpace("[OPTION...] " + args))
}

// commands lists what is below a command, in the groups of its help.
func (p *page) commands(cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	p.macro("SH", "COMMANDS")
	list := func(group string) {
		for _, sub := range cmd.Commands() {
			if sub.GroupID == group && sub.IsAvailableCommand() && sub.Name() != "help" {
				p.macro("TP")
				p.WriteString(".B " + escape(sub.Name()) + "\n")
				p.line(sub.Short)
			}
		}
	}
	for _, g := range cmd.Groups() {
		p.macro("SS", strings.TrimSuffix(g.Title, ":"))
		list(g.ID)
	}
	if len(cmd.Groups()) > 0 {
		p.macro("SS", "Others")
	}
	list("")
}

func (p *page) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.macro("SH", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" && f.NoOptDefVal == "" {
			name += " " + strings.ToUpper(value)
		}
		p.macro("TP")
		p.WriteString(".B " + escape(name) + "\n")
		p.line(usage + defaultText(f))
	})
}

// defaultText says what holds without the flag, where help would.
func defaultText(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
		return ""
	}
	return fmt.Sprintf(" (default %s)", f.DefValue)
}

func (p *page) seeAlso(cmd *cobra.Command) {
	var others []string
	if parent := cmd.Parent(); parent != nil {
		others = append(others, Name(parent))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			others = append(others, Name(sub))
		}
	}
	if len(others) == 0 {
		return
	}
	p.macro("SH", "SEE ALSO")
	for i, name := range others {
		comma := ","
		if i == len(others)-1 {
			comma = ""
		}
		p.WriteString(".BR " + escape(name) + " (1)" + comma + "\n")
	}
}
