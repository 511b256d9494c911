// Package completion configures cobra's shell completion for all commands of a
// program. Which flags take file names, and which words they accept, is derived
// from their help and their values.
package completion

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// choices is implemented by flag values that accept only certain words. An empty
// list means any.
type choices interface{ Choices() []string }

// Prepare configures the completion of root and all commands below it if args
// request completions. File names are offered for arguments, and for flags whose
// value is named FILE, PATH or DIR in the help.
//
// It also adds cobra's command "completion" and makes it fail for an unknown
// shell.
func Prepare(root *cobra.Command, args []string) {
	addScripts(root)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		prepare(root, make(map[*pflag.Flag]bool))
	}
}

// Words registers the words that complete the value of a flag, if the command has the flag.
func Words(cmd *cobra.Command, option string, words ...string) {
	Flag(cmd, option, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
}

// Flag registers the function that completes the value of a flag, if the command has the flag.
// A flag that several commands share keeps its first function.
func Flag(cmd *cobra.Command, option string, complete cobra.CompletionFunc) {
	if cmd.Flag(option) == nil {
		return
	}
	if _, exists := cmd.GetFlagCompletionFunc(option); !exists {
		// It fails only for flags that do not exist or already have completions.
		_ = cmd.RegisterFlagCompletionFunc(option, complete)
	}
}

func addScripts(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion"})
	if err != nil {
		return // a program without commands has no completion
	}
	var shells []string
	for _, sub := range cmd.Commands() {
		shells = append(shells, sub.Name())
		sub.Args = usage.Arguments(sub.Use)
		sub.Example = fmt.Sprintf("  %s %s > FILE", cmd.CommandPath(), sub.Name())
	}
	cmd.Example = fmt.Sprintf("  source <(%s bash)", cmd.CommandPath())
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		what := "missing SHELL"
		if len(args) > 0 {
			what = fmt.Sprintf("no completions for %q", args[0])
		}
		return fmt.Errorf("%s; usage: %s %s", what, cmd.CommandPath(), strings.Join(shells, "|"))
	}
}

// prepare configures the completion of cmd and all commands below it. Commands may share
// flags; those that it has seen are done.
func prepare(cmd *cobra.Command, seen map[*pflag.Flag]bool) {
	takesArguments := strings.Contains(cmd.Use, " ")
	if cmd.ValidArgsFunction == nil && !takesArguments && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	option := func(f *pflag.Flag) {
		if seen[f] {
			return
		}
		seen[f] = true
		var value string
		value, f.Usage = pflag.UnquoteUsage(f) // shells would show the backquotes
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
		Flag(cmd, f.Name, complete)
	}
	cmd.PersistentFlags().VisitAll(option)
	cmd.Flags().VisitAll(option)
	for _, sub := range cmd.Commands() {
		prepare(sub, seen)
	}
}
