// Package completion has the shell complete the words of a program's commands:
// what these do not say themselves follows from the help that they have anyway.
package completion

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choices is what the value of an option has if it knows its words; it has none
// if it takes others.
type choices interface{ Choices() []string }

// Prepare completes a command and all below it, if args ask for completions.
// File names are only offered for arguments, and for options whose value is one
// by its name in the help: FILE, PATH, DIR.
func Prepare(root *cobra.Command, args []string) {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		prepare(root)
	}
}

func prepare(cmd *cobra.Command) {
	takesArguments := strings.Contains(cmd.Use, " ")
	if cmd.ValidArgsFunction == nil && !takesArguments && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	option := func(f *pflag.Flag) {
		var value string
		value, f.Usage = pflag.UnquoteUsage(f) // shells show the quotes
		complete := cobra.NoFileCompletions
		if c, ok := f.Value.(choices); ok && len(c.Choices()) > 0 {
			complete = cobra.FixedCompletions(c.Choices(), cobra.ShellCompDirectiveNoFileComp)
		}
		switch {
		case value == "FILE", value == "PATH":
			return
		case value == "DIR":
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		}
		if _, exists := cmd.GetFlagCompletionFunc(f.Name); !exists {
			// It only fails for options that are not there or complete themselves.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, complete)
		}
	}
	cmd.PersistentFlags().VisitAll(option)
	cmd.Flags().VisitAll(option)
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
}
