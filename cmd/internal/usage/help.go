package usage

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// columns is how wide help is, as wide as what it is read on at least.
const columns = 80

// flagHelp returns the help of options, with its lines broken.
func flagHelp(flags *pflag.FlagSet) string {
	// Texts have their default in quotes, which other values have not.
	return quoted.ReplaceAllString(flags.FlagUsagesWrapped(columns), "(default$1$2)")
}

var quoted = regexp.MustCompile(`\(default(\s+)"([^"]+)"\)`)

// Show writes the usage of a command: those below it, in one group, its own
// options, and then those that it shares with others.
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
	}{{"Flags", own}, {"Flags of all commands that talk to a controller", shared}} {
		if group.flags.HasAvailableFlags() {
			text += "\n" + group.title + ":\n" + flagHelp(group.flags)
		}
	}
	if cmd.HasAvailableSubCommands() {
		text += fmt.Sprintf("\nUse \"%s [command] --help\" for more about a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), strings.TrimRight(text, "\n")+"\n")
	return err
}

// CheckHelp has the command "help" refuse what is no command. Cobra's says so,
// but as if all were well.
func CheckHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			_, _, err := root.Find(args)
			return err
		}
	}
}
