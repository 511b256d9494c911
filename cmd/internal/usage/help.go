package usage

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// columns is the width of help texts.
const columns = 80

// FlagHelp returns the help of flags, with lines of up to that many columns. Zero means no
// limit.
func FlagHelp(flags *pflag.FlagSet, columns int) string {
	// pflag quotes only the defaults of strings. The quotes are removed.
	return quoted().ReplaceAllString(flags.FlagUsagesWrapped(columns), "(default$1$2)")
}

// quoted matches quoted defaults.
var quoted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\(default(\s+)"([^"]+)"\)`) })

// Show writes the usage of a command: its subcommands, its examples, its own flags,
// and the flags that it shares with other commands.
func Show(cmd *cobra.Command) error {
	own, shared := split(cmd.Flags())
	text := "Usage:\n  "
	if cmd.HasAvailableSubCommands() {
		text += cmd.CommandPath() + " [command]\n\nCommands:\n"
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				text += fmt.Sprintf("  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	} else {
		text += cmd.UseLine() + "\n"
	}
	if cmd.Example != "" {
		text += "\nExamples:\n" + cmd.Example + "\n"
	}
	for _, group := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"Flags", own}, {"Flags of all client commands", shared}} {
		if group.flags.HasAvailableFlags() {
			text += "\n" + group.title + ":\n" + FlagHelp(group.flags, columns)
		}
	}
	if cmd.HasAvailableSubCommands() {
		text += fmt.Sprintf("\nUse \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), strings.TrimRight(text, "\n")+"\n")
	return err
}

// CheckHelp makes the command "help" fail for an unknown command, and gives it an
// example. Without it, cobra prints a message and succeeds.
func CheckHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Example = fmt.Sprintf("  %s help %s", root.Name(), root.Commands()[0].Name())
		help.Args = func(_ *cobra.Command, args []string) error {
			_, _, err := root.Find(args)
			return err
		}
	}
}
