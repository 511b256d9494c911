package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// stockOptions are the options of Zeek's own client, of all commands and of
// some. Python lets its callers shorten them, and scripts do.
var stockOptions = map[string][]string{
	"":             {"configfile", "controller", "set", "quiet", "verbose", "version", "help"},
	"get-config":   {"filename", "as-json", "deployed", "staged"},
	"test-timeout": {"with-state"},
}

// expand writes out the options of the stock client that args shorten to what
// is still unique among them, as Python's argparse understands it. The last word
// that a shell wants completed is not whole yet, and stays.
func expand(root *cobra.Command, args []string) []string {
	args = slices.Clone(args)
	end := len(args)
	if end > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		end--
	}
	command := root
	for i := 0; i < end && args[i] != "--"; i++ {
		option, isLong := strings.CutPrefix(args[i], "--")
		switch {
		case isLong:
			name, value, hasValue := strings.Cut(option, "=")
			if command.Flags().Lookup(name) == nil && root.PersistentFlags().Lookup(name) == nil {
				name = complete(name, command)
				args[i] = "--" + name
				if hasValue {
					args[i] += "=" + value
				}
			}
			if !hasValue && takesValue(command, root, func(f *pflag.Flag) bool { return f.Name == name }) {
				i++
			}
		case len(args[i]) > 1 && args[i][0] == '-':
			last := args[i][len(args[i])-1:]
			if len(args[i]) == 2 && takesValue(command, root, func(f *pflag.Flag) bool { return f.Shorthand == last }) {
				i++
			}
		case command == root:
			if found, _, err := root.Find(args[i : i+1]); err == nil {
				command = found
			}
		}
	}
	return args
}

// complete returns the only option that begins with name, or name.
func complete(name string, command *cobra.Command) string {
	var found []string
	for _, option := range slices.Concat(stockOptions[""], stockOptions[command.Name()]) {
		if strings.HasPrefix(option, name) {
			found = append(found, option)
		}
	}
	if name == "" || len(found) != 1 {
		return name
	}
	return found[0]
}

func takesValue(command, root *cobra.Command, is func(*pflag.Flag) bool) bool {
	takes := false
	look := func(f *pflag.Flag) { takes = takes || is(f) && f.NoOptDefVal == "" }
	command.Flags().VisitAll(look)
	root.PersistentFlags().VisitAll(look)
	return takes
}
