// Package manpage writes manual pages: one for a program and one for each of its
// commands that help shows. It does not use cobra/doc, because the initialization of its
// packages for Markdown would delay each start of the programs.
package manpage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
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
// shows, and creates dir if it is missing. The pages have the date of the environment
// variable SOURCE_DATE_EPOCH, in seconds since 1970, or the present one.
func Write(dir string, root *cobra.Command, about About) error {
	date := time.Now()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		date = time.Unix(seconds, 0)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, cmd := range Commands(root) {
		text := page(cmd, about, date.UTC().Format(time.DateOnly))
		if err := os.WriteFile(filepath.Join(dir, Name(cmd)+".1"), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
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

// page returns the page of a command, in the macros of man(7).
func page(cmd *cobra.Command, about About, date string) string {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH \"%s\" \"1\" \"%s\" \"%s\"\n.nh\n.ad l\n", escape(strings.ToUpper(Name(cmd))), date, escape(about.Version))
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, ".SH \"%s\"\n%s", escape(strings.ToUpper(title)), text)
		}
	}
	section("Name", fmt.Sprintf("%s \\- %s\n", escape(Name(cmd)), escape(cmd.Short)))
	section("Synopsis", bold(cmd.UseLine())+"\n")
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	section("Description", paragraphs(long))
	section("Commands", list(cmd))
	for _, s := range about.Sections(cmd) {
		section(s.Title, paragraphs(s.Text))
	}
	section("Options", options(cmd.NonInheritedFlags()))
	section("Options of all commands", options(cmd.InheritedFlags()))
	section("Examples", paragraphs(cmd.Example))
	section("See also", others(cmd))
	return b.String()
}

// list returns the commands below cmd as a list of definitions.
func list(cmd *cobra.Command) string {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			fmt.Fprintf(&b, ".TP\n%s\n%s\n", bold(sub.Name()), escape(sub.Short))
		}
	}
	return b.String()
}

// options returns flags as a list of definitions.
func options(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		one := pflag.NewFlagSet("", pflag.ContinueOnError)
		one.AddFlag(f)
		// "  -c, --config FILE   FILE with settings (default X)", nothing for a hidden flag.
		names, text, ok := strings.Cut(strings.TrimSpace(usage.FlagHelp(one, 0)), "   ")
		if !ok {
			return
		}
		names, value, _ := strings.Cut(strings.ReplaceAll(names, ", ", ","), " ")
		names = strings.ReplaceAll(bold(names), ",", `\fP, \fB`)
		text = escape(text)
		if value != "" {
			names += " " + italic(value)
			if strings.Count(f.Usage, "`") == 2 {
				text = strings.Replace(text, escape(value), italic(value), 1)
			}
		}
		fmt.Fprintf(&b, ".TP\n%s\n%s\n", names, text)
	})
	return b.String()
}

// others returns references to the pages of the command above cmd and of those below it.
func others(cmd *cobra.Command) string {
	var names []string
	if cmd.HasParent() {
		names = append(names, bold(Name(cmd.Parent()))+"(1)")
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, bold(Name(sub))+"(1)")
		}
	}
	return strings.Join(names, ",\n") + "\n"
}

// paragraphs returns a help text with its paragraphs, and with its indented lines as they
// are.
func paragraphs(text string) string {
	var b strings.Builder
	const fill, keep = ".PP\n", ".PP\n.EX\n"
	form, blank := "", ""
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		if strings.TrimSpace(line) == "" {
			blank += "\n"
			continue
		}
		next := fill
		if strings.HasPrefix(line, " ") {
			next = keep
		}
		switch {
		case next != form:
			if form == keep {
				b.WriteString(".EE\n")
			}
			b.WriteString(next)
		case blank != "" && form == fill:
			b.WriteString(fill)
		default:
			b.WriteString(blank)
		}
		form, blank = next, ""
		b.WriteString(escape(line))
	}
	if form == keep {
		b.WriteString(".EE\n")
	}
	return b.String()
}

func bold(text string) string   { return `\fB` + escape(text) + `\fP` }
func italic(text string) string { return `\fI` + escape(text) + `\fP` }

// escape makes roff show a line of text as it is. roff replaces some characters by
// typographical ones, with which copied commands do not work.
func escape(line string) string {
	line = special.Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}

var special = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, `"`, `\(dq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)
