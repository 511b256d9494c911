// Package completion has the shell complete the words of a program's commands:
// what these do not say themselves follows from the help that they have anyway.
package completion

import (
	"fmt"
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
//
// It also adds the command that prints a shell's script, to where output goes by
// then. It is cobra's, but for cobra a shell that it does not know is no error.
func Prepare(root *cobra.Command, args []string) {
	addScripts(root)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		prepare(root)
	}
}

// Words has the shell complete the value of an option with one of some words.
func Words(cmd *cobra.Command, option string, words ...string) {
	// It only fails for options that are not there or complete themselves.
	_ = cmd.RegisterFlagCompletionFunc(option, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
}

func addScripts(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion"})
	if err != nil {
		return // a program without commands has none
	}
	var shells []string
	for _, sub := range cmd.Commands() {
		shells = append(shells, sub.Name())
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		what := "SHELL is missing"
		if len(args) > 0 {
			what = fmt.Sprintf("there are no completions for %q", args[0])
		}
		return fmt.Errorf("%s; usage: %s %s", what, cmd.CommandPath(), strings.Join(shells, "|"))
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
